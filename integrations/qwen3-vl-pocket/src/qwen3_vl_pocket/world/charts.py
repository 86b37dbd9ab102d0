"""Charts: four quarters as bars or as a line, the highest of them with its value."""

from __future__ import annotations

import random

from PIL import Image

from qwen3_vl_pocket.world.canvas import INK, SIZES, Canvas, Color, draw_tint, vary_color
from qwen3_vl_pocket.world.facts import SCHEMAS, Facts

__all__ = ["draw_chart"]

_QUARTERS = SCHEMAS["chart"]["peak"]
_FLOOR = 107.0
_GRID: Color = (205, 205, 208)


def draw_chart(facts: Facts, rng: random.Random, *, scale: float) -> Image.Image:
    """Returns a chart with its title, its labels and the value of its peak."""
    canvas = Canvas(SIZES["chart"], scale=scale, ground=draw_tint(rng, darkest=235))
    color = vary_color(facts["color"], rng)
    shift = rng.uniform(-3, 3)
    canvas.write(14 + rng.uniform(-3, 3), 14 + rng.uniform(-2, 2), facts["title"], 21)
    canvas.fill_box(134 + shift, 8, 148 + shift, 22, color)
    tops = _plan_tops(facts["peak"], rng)
    places = [(27.0 + shift + 35.5 * quarter, top) for quarter, top in enumerate(tops)]
    for row in range(4):
        canvas.draw_line([(8, _FLOOR - row * 16), (152, _FLOOR - row * 16)], 0.5, _GRID)
    canvas.draw_line([(8, _FLOOR), (152, _FLOOR)], 1, INK)
    if facts["type"] == "bar":
        _draw_bars(canvas, places, color, rng.uniform(9.5, 12))
    else:
        _draw_curve(canvas, places, color)
    for quarter, (x, _top) in zip(_QUARTERS, places, strict=True):
        canvas.write(x, 117, quarter, 14, anchor="mm")
    x, top = places[_QUARTERS.index(facts["peak"])]
    gap = 13 if facts["type"] == "bar" else 17
    canvas.write(x, top - gap, facts["tens"] + facts["ones"], 23, anchor="mm")
    return canvas.image


def _plan_tops(peak: str, rng: random.Random) -> list[float]:
    highest = rng.uniform(48, 52)
    heights = [highest if quarter == peak else highest * rng.uniform(0.2, 0.72) for quarter in _QUARTERS]
    return [_FLOOR - height for height in heights]


def _draw_bars(canvas: Canvas, places: list[tuple[float, float]], color: Color, half: float) -> None:
    for x, top in places:
        canvas.fill_box(x - half, top, x + half, _FLOOR, color)


def _draw_curve(canvas: Canvas, places: list[tuple[float, float]], color: Color) -> None:
    canvas.draw_line(places, 4, color)
    for x, top in places:
        canvas.fill_disc(x, top, 5.5, color)
