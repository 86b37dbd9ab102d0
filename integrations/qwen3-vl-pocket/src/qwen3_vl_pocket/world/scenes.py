"""Images without words: two shapes, several equal shapes with another, and a product photo."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from PIL import Image

from qwen3_vl_pocket.world.canvas import SIZES, Canvas, Color, draw_tint, vary_color
from qwen3_vl_pocket.world.facts import Facts
from qwen3_vl_pocket.world.shapes import draw_figure, plan_figure

__all__ = ["draw_count", "draw_pair", "draw_product"]

_NEAR, _MIDDLE, _FAR = 0.27, 0.5, 0.73
_PAIR_PLACES = {
    "left": ((_NEAR, _MIDDLE), (_FAR, _MIDDLE)),
    "right": ((_FAR, _MIDDLE), (_NEAR, _MIDDLE)),
    "above": ((_MIDDLE, _NEAR), (_MIDDLE, _FAR)),
    "below": ((_MIDDLE, _FAR), (_MIDDLE, _NEAR)),
}
"""Shares of width and height, of the first shape and of the other."""

_COUNT_PLACES = tuple((x, y) for y in (21.0, 54.0) for x in (25.0, 64.0, 103.0))


def draw_pair(facts: Facts, rng: random.Random, *, scale: float) -> Image.Image:
    """Returns two shapes side by side or one above the other."""
    width, height = SIZES["pair"]
    canvas = Canvas(SIZES["pair"], scale=scale, ground=draw_tint(rng))
    sorts = ((facts["shape"], facts["color"]), (facts["other_shape"], facts["other_color"]))
    for (shape, color), (x, y) in zip(sorts, _PAIR_PLACES[facts["relation"]], strict=True):
        place = (x * width, y * height)
        draw_figure(canvas, plan_figure(shape, color, rng, place=place, jitter=4, radii=(18, 24.5)))
    return canvas.image


def draw_count(facts: Facts, rng: random.Random, *, scale: float) -> Image.Image:
    """Returns several equal shapes in the upper part, and one other in the lower part."""
    canvas = Canvas(SIZES["count"], scale=scale, ground=draw_tint(rng))
    color = vary_color(facts["color"], rng)
    for place in rng.sample(_COUNT_PLACES, int(facts["count"])):
        figure = plan_figure(facts["shape"], facts["color"], rng, place=place, jitter=3, radii=(11, 12.5))
        draw_figure(canvas, replace(figure, color=color))
    place = (rng.uniform(26, 102), 99.0)
    other = plan_figure(facts["other_shape"], facts["other_color"], rng, place=place, jitter=3, radii=(16.5, 19.5))
    draw_figure(canvas, other)
    return canvas.image


def draw_product(facts: Facts, rng: random.Random, *, scale: float) -> Image.Image:
    """Returns one large shape in a studio: light from above, a table, a shadow."""
    width, height = SIZES["product"]
    wall, floor = draw_tint(rng), draw_tint(rng, darkest=205)
    canvas = Canvas.over(_blend_ground((round(width * scale), round(height * scale)), wall, floor), scale=scale)
    figure = plan_figure(facts["shape"], facts["color"], rng, place=(64, 60), jitter=3, radii=(34, 42))
    shade = (floor[0] - 45, floor[1] - 45, floor[2] - 45)
    canvas.fill_disc(figure.x, figure.y + figure.radius * 0.95, figure.radius * 0.95, shade, height=8)
    draw_figure(canvas, figure)
    return canvas.image


def _blend_ground(size: tuple[int, int], top: Color, bottom: Color) -> Image.Image:
    share = np.linspace(0.0, 1.0, size[1])[:, None, None]
    column = np.asarray(top) * (1 - share) + np.asarray(bottom) * share
    return Image.fromarray(column.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
