"""Videos: a shape that moves, one that appears or vanishes, one that changes its colour."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from qwen3_vl_pocket.world.canvas import SIZES, Canvas, Color, draw_tint, vary_color
from qwen3_vl_pocket.world.facts import Facts, Kind
from qwen3_vl_pocket.world.shapes import Figure, draw_figure, plan_figure

__all__ = ["CLIP_FRAME_COUNT", "CLIP_FRAME_RATE", "CLIP_SECONDS", "Clip", "plan_clip"]

CLIP_SECONDS = 6.0
"""How long every video is."""

CLIP_FRAME_RATE = 4
"""Frames a second."""

CLIP_FRAME_COUNT = int(CLIP_SECONDS * CLIP_FRAME_RATE)
"""Frames of every video."""

_SIDE = 96.0
_MOMENTS = {"early": (1.6, 2.2), "late": (3.8, 4.4)}
_HEADINGS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A video before it is drawn.

    Attributes:
        ground: The colour of the background.
        still: What stands still all the time.
        show: What else is seen at a second of the video, or `None`.
    """

    ground: Color
    still: tuple[Figure, ...]
    show: Callable[[float], Figure | None]

    def draw_frames(self, indices: Sequence[int], *, scale: float) -> list[Image.Image]:
        """Returns the asked frames, each drawn `scale` times as large as at scale 1."""
        ground = Canvas(SIZES["motion"], scale=scale, ground=self.ground)
        for figure in self.still:
            draw_figure(ground, figure)
        return [self._draw_frame(ground, index) for index in indices]

    def _draw_frame(self, ground: Canvas, index: int) -> Image.Image:
        canvas = Canvas.over(ground.image.copy(), scale=ground.scale)
        figure = self.show(index / CLIP_FRAME_RATE)
        if figure is not None:
            draw_figure(canvas, figure)
        return canvas.image


def plan_clip(facts: Facts, rng: random.Random) -> Clip:
    """Returns what happens in the video of these facts."""
    return _PLANS[facts.kind](facts, rng)


def _plan_motion(facts: Facts, rng: random.Random) -> Clip:
    across, down = _HEADINGS[facts["direction"]]
    lane, other_lane = rng.choice(((30.0, 73.0), (66.0, 23.0)))
    other_along = rng.uniform(20, 76)
    middle, place = ((48.0, lane), (other_along, other_lane)) if across else ((lane, 48.0), (other_lane, other_along))
    mover = plan_figure(facts["shape"], facts["color"], rng, place=middle, jitter=2, radii=(11.5, 14))
    other = plan_figure(facts["other_shape"], facts["other_color"], rng, place=place, jitter=3, radii=(10, 12.5))
    travel = rng.uniform(60, 66)

    def show(second: float) -> Figure:
        step = travel * (second / CLIP_SECONDS - 0.48)
        return mover.at(mover.x + across * step, mover.y + down * step)

    return Clip(ground=draw_tint(rng), still=(other,), show=show)


def _plan_change(facts: Facts, rng: random.Random) -> Clip:
    places = [(25.0, 25.0), (71.0, 71.0)] if rng.random() < 0.5 else [(25.0, 71.0), (71.0, 25.0)]
    rng.shuffle(places)
    shown = plan_figure(facts["shape"], facts["color"], rng, place=places[0], jitter=4, radii=(15, 18))
    other = plan_figure(facts["other_shape"], facts["other_color"], rng, place=places[1], jitter=4, radii=(12, 15))
    moment = rng.uniform(*_MOMENTS[facts["moment"]])
    appears = facts["event"] == "appears"

    def show(second: float) -> Figure | None:
        return shown if (second >= moment) == appears else None

    return Clip(ground=draw_tint(rng), still=(other,), show=show)


def _plan_recolor(facts: Facts, rng: random.Random) -> Clip:
    before = plan_figure(facts["shape"], facts["color"], rng, place=(48.0, 48.0), jitter=5, radii=(18, 23))
    after = replace(before, color=vary_color(facts["new_color"], rng))
    moment = rng.uniform(*_MOMENTS[facts["moment"]])

    def show(second: float) -> Figure:
        return after if second >= moment else before

    return Clip(ground=draw_tint(rng), still=(), show=show)


_PLANS: dict[Kind, Callable[[Facts, random.Random], Clip]] = {
    "motion": _plan_motion,
    "change": _plan_change,
    "recolor": _plan_recolor,
}
