"""Two pictures that no model takes for one another."""

from __future__ import annotations

import base64
import io

from PIL import Image, ImageDraw

__all__ = ["draw_disc", "draw_stripes", "encode_base64", "encode_png"]

_SIDE_PIXELS = 128


def draw_disc() -> Image.Image:
    """Returns a red disc on white."""
    picture = Image.new("RGB", (_SIDE_PIXELS, _SIDE_PIXELS), "white")
    ImageDraw.Draw(picture).ellipse((24, 24, 104, 104), fill="red")
    return picture


def draw_stripes() -> Image.Image:
    """Returns blue stripes on black."""
    picture = Image.new("RGB", (_SIDE_PIXELS, _SIDE_PIXELS), "black")
    for left in range(0, _SIDE_PIXELS, 32):
        ImageDraw.Draw(picture).rectangle((left, 0, left + 15, _SIDE_PIXELS), fill="blue")
    return picture


def encode_png(picture: Image.Image) -> bytes:
    """Returns the picture as a PNG."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def encode_base64(picture: Image.Image) -> str:
    """Returns the picture as a PNG in base64."""
    return base64.b64encode(encode_png(picture)).decode("ascii")
