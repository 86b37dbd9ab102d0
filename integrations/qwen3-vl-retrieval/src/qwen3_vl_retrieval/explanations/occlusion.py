"""What a score depends on: parts of an image, or spans of a video, that lower it when they cannot be made out.

It takes three calls of the model at most. In the first each part is shuffled by itself. In the second the two parts
that this took most from are covered as well, since a large figure is still made out when it is shuffled, and the order
of the two is by the sum. In the third the strongest is looked into. benchmarks/explanations.py says how often that is
right, and what it was preferred to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from qwen3_vl_retrieval.explanations.alterations import blank_image, cover_part, shuffle_part
from qwen3_vl_retrieval.explanations.boxes import Box
from qwen3_vl_retrieval.explanations.explanation import Explanation, Region
from qwen3_vl_retrieval.explanations.image_parts import ImagePart, find_parts, group_parts
from qwen3_vl_retrieval.explanations.judges import Judge
from qwen3_vl_retrieval.items import Item

__all__ = ["FRAME_COUNT", "occlude_frames", "occlude_image"]

_MOST_PARTS = 8
_MOST_COVERED = 2
_MOST_MEMBERS = 3

_KEPT_SHARE = 0.7
"""Share of what a part takes from the score that one of its members must take to be the region in its place."""

_LEAST_WEIGHT = 0.1
"""Regions below this share of the strongest are left out."""

_SPANS = 6

FRAME_COUNT = 12
"""Frames of a video that are looked at: two for each span."""


@dataclass(slots=True)
class _Effects:
    """What altering each part takes from the score."""

    judge: Judge
    build_item: Callable[[Image.Image], Item]
    judged: int = 0

    def measure(self, images: Sequence[Image.Image], base: float) -> npt.NDArray[np.float32]:
        """Returns by how much each image scores below `base`."""
        self.judged += len(images)
        return base - self.judge.score([self.build_item(image) for image in images])


def occlude_image(image: Image.Image, judge: Judge, *, build_item: Callable[[Image.Image], Item]) -> Explanation:
    """Returns the parts of an image or page that its score depends on.

    Args:
        image: RGB.
        judge: Gives the score.
        build_item: Makes an item of an image: the image itself, or what goes with it besides.

    Raises:
        InputError: The image cannot be judged.
    """
    parts = group_parts(find_parts(image), most=_MOST_PARTS)
    if not parts:
        return Explanation(method="occlusion", measure=judge.measure, regions=(), image=image)
    effects = _Effects(judge, build_item, judged=1)
    shuffled = [shuffle_part(image, part.box) for part in parts]
    scores = judge.score([build_item(one) for one in (image, *shuffled)])
    base = float(scores[0])
    effects.judged += len(parts)
    lost = base - scores[1:]
    order = np.argsort(-lost, kind="stable")
    first = [int(place) for place in order[:_MOST_COVERED]]
    covered = effects.measure([cover_part(image, parts[place].box) for place in first], base)
    summed = {place: float(lost[place] + extra) / 2 for place, extra in zip(first, covered, strict=True)}
    # What was not covered is weaker than what was, whatever the sum.
    bound = min(summed.values())
    ranked = {place: summed.get(place, min(float(lost[place]), bound)) for place in map(int, order)}
    strongest = max(ranked, key=lambda place: ranked[place])
    boxes = {place: parts[place].box for place in ranked}
    boxes[strongest] = _look_inside(image, parts[strongest], float(lost[strongest]), base, effects)
    return Explanation(
        method="occlusion",
        measure=judge.measure,
        regions=_weigh([(ranked[place], Region(weight=1.0, box=boxes[place])) for place in ranked]),
        score=base,
        judged=effects.judged,
        image=image,
    )


def _look_inside(image: Image.Image, part: ImagePart, lost: float, base: float, effects: _Effects) -> Box:
    """The box of the member that takes nearly all of what the part takes, or that of the part."""
    members = group_parts(part.members, most=_MOST_MEMBERS)
    if len(members) < 2 or lost <= 0:
        return part.box
    found = effects.measure([shuffle_part(image, member.box) for member in members], base)
    best = int(found.argmax())
    return members[best].box if found[best] >= _KEPT_SHARE * lost else part.box


def occlude_frames(
    frames: Sequence[Image.Image],
    judge: Judge,
    *,
    start: float,
    end: float,
    build_item: Callable[[Sequence[Image.Image]], Item],
) -> Explanation:
    """Returns the spans of a video that its score depends on, from frames at the middles of equal parts of it.

    Args:
        frames: RGB, in order; see `FRAME_COUNT`.
        judge: Gives the score.
        start: First second of what the frames show.
        end: Last second of it.
        build_item: Makes an item of frames.

    Raises:
        InputError: The frames cannot be judged.
    """
    bounds = np.linspace(0, len(frames), min(_SPANS, len(frames)) + 1).round().astype(int)
    spans = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    altered = [[*frames[:first], *map(blank_image, frames[first:last]), *frames[last:]] for first, last in spans]
    scores = judge.score([build_item(one) for one in (frames, *altered)])
    seconds = (end - start) / len(frames)
    found = [
        (float(scores[0] - score), Region(weight=1.0, start=start + first * seconds, end=start + last * seconds))
        for score, (first, last) in zip(scores[1:], spans, strict=True)
    ]
    regions = _weigh(found)
    strongest = int(np.argmin(scores[1:]))
    return Explanation(
        method="occlusion",
        measure=judge.measure,
        regions=regions,
        score=float(scores[0]),
        judged=len(altered) + 1,
        image=frames[sum(spans[strongest]) // 2],
    )


def _weigh(found: Sequence[tuple[float, Region]]) -> list[Region]:
    """Regions with their effects, the strongest first and with weight 1; without those that take next to nothing."""
    strongest = max(effect for effect, _ in found)
    if strongest <= 0:
        return []
    kept = sorted((one for one in found if one[0] >= _LEAST_WEIGHT * strongest), key=lambda one: -one[0])
    return [replace(region, weight=effect / strongest, effect=effect) for effect, region in kept]
