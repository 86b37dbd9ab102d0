"""What a score depends on: parts of an image, or spans of a video, that lower it when they cannot be made out.

First each part is shuffled by itself, in coarse pieces, all in one call of a model. Then the parts that this took most
from are shuffled in fine pieces and covered as well, in a second call: one alteration by itself misleads a model too
often. Where the search had a reranker, the embedder is asked the same, whose mistakes are others. Parts are ordered by
the sum of what they took. A strongest part that is large is looked into. benchmarks/explanations.py says how often
that is right, and benchmarks/LOG.md what it was preferred to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from qwen3_vl_retrieval.explanations.alterations import (
    COARSE_ORDER,
    FINE_ORDER,
    blank_image,
    cover_part,
    shuffle_part,
)
from qwen3_vl_retrieval.explanations.explanation import Explanation, Region
from qwen3_vl_retrieval.explanations.image_parts import find_parts, group_parts
from qwen3_vl_retrieval.explanations.judges import Judge
from qwen3_vl_retrieval.items import Item

__all__ = ["FRAME_COUNT", "occlude_frames", "occlude_image"]

_MOST_PARTS = 8
_MOST_ALTERED_AGAIN = 3
_MOST_MEMBERS = 3

_LOG_ODDS_PER_COSINE = 10.0
"""What a cosine lost counts for beside log-odds lost: 0.1 as much as one."""

_COVERED_SHARE = 0.5
"""What log-odds lost by covering count for beside those lost by shuffling, and beside cosines: a reranker says little
of blanks."""

_LARGE_AREA = 0.15
"""Share of the image from which on a part is looked into."""

_KEPT_SHARE = 0.7
"""Share of what a part takes from the score that one of its members must take to be the region in its place."""

_LEAST_WEIGHT = 0.1
"""Regions below this share of the strongest are left out."""

_SPANS = 6

FRAME_COUNT = 12
"""Frames of a video that are looked at: two for each span."""


def occlude_image(
    image: Image.Image,
    judge: Judge,
    *,
    build_item: Callable[[Image.Image], Item],
    second_judge: Judge | None = None,
) -> Explanation:
    """Returns the parts of an image or page that its score depends on.

    Args:
        image: RGB.
        judge: Gives the score.
        build_item: Makes an item of an image: the image itself, or what goes with it besides.
        second_judge: Gives the cosine, where `judge` gives log-odds; its losses are added.

    Raises:
        InputError: The image cannot be judged.
    """
    parts = group_parts(find_parts(image), most=_MOST_PARTS)
    if not parts:
        return Explanation(method="occlusion", measure=judge.measure, regions=(), image=image)
    judges = [_Vote(judge, shuffled=1.0, covered=1.0)]
    if second_judge is not None:
        judges = [
            _Vote(judge, shuffled=1.0, covered=_COVERED_SHARE),
            _Vote(second_judge, shuffled=_LOG_ODDS_PER_COSINE, covered=_LOG_ODDS_PER_COSINE),
        ]
    shuffled = [build_item(one) for one in (image, *(shuffle_part(image, part.box, COARSE_ORDER) for part in parts))]
    scores = [vote.judge.score(shuffled) for vote in judges]
    lost = np.zeros(len(parts))
    for vote, own in zip(judges, scores, strict=True):
        lost += vote.shuffled * (own[0] - own[1:])
    order: list[int] = np.argsort(-lost, kind="stable").tolist()
    first = order[:_MOST_ALTERED_AGAIN]
    altered = [build_item(shuffle_part(image, parts[at].box, FINE_ORDER)) for at in first]
    altered += [build_item(cover_part(image, parts[at].box)) for at in first]
    more = np.zeros(len(first))
    for vote, own in zip(judges, scores, strict=True):
        fine, covered = (own[0] - vote.judge.score(altered)).reshape(2, -1)
        more += vote.shuffled * fine + vote.covered * covered
    effects = {at: float(lost[at] + added) for at, added in zip(first, more, strict=True)}
    # What was not altered again is weaker than what was, whatever the sum.
    effects |= {at: min(float(lost[at]), *effects.values()) for at in order[_MOST_ALTERED_AGAIN:]}
    strongest = max(effects, key=lambda at: effects[at])
    boxes = {at: parts[at].box for at in effects}
    base, by_first = float(scores[0][0]), float(scores[0][0] - scores[0][1 + strongest])
    members = group_parts(parts[strongest].members, most=_MOST_MEMBERS)
    is_divided = len(members) > 1 and boxes[strongest].area > _LARGE_AREA and by_first > 0
    if is_divided:
        found = base - judge.score([build_item(shuffle_part(image, member.box, COARSE_ORDER)) for member in members])
        best = int(found.argmax())
        if found[best] >= _KEPT_SHARE * by_first:
            boxes[strongest] = members[best].box
    return Explanation(
        method="occlusion",
        measure=judge.measure,
        regions=_weigh([(effect, Region(weight=1.0, box=boxes[at])) for at, effect in effects.items()]),
        score=base,
        judged=len(judges) * (len(shuffled) + len(altered)) + (len(members) if is_divided else 0),
        image=image,
    )


@dataclass(frozen=True, slots=True)
class _Vote:
    """A judge, and what it counts for when a part is shuffled, and when it is covered."""

    judge: Judge
    shuffled: float
    covered: float


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
