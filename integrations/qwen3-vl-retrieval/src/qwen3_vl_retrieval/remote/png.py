"""Pixels on their way through JSON: PNG, which loses nothing, as base64."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8
from PIL import Image

from qwen3_vl_retrieval.errors import InputError, quote

__all__ = ["decode_png", "encode_png"]


def encode_png(pixels: UInt8[np.ndarray, "height width 3"]) -> str:
    """Returns an image as base64 of a PNG."""
    buffer = io.BytesIO()
    # Networks between machines are faster than the smallest files are written.
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def decode_png(encoded: str, *, max_pixels: int) -> npt.NDArray[np.uint8]:
    """Returns the image that `encode_png` was given.

    Raises:
        InputError: It is no PNG, or has more than `max_pixels` pixels.
    """
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)), formats=["PNG"]) as image:
            if image.width * image.height > max_pixels:
                raise InputError(f"{image.width}×{image.height} pixels exceed the limit of {max_pixels}")
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"a frame is no PNG in base64: {quote(encoded)}") from error
