"""Pictures as language models are shown them: JPEG, no larger than allowed."""

from __future__ import annotations

import io

from PIL import Image

__all__ = ["LEAST_IMAGE_BYTES", "encode_jpeg"]

LEAST_IMAGE_BYTES = 1_024
"""Fewer hold no picture."""

_QUALITIES = (90, 80, 65, 50)
_SHRINKING = 0.7


def encode_jpeg(picture: Image.Image, *, max_pixels: int | None = None, max_bytes: int | None = None) -> bytes:
    """Returns an RGB picture as JPEG: shrunk to `max_pixels`, then with less quality and size until it fits.

    Args:
        picture: It.
        max_pixels: Most pixels; `None` is any number.
        max_bytes: Most bytes; `None` is any number.

    Raises:
        ValueError: A limit allows no picture.
    """
    if (max_pixels is not None and max_pixels < 1) or (max_bytes is not None and max_bytes < LEAST_IMAGE_BYTES):
        raise ValueError(
            f"max_pixels={max_pixels} must be at least 1 and max_bytes={max_bytes} at least {LEAST_IMAGE_BYTES:,}"
        )
    scale = 1.0
    if max_pixels is not None:
        scale = min(1.0, (max_pixels / (picture.width * picture.height)) ** 0.5)
    while True:
        size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
        fitted = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
        for quality in _QUALITIES:
            stream = io.BytesIO()
            fitted.save(stream, "JPEG", quality=quality)
            if max_bytes is None or stream.tell() <= max_bytes:
                return stream.getvalue()
        scale *= _SHRINKING
