"""Pictures of a few coloured characters: enough to tell a red mug from a page of text."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from rich.cells import cell_len, set_cell_size
from rich.color import Color
from rich.style import Style
from rich.text import Text

from qwen3_vl_retrieval import media
from qwen3_vl_retrieval.cli.report import clean_text
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.index.units import Unit
from qwen3_vl_retrieval.media.policy import MediaPolicy, resolve_path

__all__ = ["COLUMNS", "ROWS", "draw_thumbnail", "read_frames", "read_picture"]

COLUMNS = 12
ROWS = 4
"""Cells of a thumbnail; a cell shows two pixels, one above the other."""

_PAGE_PIXELS = 40_000
_PAPER = Style(color="#202428", bgcolor="#f4f2ec")


def draw_thumbnail(unit: Unit, policy: MediaPolicy) -> Text:
    """Returns `unit` as four lines of at most twelve cells: its picture, or its first words as on paper.

    What can no longer be read is a question mark: a table is no place to fail.
    """
    if unit.media_type == "text":
        return _draw_paper("" if unit.text is None else unit.text)
    try:
        return _draw_picture(read_picture(unit, policy))
    except InputError:
        return Text("?", style="dim")


def read_picture(unit: Unit, policy: MediaPolicy, *, page_pixels: int = _PAGE_PIXELS) -> Image.Image:
    """Returns what `unit` looks like: the picture, the page at `page_pixels`, or a frame from the middle of the clip.

    Raises:
        InputError: It can no longer be read.
    """
    if unit.media_type == "image":
        return media.read_image(unit.source, policy)
    if unit.page is not None:
        return media.render_pdf_page(unit.source, unit.page, policy, max_pixels=page_pixels)
    # The middle of the window: the beginning of a clip is often black.
    return read_frames(unit, policy, shares=(0.5,))[0]


def read_frames(unit: Unit, policy: MediaPolicy, *, shares: Sequence[float]) -> list[Image.Image]:
    """Returns frames of a clip, at rising shares of its window: 0 is the beginning, 1 the end.

    Raises:
        InputError: It can no longer be read.
    """
    from qwen3_vl_retrieval.media.container import decode_frames, read_index

    source = resolve_path(unit.source, policy)
    index = read_index(source, policy)
    begin, end = 0.0 if unit.start is None else unit.start, index.total / index.frame_rate
    duration = (end if unit.end is None else unit.end) - begin
    numbers = [min(int((begin + share * duration) * index.frame_rate), index.total - 1) for share in shares]
    return [Image.fromarray(frame) for frame in decode_frames(source, policy, index, numbers)]


def _draw_picture(picture: Image.Image) -> Text:
    scale = min(COLUMNS / picture.width, 2 * ROWS / picture.height)
    width = max(1, round(picture.width * scale))
    height = max(2, 2 * round(picture.height * scale / 2))
    small = picture.convert("RGB").resize((width, height), Image.Resampling.BOX)
    pixels = small.tobytes()
    drawn = Text()
    for top in range(0, height, 2):
        for left in range(width):
            upper, lower = 3 * (top * width + left), 3 * ((top + 1) * width + left)
            style = Style(
                color=Color.from_rgb(*pixels[upper : upper + 3]), bgcolor=Color.from_rgb(*pixels[lower : lower + 3])
            )
            drawn.append("▀", style)
        drawn.append("\n" if top + 2 < height else "")
    return drawn


def _draw_paper(text: str) -> Text:
    """The first words, as many as fit; letters of two cells are counted as such."""
    letters = iter(clean_text(text[: 4 * COLUMNS * ROWS]))
    lines: list[str] = []
    line = ""
    for letter in letters:
        if cell_len(line + letter) > COLUMNS - 2:
            lines.append(line)
            line = "" if letter == " " else letter
        else:
            line += letter
    lines = [*lines, line, *[""] * ROWS][:ROWS]
    return Text("\n").join(Text(f" {set_cell_size(line, COLUMNS - 2)} ", style=_PAPER) for line in lines)
