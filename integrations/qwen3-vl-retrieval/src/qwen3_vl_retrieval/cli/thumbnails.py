"""Images of a few coloured characters: enough to tell a red mug from a page of text."""

from __future__ import annotations

from PIL import Image
from rich.cells import cell_len, set_cell_size
from rich.color import Color
from rich.style import Style
from rich.text import Text

from qwen3_vl_retrieval.documents.labels import clean_text
from qwen3_vl_retrieval.documents.previews import read_view, view_item, view_unit
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.index.results.hits import Hit

__all__ = ["COLUMNS", "ROWS", "draw_image", "draw_thumbnail"]

COLUMNS = 12
ROWS = 4
"""Cells of a thumbnail; a cell shows two pixels, one above the other."""

_PAGE_PIXELS = 40_000
_PAPER = Style(color="#202428", bgcolor="#f4f2ec")


def draw_thumbnail(hit: Hit) -> Text:
    """Returns a hit as four lines of at most twelve cells: its image, or its first words as on paper.

    What can no longer be read is a question mark: a table is no place to fail.
    """
    if hit.media_type == "text":
        return _draw_paper("" if hit.text is None else hit.text)
    try:
        view = view_unit(hit.unit) if hit.stored_item is None else view_item(hit.stored_item)
        return draw_image(read_view(view, hit.policy, page_pixels=_PAGE_PIXELS))
    except InputError:
        return Text("?", style="dim")


def draw_image(image: Image.Image) -> Text:
    """Returns an image as four lines of at most twelve cells."""
    scale = min(COLUMNS / image.width, 2 * ROWS / image.height)
    width = max(1, round(image.width * scale))
    height = max(2, 2 * round(image.height * scale / 2))
    small = image.convert("RGB").resize((width, height), Image.Resampling.BOX)
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
