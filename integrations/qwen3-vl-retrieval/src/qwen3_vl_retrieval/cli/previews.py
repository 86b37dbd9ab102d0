"""Pictures of what was found, small enough to be part of a page."""

from __future__ import annotations

import base64
import io

from PIL import Image

from qwen3_vl_retrieval.cli.thumbnails import read_frames, read_picture
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.index.units import Unit
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["draw_preview", "encode_picture"]

_SIDE = 360
_PAGE_PIXELS = 160_000
_QUALITY = 84

# Four moments of a clip, row by row: one frame does not show what moves.
_SHARES = (0.04, 0.35, 0.65, 0.96)
_GAP = 6


def draw_preview(unit: Unit, policy: MediaPolicy) -> str | None:
    """Returns a picture of `unit` as a data URI; `None` for text, and for what can no longer be read."""
    if unit.media_type == "text":
        return None
    try:
        if unit.media_type == "video":
            return encode_picture(_draw_sheet(unit, policy))
        return encode_picture(read_picture(unit, policy, page_pixels=_PAGE_PIXELS))
    except InputError:
        return None


def encode_picture(picture: Image.Image) -> str:
    """Returns a picture as a data URI, at most 360 pixels wide and high."""
    small = picture.convert("RGB")
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _draw_sheet(unit: Unit, policy: MediaPolicy) -> Image.Image:
    """Four frames in two rows."""
    frames = read_frames(unit, policy, shares=_SHARES)
    width, height = frames[0].size
    sheet = Image.new("RGB", (2 * width + _GAP, 2 * height + _GAP), "white")
    for number, frame in enumerate(frames):
        sheet.paste(frame, ((number % 2) * (width + _GAP), (number // 2) * (height + _GAP)))
    return sheet
