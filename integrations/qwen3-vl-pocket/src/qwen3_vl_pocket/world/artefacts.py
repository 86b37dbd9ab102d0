"""What a scanner does to a page: it lies askew, the paper is tinted, the light is dim, the sensor noisy."""

from __future__ import annotations

import functools
import math
import random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

__all__ = ["add_scan_artefacts"]

_MOST_SKEW_DEGREES = 1.5
_MOST_NOISE = 14.0
_MOST_TINT = 22.0
_MOST_DIMMING = 0.08
_TINT_SHARES = (0.2, 0.4, 1.0)
_NOISE_SIDE = 512
_NOISE_STEP = 28.0


def add_scan_artefacts(image: Image.Image, rng: random.Random, *, strength: float) -> Image.Image:
    """Returns the image as scanned.

    Args:
        image: RGB.
        rng: Chooses the amounts.
        strength: From 0 (as it is) to 1 (1.5 degrees askew, noise of 14 of 255, light 8 % dimmer, blue 22 lower).
    """
    degrees = rng.uniform(-1, 1) * strength * _MOST_SKEW_DEGREES
    # Nearest pixels: a third of the time of blending, and pages are looked at smaller than drawn.
    skewed = image.rotate(degrees, Image.Resampling.NEAREST, fillcolor=_find_paper(image))
    light = 1.0 - rng.uniform(0, 1) * strength * _MOST_DIMMING
    tint = rng.uniform(0, 1) * strength * _MOST_TINT
    levels = np.arange(256) * light
    tables = [np.clip(levels - tint * share, 0, 255).round().astype(int).tolist() for share in _TINT_SHARES]
    lit = skewed.point([level for table in tables for level in table])
    noise = _cut_noise(lit.height, lit.width, rng, amount=strength * _MOST_NOISE)
    return ImageChops.add(lit, Image.merge("RGB", (noise, noise, noise)), 1.0, -128)


def _find_paper(image: Image.Image) -> tuple[int, int, int]:
    """Returns the lightest of a sample of pixels: what lies at a corner may be a printed bar."""
    sample = np.asarray(image)[::16, ::16].reshape(-1, 3)
    red, green, blue = sample[sample.sum(axis=1, dtype=np.int32).argmax()].tolist()
    return (red, green, blue)


def _cut_noise(height: int, width: int, rng: random.Random, *, amount: float) -> Image.Image:
    """Returns noise around 128 whose standard deviation is `amount`."""
    rows, columns = rng.randrange(_NOISE_SIDE), rng.randrange(_NOISE_SIDE)
    repeats = (math.ceil((height + rows) / _NOISE_SIDE), math.ceil((width + columns) / _NOISE_SIDE))
    cut = np.tile(_make_noise(), repeats)[rows : rows + height, columns : columns + width]
    levels = 128 + (np.arange(256) - 128) * (amount / _NOISE_STEP)
    return Image.fromarray(cut).point(np.clip(levels.round(), 0, 255).astype(int).tolist())


@functools.cache
def _make_noise() -> npt.NDArray[np.uint8]:
    """Returns a table to cut from, of mean 128: drawing it anew for each page would take most of a page's time."""
    noise = np.random.default_rng(20).standard_normal((_NOISE_SIDE, _NOISE_SIDE))
    return np.clip(128 + noise * _NOISE_STEP, 0, 255).round().astype(np.uint8)
