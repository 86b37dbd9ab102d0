"""Pages: invoices, reports, memos and forms, each type with its own layout."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from qwen3_vl_pocket.world.artefacts import add_scan_artefacts
from qwen3_vl_pocket.world.canvas import INK, SIZES, Canvas, Color, choose_ink, draw_tint, vary_color
from qwen3_vl_pocket.world.facts import Facts

__all__ = ["draw_page"]

_RULE: Color = (130, 130, 136)
_FILLER: Color = (190, 190, 195)
_SCANNED_SHARE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """A page under way: what it says, what to draw on, its colour, and how far everything is moved."""

    facts: Facts
    rng: random.Random
    canvas: Canvas
    color: Color
    x: float
    y: float

    def write(self, x: float, y: float, text: str, size: float, *, anchor: str = "lm") -> float:
        return self.canvas.write(x + self.x, y + self.y, text, size, anchor=anchor)

    def draw_header(self, left: float, top: float, right: float, bottom: float, *, middle: bool = False) -> None:
        self.canvas.fill_box(left, top, right, bottom, self.color)
        x, anchor = ((left + right) / 2, "mm") if middle else (max(left, 0) + 8, "lm")
        ink = choose_ink(self.color)
        self.canvas.write(x + self.x, (top + bottom) / 2, self.facts["company"], 20, color=ink, anchor=anchor)

    def draw_number(self, x: float, y: float) -> None:
        width = self.write(x, y + 2, "No", 16)
        self.write(x + width + 5, y, self.facts["tens"] + self.facts["ones"], 26)

    def draw_table(self, left: float, top: float, right: float, *, split: float) -> None:
        left, right, split, top = left + self.x, right + self.x, split + self.x, top + self.y
        canvas, bottom = self.canvas, top + 40
        canvas.outline_box(left, top, right, bottom, _RULE)
        canvas.draw_line([(left, top + 16), (right, top + 16)], 1, _RULE)
        canvas.draw_line([(split, top), (split, bottom)], 1, _RULE)
        canvas.write((split + right) / 2, top + 7, "qty", 14, anchor="mm")
        canvas.write((split + right) / 2, top + 28, self.facts["quantity"], 23, anchor="mm")
        self.draw_filler(left + 4 - self.x, top + 8 - self.y, split - 6 - self.x, rows=1)
        self.draw_filler(left + 4 - self.x, top + 22 - self.y, split - 6 - self.x, rows=3)

    def draw_filler(self, left: float, top: float, right: float, *, rows: int) -> None:
        for row in range(rows):
            y = top + row * 6 + self.y
            end = left + (right - left) * self.rng.uniform(0.6, 1.0)
            self.canvas.draw_line([(left + self.x, y), (end + self.x, y)], 1.5, _FILLER)


def draw_page(facts: Facts, rng: random.Random, *, scale: float) -> Image.Image:
    """Returns a page; about three in ten look scanned."""
    canvas = Canvas(SIZES["page"], scale=scale, ground=draw_tint(rng, darkest=238))
    color = vary_color(facts["color"], rng)
    sheet = _Sheet(facts=facts, rng=rng, canvas=canvas, color=color, x=rng.uniform(-2.5, 2.5), y=rng.uniform(-2.5, 2.5))
    _LAYOUTS[facts["type"]](sheet)
    if rng.random() < _SCANNED_SHARE:
        return add_scan_artefacts(canvas.image, rng, strength=rng.uniform(0.2, 0.6))
    return canvas.image


def _lay_out_invoice(sheet: _Sheet) -> None:
    sheet.draw_header(0, 0, 128, 26 + sheet.y)
    sheet.write(8, 39, "INVOICE", 19)
    sheet.write(8, 62, sheet.facts["title"], 21)
    sheet.draw_number(62, 86)
    sheet.draw_filler(8, 82, 50, rows=2)
    sheet.draw_table(8, 103, 120, split=82)
    sheet.draw_filler(8, 149, 110, rows=1)


def _lay_out_report(sheet: _Sheet) -> None:
    sheet.canvas.fill_box(0, 0, 7, 160, sheet.color)
    sheet.write(14, 17, sheet.facts["title"], 21)
    sheet.write(14, 39, "REPORT", 19)
    sheet.draw_number(14, 63)
    sheet.draw_filler(84, 55, 120, rows=4)
    sheet.draw_table(14, 82, 84, split=50)
    sheet.draw_filler(90, 84, 120, rows=6)
    sheet.draw_header(0, 132 + sheet.y, 128, 160, middle=True)


def _lay_out_memo(sheet: _Sheet) -> None:
    sheet.write(64, 13, "MEMO", 19, anchor="mm")
    for y in (25, 28):
        sheet.canvas.draw_line([(8, y + sheet.y), (120, y + sheet.y)], 1, INK)
    sheet.draw_number(8, 47)
    sheet.draw_filler(76, 42, 118, rows=2)
    sheet.draw_header(8, 63 + sheet.y, 120, 87 + sheet.y)
    sheet.write(64, 101, sheet.facts["title"], 21, anchor="mm")
    sheet.draw_table(42, 114, 120, split=84)
    sheet.draw_filler(8, 120, 36, rows=5)


def _lay_out_form(sheet: _Sheet) -> None:
    x, y = sheet.x, sheet.y
    sheet.write(8, 15, "FORM", 19)
    for column in range(3):
        sheet.canvas.outline_box(80 + column * 14 + x, 9 + y, 90 + column * 14 + x, 19 + y, _RULE)
    sheet.canvas.outline_box(6 + x, 28 + y, 122 + x, 54 + y, _RULE)
    sheet.write(12, 41, sheet.facts["title"], 21)
    sheet.draw_header(6 + x, 58 + y, 122 + x, 82 + y)
    sheet.draw_table(6, 86, 54, split=22)
    sheet.canvas.outline_box(57 + x, 86 + y, 122 + x, 126 + y, _RULE)
    sheet.draw_number(61, 106)
    for row in range(2):
        top = 132 + row * 12 + y
        sheet.canvas.outline_box(8 + x, top, 16 + x, top + 8, _RULE)
        sheet.draw_filler(22, 136 + row * 12, 110, rows=1)


_LAYOUTS: dict[str, Callable[[_Sheet], None]] = {
    "invoice": _lay_out_invoice,
    "report": _lay_out_report,
    "memo": _lay_out_memo,
    "form": _lay_out_form,
}
