"""What units and items look like: images, rendered pages, frames of videos, and texts drawn as on paper."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

from qwen3_vl_retrieval import media
from qwen3_vl_retrieval.documents.labels import clean_text
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.errors import MediaError
from qwen3_vl_retrieval.items import ImagePart, Item, TextPart, VideoPart, coerce_input
from qwen3_vl_retrieval.media.budgets import PixelBudget
from qwen3_vl_retrieval.media.policy import MediaPolicy, open_source, shorten_name
from qwen3_vl_retrieval.media.sizing import sample_listed_frames

__all__ = [
    "LEAST_IMAGE_BYTES",
    "SIDE_PIXELS",
    "PagePart",
    "View",
    "draw_card",
    "draw_miniature",
    "encode_jpeg",
    "encode_png",
    "encode_thumbnail",
    "measure_window",
    "read_frames",
    "read_view",
    "share_images",
    "view_item",
    "view_unit",
]

LEAST_IMAGE_BYTES = 1_024
"""Fewer hold no JPEG."""

SIDE_PIXELS = 360
"""Longer side of a small image: sharp at half that size on screens of two pixels to a point."""

_FULL_PAGE_PIXELS = PixelBudget().max_pixels
"""Pixels of a page shown by itself: what the models see of it by default."""

_OVERSAMPLING = 1.25
"""Pixels of a page that is about to be made small, over those of the square it is to fit in."""

_QUALITY = 84

_FALLING_QUALITIES = (90, 80, 65, 50)
_SHRINKING = 0.7
"""Side of the next size, over that of a JPEG that was too large in every quality."""

# Four moments of a video, row by row: one frame does not show what moves.
_SHARES = (0.04, 0.35, 0.65, 0.96)
_GAP_PIXELS = 4

_LISTED_FRAME_RATE = 2.0
"""Frames per second of a list of frames that has no rate, as in the official scripts."""

_PAPER = (255, 253, 246)
_INK = (51, 58, 69)
_CARD_WIDTH_PIXELS = 900
_CARD_HEIGHT_PIXELS = 1600
_CARD_FONT_PIXELS = 26

# More than the largest card holds; what is beyond is not even measured.
_MOST_CARD_CHARACTERS = 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PagePart:
    """A page of a PDF or TIFF, not rendered yet.

    Attributes:
        source: The file, or its URL.
        page: Its number, from 1.
    """

    source: str | Path
    page: int


View: TypeAlias = "TextPart | ImagePart | VideoPart | PagePart"
"""The one thing that stands for a unit or an item where there is room for one image."""


def view_unit(unit: Unit) -> View:
    """Returns what to show of a unit; nothing is opened."""
    match unit.media_type:
        case "page":
            return PagePart(source=unit.source, page=1 if unit.page is None else unit.page)
        case "image":
            return ImagePart(unit.source)
        case "video":
            return VideoPart(source=unit.source, start=unit.start, end=unit.end)
        case _:
            return TextPart("" if unit.text is None else unit.text)


def view_item(item: Item) -> View:
    """Returns what to show of an item: its first image or video, or else all of its text; nothing is opened.

    Raises:
        InputError: The item is not one that can be embedded.
    """
    parts = coerce_input(item).parts
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    return next((part for part in parts if not isinstance(part, TextPart)), TextPart("\n".join(texts)))


def read_view(view: View, policy: MediaPolicy, *, page_pixels: int = _FULL_PAGE_PIXELS) -> Image.Image:
    """Returns one RGB image: the image itself, the page, a frame from the middle of the video, or a card of text.

    Args:
        view: What to open.
        policy: What may be opened, and how large it may be.
        page_pixels: Most pixels of a page, which is rendered at close to that number.

    Raises:
        MediaPolicyError: The policy refuses the file.
        MediaError: The file is gone, damaged, or no longer what it was.
    """
    match view:
        case PagePart():
            return media.render_page(media.DocumentPage(view.source, view.page, page_pixels), policy)
        case ImagePart():
            return media.read_image(view.source, policy)
        case VideoPart():
            # The middle of the window: the beginning of a video is often black.
            return read_frames(view, policy, shares=(0.5,))[0]
        case TextPart():
            return draw_card(view.text)


def read_frames(
    video: VideoPart, policy: MediaPolicy, *, shares: Sequence[float], by_time: bool = True
) -> list[Image.Image]:
    """Returns frames of a video as RGB images, at rising shares of its window: 0 is the beginning, 1 the end.

    Frames of a file are those shown then; with `by_time=False` those of that number at the average rate, which
    `read_video` sees with the same option.

    Raises:
        MediaPolicyError: The policy refuses the file.
        MediaError: The file is gone, damaged, no longer a video, or ends before the window begins.
        InputError: The video is a list of frames without a rate, and has a window.
    """
    if not isinstance(video.source, (str, Path, bytes)):
        numbers, _ = sample_listed_frames(
            len(video.source), fps=video.fps, max_frames=len(video.source), start=video.start, end=video.end
        )
        chosen = [numbers[min(int(share * len(numbers)), len(numbers) - 1)] for share in shares]
        return [media.read_image(video.source[number], policy) for number in chosen]
    from qwen3_vl_retrieval.media.container import decode_frames, find_index

    named = "given as bytes" if isinstance(video.source, bytes) else repr(shorten_name(str(video.source)))
    shown = f"the video {named}"
    source = open_source(video.source, policy)
    index = find_index(source, policy, shown=shown)
    total_seconds = index.duration_seconds if by_time else index.total / index.frame_rate
    begin = 0.0 if video.start is None else video.start
    if begin >= total_seconds:
        raise MediaError(
            f"{shown} lasts {total_seconds:.1f} seconds, and the window begins at {begin:.1f}: "
            "if the file was replaced, index it again"
        )
    duration = (total_seconds if video.end is None else video.end) - begin
    moments = [begin + share * duration for share in shares]
    if by_time:
        wanted: list[int] = index.find_numbers(moments).tolist()
    else:
        wanted = [min(int(moment * index.frame_rate), index.total - 1) for moment in moments]
    return [Image.fromarray(frame) for frame in decode_frames(source, policy, index, wanted, shown=shown)]


def measure_window(video: VideoPart, policy: MediaPolicy) -> tuple[float, float]:
    """Returns the first and the last second of what is shown of a video: its window, or all of it.

    Raises:
        MediaPolicyError: The policy refuses the file.
        MediaError: The file is gone, damaged, or no longer a video.
    """
    start = 0.0 if video.start is None else video.start
    if video.end is not None:
        return start, video.end
    if not isinstance(video.source, (str, Path, bytes)):
        return start, len(video.source) / (_LISTED_FRAME_RATE if video.fps is None else video.fps)
    from qwen3_vl_retrieval.media.container import find_index

    named = "given as bytes" if isinstance(video.source, bytes) else repr(shorten_name(str(video.source)))
    index = find_index(open_source(video.source, policy), policy, shown=f"the video {named}")
    return start, index.duration_seconds


def draw_miniature(view: View, policy: MediaPolicy, *, side_pixels: int = SIDE_PIXELS) -> Image.Image:
    """Returns a small RGB image, at most `side_pixels` wide and high; four moments of a video in two rows.

    Raises:
        ValueError: `side_pixels` is below 16.
        MediaPolicyError: The policy refuses the file.
        MediaError: The file is gone, damaged, or no longer what it was.
        InputError: The video is a list of frames without a rate, and has a window.
    """
    if side_pixels < 16:
        raise ValueError(f"side_pixels={side_pixels} must be at least 16: there is nothing to see on fewer")
    if isinstance(view, VideoPart):
        return _draw_sheet(read_frames(view, policy, shares=_SHARES), side_pixels)
    if isinstance(view, TextPart):
        return draw_card(
            view.text,
            width_pixels=side_pixels,
            most_height_pixels=side_pixels,
            font_pixels=max(side_pixels // 20, 8),
        )
    return _shrink(read_view(view, policy, page_pixels=round(_OVERSAMPLING * side_pixels**2)), side_pixels)


def encode_thumbnail(image: Image.Image, *, side_pixels: int = SIDE_PIXELS) -> str:
    """Returns an image as the data URI of a JPEG, at most `side_pixels` wide and high."""
    stream = io.BytesIO()
    _shrink(image, side_pixels).save(stream, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def share_images(needs: Sequence[int], most: int | None) -> list[int]:
    """Returns how many images of each document are shown to a model that sees `most` of them.

    Each gets one, the first ones before the others, and what is left goes by turns to those that need more.

    Args:
        needs: Images that each document has.
        most: Images of all together; `None` shows all.
    """
    if most is None:
        return list(needs)
    shares = [0] * len(needs)
    left = most
    while left > 0 and shares != list(needs):
        for place, need in enumerate(needs):
            if shares[place] < need and left > 0:
                shares[place] += 1
                left -= 1
    return shares


def encode_jpeg(image: Image.Image, *, max_pixels: int | None = None, max_bytes: int | None = None) -> bytes:
    """Returns an RGB image as JPEG: shrunk to `max_pixels`, then with less quality and size until it fits.

    Args:
        image: The image.
        max_pixels: Most pixels; `None` is any number.
        max_bytes: Most bytes, at least 1,024; `None` is any number.

    Raises:
        ValueError: A limit allows no image.
    """
    if (max_pixels is not None and max_pixels < 1) or (max_bytes is not None and max_bytes < LEAST_IMAGE_BYTES):
        raise ValueError(
            f"max_pixels={max_pixels} must be at least 1 and max_bytes={max_bytes} at least {LEAST_IMAGE_BYTES:,}"
        )
    scale = 1.0
    if max_pixels is not None:
        scale = min(1.0, (max_pixels / (image.width * image.height)) ** 0.5)
    while True:
        size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
        fitted = image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
        for quality in _FALLING_QUALITIES:
            stream = io.BytesIO()
            fitted.save(stream, "JPEG", quality=quality)
            if max_bytes is None or stream.tell() <= max_bytes:
                return stream.getvalue()
        scale *= _SHRINKING


def encode_png(image: Image.Image) -> bytes:
    """Returns an image as PNG."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def draw_card(
    text: str,
    *,
    width_pixels: int = _CARD_WIDTH_PIXELS,
    most_height_pixels: int = _CARD_HEIGHT_PIXELS,
    font_pixels: int = _CARD_FONT_PIXELS,
) -> Image.Image:
    """Returns `text` drawn on a sheet of paper, in lines; what does not fit ends in an ellipsis.

    The font is the one that comes with Pillow. It has the Latin letters; those of other scripts are drawn as boxes.
    """
    font = ImageFont.load_default(size=font_pixels)
    margin, line_pixels = 2 * font_pixels, round(1.45 * font_pixels)
    most_lines = max((most_height_pixels - 2 * margin) // line_pixels, 1)
    wrapped = _wrap_text(text[:_MOST_CARD_CHARACTERS], font, width_pixels - 2 * margin)
    lines = list(islice(wrapped, most_lines + 1))
    if len(lines) > most_lines:
        lines = [*lines[: most_lines - 1], lines[most_lines - 1] + " …"]
    # No flatter than a postcard, however short the text.
    height = max(2 * margin + len(lines) * line_pixels, min(width_pixels * 5 // 8, most_height_pixels))
    card = Image.new("RGB", (width_pixels, height), _PAPER)
    draw = ImageDraw.Draw(card)
    for number, line in enumerate(lines):
        draw.text((margin, margin + number * line_pixels), line, font=font, fill=_INK)
    return card


def _draw_sheet(frames: Sequence[Image.Image], side_pixels: int) -> Image.Image:
    """The frames in two columns, each made small first: those of a video may be large."""
    cells = [_shrink(frame, (side_pixels - _GAP_PIXELS) // 2) for frame in frames]
    width, height = (max(cell.size[axis] for cell in cells) for axis in (0, 1))
    sheet = Image.new("RGB", (2 * width + _GAP_PIXELS, 2 * height + _GAP_PIXELS), "white")
    for number, cell in enumerate(cells):
        sheet.paste(cell, ((number % 2) * (width + _GAP_PIXELS), (number // 2) * (height + _GAP_PIXELS)))
    return sheet


def _shrink(image: Image.Image, side_pixels: int) -> Image.Image:
    small = image.convert("RGB")
    small.thumbnail((side_pixels, side_pixels), Image.Resampling.LANCZOS)
    return small


def _wrap_text(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_pixels: int) -> Iterator[str]:
    for paragraph in text.splitlines():
        line = ""
        for piece in _split_paragraph(clean_text(paragraph), font, width_pixels):
            if line and font.getlength((line + piece).rstrip()) > width_pixels:
                yield line.rstrip()
                line = piece.lstrip()
            else:
                line += piece
        yield line.rstrip()


def _split_paragraph(
    paragraph: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_pixels: int
) -> Iterator[str]:
    """Words with the space that follows; the letters of what is too long for a line, or has no spaces."""
    for word in re.findall(r"\S+\s?", paragraph):
        if font.getlength(word.rstrip()) <= width_pixels:
            yield word
        else:
            yield from word
