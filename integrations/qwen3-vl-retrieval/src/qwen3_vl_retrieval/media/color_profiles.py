"""Embedded colour profiles, converted to sRGB with LittleCMS as viewers do."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms, features

__all__ = ["convert_to_srgb"]

# The colour space of a profile, bytes 16 to 19 of its header (ICC.1:2022, section 7.2.6), by the mode it belongs to.
_SPACES = {"RGB": b"RGB ", "L": b"GRAY", "CMYK": b"CMYK"}

_SAME_LEVELS = 2
"""Profiles that move no colour by more than this are sRGB, however they are written."""

_MOST_TRANSFORMS = 16


def convert_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Returns an RGB, grey or CMYK image in sRGB; as it is without a profile, or if the profile is damaged or foreign.

    A grey image comes back grey if there is nothing to convert, else as RGB; a CMYK image as RGB in any case.
    """
    transform = None if not profile or image.mode not in _SPACES else _build_transform(profile, image.mode)
    if transform is not None:
        return transform.apply(image)
    return image.convert("RGB") if image.mode == "CMYK" else image


@lru_cache(maxsize=_MOST_TRANSFORMS)
def _build_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """`None` for a profile that changes nothing, or that cannot be used. Transforms are safe to share by threads."""
    if profile[16:20] != _SPACES[mode] or not features.check("littlecms2"):
        return None
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
        )
        return None if mode != "CMYK" and _keeps_colors(transform, mode) else transform
    # LittleCMS has its own error, and Pillow raises others for a profile that cannot be read.
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _keeps_colors(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = np.arange(0, 256, 17 if mode == "L" else 51, dtype=np.uint8)
    grid = levels[None] if mode == "L" else np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    probe = Image.fromarray(np.ascontiguousarray(grid))
    converted = np.asarray(transform.apply(probe), dtype=np.int16)
    return bool(np.abs(converted - np.asarray(probe.convert("RGB"), dtype=np.int16)).max() <= _SAME_LEVELS)
