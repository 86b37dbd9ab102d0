"""The parts of an image that can be covered one by one: words, figures and frames on a page, tiles of a photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from qwen3_vl_retrieval.explanations.boxes import Box

__all__ = ["ImagePart", "find_parts", "group_parts"]

_SIDE_PIXELS = 192
"""Longer side of the image in which parts are looked for: letters of a word touch, lines of a paragraph do not."""

_LEAST_STEP = 20
"""Difference of two neighbouring pixels, of 255, that is an edge."""

_NOISE_FACTOR = 5
"""Steps below so many times the median step are the noise of a scanner or a camera."""

_LEAST_NEIGHBOURS = 4
"""Edges among the nine pixels around an edge; fewer are specks."""

_FRAME_SHARE = 0.25
"""Area of a frame, as a share of the image, from which on what is inside is looked at and not the frame."""

_FRAME_DENSITY = 0.15
"""Edges per pixel of a large component up to which it is a frame; a texture has more."""

_TILE_SHARE = 0.2
"""Area from which on a part with nothing to tell apart in it is cut in two."""

_JOINED_PIXELS = 2
"""Gap in a row up to which edges are connected: between letters of a word."""

_MOST_COMPONENTS = 240
"""Components that are kept, largest first: grouping takes time with their square."""


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A part of an image, with the smaller ones that it is made of.

    Attributes:
        box: Where it is, in shares of width and height.
        members: What it is made of; empty if there is nothing to tell apart.
    """

    box: Box
    members: tuple[ImagePart, ...] = ()


def find_parts(image: Image.Image) -> list[ImagePart]:
    """Returns the parts of an image in no particular order; empty if it is blank.

    Connected edges are a part. A frame holds what is inside as its members, and a large part that cannot be told apart
    is cut into tiles, so that photos have parts, too.
    """
    edges = _find_edges(image)
    height, width = edges.shape
    parts = _nest_components(_label_components(edges), area=width * height)
    return [_scale_part(part, 1 / width, 1 / height) for part in parts]


def group_parts(parts: Sequence[ImagePart], *, most: int) -> list[ImagePart]:
    """Returns at most `most` parts: those that waste the least area together are joined, the nearest first."""
    groups = list(parts)
    if len(groups) <= most:
        return groups
    boxes = np.array([(part.box.left, part.box.top, part.box.right, part.box.bottom) for part in groups])
    costs = _compute_costs(boxes, boxes)
    np.fill_diagonal(costs, np.inf)
    alive = len(groups)
    while alive > most:
        first, second = np.unravel_index(int(costs.argmin()), costs.shape)
        joined = groups[first].box.join(groups[second].box)
        groups[first] = ImagePart(joined, (*_list_members(groups[first]), *_list_members(groups[second])))
        boxes[first] = (joined.left, joined.top, joined.right, joined.bottom)
        costs[second], costs[:, second] = np.inf, np.inf
        fresh = _compute_costs(boxes[first][None], boxes)[0]
        fresh[np.isinf(costs[first])] = np.inf
        costs[first], costs[:, first] = fresh, fresh
        boxes[second] = np.nan
        alive -= 1
    return [group for group, box in zip(groups, boxes, strict=True) if not np.isnan(box[0])]


def _list_members(part: ImagePart) -> tuple[ImagePart, ...]:
    return part.members if part.members else (part,)


def _scale_part(part: ImagePart, x: float, y: float) -> ImagePart:
    return ImagePart(part.box.scale(x, y), tuple(_scale_part(member, x, y) for member in part.members))


def _compute_costs(first: Float[np.ndarray, "n 4"], second: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """The area that each pair wastes when it is joined: of the rectangle around both, what belongs to neither."""

    def measure(boxes: Float[np.ndarray, "*shape 4"]) -> Float[np.ndarray, "*shape"]:
        return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])

    low = np.minimum(first[:, None, :2], second[None, :, :2])
    high = np.maximum(first[:, None, 2:], second[None, :, 2:])
    joined = measure(np.concatenate([low, high], axis=-1))
    return joined - measure(first)[:, None] - measure(second)[None]


def _find_edges(image: Image.Image) -> Bool[np.ndarray, "height width"]:
    """Where neighbouring pixels of the image, made small, differ by more than its noise."""
    factor = max(1, -(-max(image.size) // _SIDE_PIXELS))
    levels = np.asarray(image.convert("RGB").reduce(factor)).astype(np.int16)
    steps = [np.abs(np.diff(levels, axis=axis)).max(axis=2, initial=0) for axis in (0, 1)]
    every = np.concatenate([step.ravel() for step in steps])
    least = max(_LEAST_STEP, _NOISE_FACTOR * float(np.median(every)) if every.size else 0)
    edges = np.zeros(levels.shape[:2], dtype=bool)
    edges[1:] |= steps[0] > least
    edges[:-1] |= steps[0] > least
    edges[:, 1:] |= steps[1] > least
    edges[:, :-1] |= steps[1] > least
    height, width = levels.shape[:2]
    padded = np.pad(edges, 1).astype(np.int8)
    neighbours = sum(padded[y : y + height, x : x + width] for y in range(3) for x in range(3))
    return edges & (neighbours >= _LEAST_NEIGHBOURS)


@dataclass(frozen=True, slots=True)
class _Component:
    """Connected edges: the rectangle around them, and the share of its pixels that are edges."""

    box: Box
    density: float


def _label_components(edges: Bool[np.ndarray, "height width"]) -> list[_Component]:
    """Connected edges, corners included, largest rectangle first; runs of each row are joined with those above."""
    parents: list[int] = []
    runs: list[tuple[int, int, int]] = []
    above: list[int] = []
    for row, line in enumerate(edges):
        bounds = _list_runs(line)
        current: list[int] = []
        place = 0
        for start, end in bounds:
            own = len(parents)
            parents.append(own)
            runs.append((row, start, end))
            current.append(own)
            while place < len(above) and runs[above[place]][2] < start:
                place += 1
            for other in above[place:]:
                if runs[other][1] > end:
                    break
                parents[_find_root(parents, other)] = _find_root(parents, own)
        above = current
    return _measure_components(parents, runs)


def _list_runs(line: Bool[np.ndarray, " width"]) -> list[tuple[int, int]]:
    """First and last (exclusive) of the edges that are next to each other, or nearly so."""
    bounds = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]))).reshape(-1, 2)
    if len(bounds) < 2:
        return [(int(start), int(end)) for start, end in bounds]
    is_apart = bounds[1:, 0] - bounds[:-1, 1] > _JOINED_PIXELS
    starts = bounds[np.concatenate([[True], is_apart]), 0]
    ends = bounds[np.concatenate([is_apart, [True]]), 1]
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _find_root(parents: list[int], place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


def _measure_components(parents: list[int], runs: Sequence[tuple[int, int, int]]) -> list[_Component]:
    boxes: dict[int, Box] = {}
    pixels: dict[int, int] = {}
    for place, (row, start, end) in enumerate(runs):
        root = _find_root(parents, place)
        box = Box(start, row, end, row + 1)
        boxes[root] = box.join(boxes[root]) if root in boxes else box
        pixels[root] = pixels.get(root, 0) + end - start
    found = [_Component(box, pixels[root] / box.area) for root, box in boxes.items()]
    return sorted(found, key=lambda one: -one.box.area)[:_MOST_COMPONENTS]


def _nest_components(components: Sequence[_Component], *, area: float) -> list[ImagePart]:
    """Components as parts: what is inside another is a member of it, unless that is a large frame, which is no part."""
    inside: dict[int, list[ImagePart]] = {}
    outer: list[int] = []
    for place, component in enumerate(components):
        if (
            component.box.area > _FRAME_SHARE * area
            and component.density < _FRAME_DENSITY
            and _holds_any(components, place)
        ):
            continue
        around = next((other for other in outer if components[other].box.holds(component.box)), None)
        if around is None:
            outer.append(place)
        else:
            inside.setdefault(around, []).append(ImagePart(component.box))
    return [_cut_tiles(ImagePart(components[place].box, tuple(inside.get(place, ()))), area) for place in outer]


def _holds_any(components: Sequence[_Component], place: int) -> bool:
    box = components[place].box
    return any(box.holds(other.box) for other in components[place + 1 :])


def _cut_tiles(part: ImagePart, area: float) -> ImagePart:
    """The part with tiles as its members if it is large and textured: a photo that fills the image, say."""
    if part.members or part.box.area <= _TILE_SHARE * area:
        return part
    tiles = [part.box]
    while tiles[0].area > _TILE_SHARE * area:
        tiles = [half for tile in tiles for half in _halve(tile)]
    return ImagePart(part.box, tuple(map(ImagePart, tiles)))


def _halve(box: Box) -> tuple[Box, Box]:
    """Both halves of a rectangle, cut across its longer side."""
    if box.right - box.left >= box.bottom - box.top:
        middle = (box.left + box.right) / 2
        return replace(box, right=middle), replace(box, left=middle)
    middle = (box.top + box.bottom) / 2
    return replace(box, bottom=middle), replace(box, top=middle)
