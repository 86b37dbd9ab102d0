"""Draws what facts say: one image, or the frames of a video."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from PIL import Image

from qwen3_vl_pocket.world.artefacts import add_scan_artefacts
from qwen3_vl_pocket.world.canvas import SIZES
from qwen3_vl_pocket.world.charts import draw_chart
from qwen3_vl_pocket.world.clips import CLIP_FRAME_COUNT, CLIP_FRAME_RATE, CLIP_SECONDS, plan_clip
from qwen3_vl_pocket.world.facts import GROUPS, Facts, Kind
from qwen3_vl_pocket.world.pages import draw_page
from qwen3_vl_pocket.world.scenes import draw_count, draw_pair, draw_product
from qwen3_vl_pocket.world.screenshots import draw_screenshot

__all__ = [
    "CLIP_FRAME_COUNT",
    "CLIP_FRAME_RATE",
    "CLIP_SECONDS",
    "SIZES",
    "add_scan_artefacts",
    "draw_frames",
    "draw_picture",
]

_DRAWERS: dict[Kind, Callable[..., Image.Image]] = {
    "pair": draw_pair,
    "count": draw_count,
    "page": draw_page,
    "chart": draw_chart,
    "screenshot": draw_screenshot,
    "product": draw_product,
}


def draw_picture(facts: Facts, rng: random.Random, *, scale: float = 2.0) -> Image.Image:
    """Returns an image of which the facts are true.

    Args:
        facts: Facts of any kind but the videos.
        rng: Chooses all that the facts leave open: equal facts and an equal state give the same image.
        scale: How many times as large as `SIZES` says.

    Returns:
        RGB.

    Raises:
        ValueError: The facts are of a video.
    """
    if GROUPS[facts.kind] == "clip":
        raise ValueError(f"{facts.kind!r} is a kind of clip, not of picture: call draw_frames")
    return _DRAWERS[facts.kind](facts, rng, scale=scale)


def draw_frames(
    facts: Facts, rng: random.Random, *, indices: Sequence[int] | None = None, scale: float = 2.0
) -> list[Image.Image]:
    """Returns frames of a video of which the facts are true.

    Args:
        facts: Facts of a kind of video: motion, change or recolor.
        rng: Chooses all that the facts leave open: equal facts and an equal state give the same video, whichever
            frames are asked for.
        indices: Which of the 24 frames, from 0; `None` gives all.
        scale: How many times as large as `SIZES` says.

    Returns:
        RGB, one for each index.

    Raises:
        ValueError: The facts are not of a video, or an index is not of one of its frames.
    """
    if GROUPS[facts.kind] != "clip":
        raise ValueError(f"{facts.kind!r} is a kind of picture, not of clip: call draw_picture")
    asked = range(CLIP_FRAME_COUNT) if indices is None else indices
    for index in asked:
        if not 0 <= index < CLIP_FRAME_COUNT:
            raise ValueError(f"frame {index} is not in the clip: indices go from 0 to {CLIP_FRAME_COUNT - 1}")
    return plan_clip(facts, rng).draw_frames(asked, scale=scale)
