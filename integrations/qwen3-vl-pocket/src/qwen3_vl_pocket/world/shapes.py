"""The shapes of the world, each about as large as a disc of the same radius."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qwen3_vl_pocket.world.canvas import Canvas, Color, vary_color

__all__ = ["Figure", "draw_figure", "plan_figure"]

_MOST_TURN_DEGREES = 8.0

# Corners around the origin for radius 1; y grows downwards. Discs and rings have none.
_CROSS_HALF = 0.34
_OUTLINES: dict[str, tuple[tuple[float, float], ...]] = {
    "square": ((-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)),
    "triangle": ((0.0, -1.05), (1.05, 0.8), (-1.05, 0.8)),
    "star": tuple(
        (math.sin(turn * math.pi / 5) * reach, -math.cos(turn * math.pi / 5) * reach)
        for turn in range(10)
        for reach in ((1.15, 0.5)[turn % 2],)
    ),
    "cross": (
        (-_CROSS_HALF, -1.02), (_CROSS_HALF, -1.02), (_CROSS_HALF, -_CROSS_HALF), (1.02, -_CROSS_HALF),
        (1.02, _CROSS_HALF), (_CROSS_HALF, _CROSS_HALF), (_CROSS_HALF, 1.02), (-_CROSS_HALF, 1.02),
        (-_CROSS_HALF, _CROSS_HALF), (-1.02, _CROSS_HALF), (-1.02, -_CROSS_HALF), (-_CROSS_HALF, -_CROSS_HALF),
    ),
}  # fmt: skip
_DISC_RADIUS = 0.97
_RING_WIDTH = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A shape at a place.

    Attributes:
        shape: Which of the shapes of the world.
        color: Red, green and blue.
        x: Horizontal position of its centre, in pixels at scale 1.
        y: Vertical position of its centre, in pixels at scale 1.
        radius: In pixels at scale 1.
        turn_degrees: How far it is turned clockwise.
    """

    shape: str
    color: Color
    x: float
    y: float
    radius: float
    turn_degrees: float

    def at(self, x: float, y: float) -> Figure:
        """Returns the same shape at another place."""
        return replace(self, x=x, y=y)


def plan_figure(
    shape: str, color: str, rng: random.Random, *, place: tuple[float, float], jitter: float, radii: tuple[float, float]
) -> Figure:
    """Returns a shape near a place, up to `jitter` pixels off, of a radius between two."""
    return Figure(
        shape=shape,
        color=vary_color(color, rng),
        x=place[0] + rng.uniform(-jitter, jitter),
        y=place[1] + rng.uniform(-jitter, jitter),
        radius=rng.uniform(*radii),
        turn_degrees=rng.uniform(-_MOST_TURN_DEGREES, _MOST_TURN_DEGREES),
    )


def draw_figure(canvas: Canvas, figure: Figure) -> None:
    """Draws a shape."""
    if figure.shape == "circle":
        canvas.fill_disc(figure.x, figure.y, figure.radius * _DISC_RADIUS, figure.color)
    elif figure.shape == "ring":
        radius = figure.radius * 1.02
        canvas.draw_ring(figure.x, figure.y, radius, radius * _RING_WIDTH, figure.color)
    else:
        canvas.fill_polygon(_place_corners(figure, _OUTLINES[figure.shape]), figure.color)


def _place_corners(figure: Figure, outline: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    turn = math.radians(figure.turn_degrees)
    along, across = math.cos(turn) * figure.radius, math.sin(turn) * figure.radius
    return [(figure.x + x * along - y * across, figure.y + x * across + y * along) for x, y in outline]
