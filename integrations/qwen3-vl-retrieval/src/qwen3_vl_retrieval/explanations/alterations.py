"""Images with one part made unreadable: its pieces in another order, or covered in the colour of its surroundings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from qwen3_vl_retrieval.explanations.boxes import Box

__all__ = ["COARSE_ORDER", "FINE_ORDER", "blank_image", "cover_part", "shuffle_part"]

COARSE_ORDER = (2, 0, 4, 1, 3)
FINE_ORDER = (6, 3, 0, 9, 1, 7, 4, 11, 8, 2, 10, 5)
"""Pieces along the longer side, none of them beside one that it was beside: about a letter, and less than one."""

_MARGIN = 0.012
"""What is covered around a part, as a share of the longer side of the image: its edges must not remain."""


def shuffle_part(image: Image.Image, box: Box, order: Sequence[int]) -> Image.Image:
    """Returns a copy of an RGB image in which pieces of a part are in another order.

    What was a word is still something like a word, in the same colours: a model that looks for a word denies it more
    firmly than it denies a blank, of which it has seen few.

    Args:
        image: The image.
        box: The part.
        order: Numbers of the pieces, as they shall lie along the longer side.
    """
    left, top, right, bottom = _find_pixels(image, box, margin=0.0)
    changed = np.array(image)
    part = changed[top:bottom, left:right]
    axis = 1 if part.shape[1] >= part.shape[0] else 0
    length, count = part.shape[axis], len(order)
    bounds = [round(length * place / count) for place in range(count + 1)]
    pixels = [pixel for place in order for pixel in range(bounds[place], bounds[place + 1])]
    changed[top:bottom, left:right] = part.take(pixels, axis=axis)
    return Image.fromarray(changed)


def cover_part(image: Image.Image, box: Box) -> Image.Image:
    """Returns a copy of an RGB image in which a part is covered in the colour of what is around it."""
    left, top, right, bottom = _find_pixels(image, box, margin=_MARGIN)
    changed = np.array(image)
    part = changed[top:bottom, left:right]
    edges = np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])
    changed[top:bottom, left:right] = np.median(edges, axis=0).astype(np.uint8)
    return Image.fromarray(changed)


def blank_image(image: Image.Image) -> Image.Image:
    """Returns an image of the same size in the mean colour."""
    pixels = np.asarray(image)
    red, green, blue = (int(level) for level in pixels.reshape(-1, 3).mean(axis=0))
    return Image.new("RGB", image.size, (red, green, blue))


def _find_pixels(image: Image.Image, box: Box, *, margin: float) -> tuple[int, int, int, int]:
    """The pixels of a box, one at least."""
    extra = margin * max(image.size)
    scaled = box.scale(*image.size)
    left, top = max(int(scaled.left - extra), 0), max(int(scaled.top - extra), 0)
    right, bottom = min(int(scaled.right + extra), image.width), min(int(scaled.bottom + extra), image.height)
    left, top = min(left, image.width - 1), min(top, image.height - 1)
    return left, top, max(right, left + 1), max(bottom, top + 1)
