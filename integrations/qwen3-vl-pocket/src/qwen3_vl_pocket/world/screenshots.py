"""Screenshots: a dialog with an icon, a message, a code and a button."""

from __future__ import annotations

import random

from PIL import Image

from qwen3_vl_pocket.world.canvas import INK, SIZES, Canvas, Color, choose_ink, draw_tint, vary_color
from qwen3_vl_pocket.world.facts import Facts

__all__ = ["draw_screenshot"]

_WHITE: Color = (255, 255, 255)
_EDGE: Color = (120, 120, 128)
_ICON_GROUNDS: dict[str, Color] = {
    "error": (205, 30, 30),
    "warning": (250, 200, 20),
    "info": (30, 100, 210),
    "question": (118, 112, 124),
}


def draw_screenshot(facts: Facts, rng: random.Random, *, scale: float) -> Image.Image:
    """Returns a dialog on a desktop."""
    desk = (rng.randint(165, 225), rng.randint(165, 225), rng.randint(165, 225))
    canvas = Canvas(SIZES["screenshot"], scale=scale, ground=desk)
    color = vary_color(facts["color"], rng)
    x, y = rng.uniform(4, 8), rng.uniform(3, 7)
    ground = draw_tint(rng, darkest=238)
    canvas.outline_box(x, y, x + 148, y + 118, _EDGE, ground=ground)
    canvas.fill_box(x, y, x + 148, y + 25, color)
    canvas.write(x + 8, y + 12.5, facts["company"], 19, color=choose_ink(color))
    canvas.outline_box(x + 130, y + 8, x + 140, y + 18, choose_ink(color))
    _draw_icon(canvas, facts["icon"], x + 21, y + 47)
    canvas.write(x + 42, y + 41, facts["fault"], 21)
    width = canvas.write(x + 42, y + 68, "code", 16)
    canvas.write(x + 48 + width, y + 66, facts["tens"] + facts["ones"], 25)
    canvas.round_box(x + 74, y + 86, x + 140, y + 112, 4, ground=draw_tint(rng, darkest=215), edge=_EDGE)
    canvas.write(x + 107, y + 98.5, facts["button"], 18, anchor="mm")
    return canvas.image


def _draw_icon(canvas: Canvas, icon: str, x: float, y: float) -> None:
    ground = _ICON_GROUNDS[icon]
    if icon == "warning":
        canvas.fill_polygon([(x, y - 15), (x + 16, y + 13), (x - 16, y + 13)], ground)
        canvas.write(x, y + 4, "!", 23, color=INK, anchor="mm")
        return
    canvas.fill_disc(x, y, 14, ground)
    if icon == "error":
        canvas.draw_line([(x - 6, y - 6), (x + 6, y + 6)], 4, _WHITE)
        canvas.draw_line([(x - 6, y + 6), (x + 6, y - 6)], 4, _WHITE)
    else:
        canvas.write(x, y, "i" if icon == "info" else "?", 23, color=_WHITE, anchor="mm")
