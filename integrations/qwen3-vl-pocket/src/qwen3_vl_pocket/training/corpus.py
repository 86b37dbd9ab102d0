"""The training corpus: families of images and videos, drawn once and kept at the size that the model sees.

A family holds two drawings of the same facts and drawings of near misses, so that one batch can ask for an item, show
another image of it, and set beside it what differs in a single value.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8
from PIL import Image
from tqdm import tqdm

from qwen3_vl_pocket.world.clips import CLIP_FRAME_RATE, CLIP_SECONDS
from qwen3_vl_pocket.world.facts import GROUPS, Facts, Kind, Split, draw_facts, draw_near_misses
from qwen3_vl_pocket.world.pictures import SIZES, draw_frames, draw_picture
from qwen3_vl_retrieval.media.budgets import FrameSampling
from qwen3_vl_retrieval.media.sizing import sample_file_frames

__all__ = ["KIND_WEIGHTS", "Corpus", "Family", "Picture", "draw_corpus"]

KIND_WEIGHTS: dict[Kind, float] = {
    "pair": 1.2,
    "count": 1.0,
    "page": 2.4,
    "chart": 1.6,
    "screenshot": 2.0,
    "motion": 0.7,
    "change": 0.8,
    "recolor": 0.7,
    "product": 0.8,
}
"""How often a kind is drawn: pages and dialogs have the most to learn, videos cost the most."""

_NEAR_MISSES = 3
_WINDOWS = 4
"""A video is shown as the first to fourth part of a longer one, so that all timestamps occur."""

_Drawing: TypeAlias = tuple[npt.NDArray[np.uint8], tuple[float, ...] | None]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A drawn image or video.

    Attributes:
        facts: What it shows.
        pixels: Its frames, one for an image.
        timestamps: Seconds of each pair of frames; `None` for an image.
    """

    facts: Facts
    pixels: UInt8[np.ndarray, "_ _ _ 3"]
    timestamps: tuple[float, ...] | None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of visual tokens."""
        return self.pixels.shape[1] // 32, self.pixels.shape[2] // 32


@dataclass(frozen=True, slots=True)
class Family:
    """Places in `Corpus.pictures`: two drawings of the same facts, and near misses with the slot that differs."""

    same: tuple[int, int]
    near: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """All images, and how they belong together."""

    pictures: tuple[Picture, ...]
    families: tuple[Family, ...]


def draw_corpus(families: int, *, seed: int, split: Split, folder: Path | None = None, processes: int = 2) -> Corpus:
    """Returns the corpus of a seed; drawn once and read from `folder` after that.

    Args:
        families: How many families.
        seed: Equal seeds give equal corpora.
        split: Which combinations of values may occur.
        folder: Where the drawings are kept; `None` keeps them in memory only.
        processes: How many draw at a time.
    """
    plans = [_plan_family(seed, number, split) for number in range(families)]
    jobs = [
        (facts, f"{seed}/{number}/{place}") for number, plan in enumerate(plans) for place, facts in enumerate(plan[0])
    ]
    drawings = _draw_all(jobs, folder, processes)
    pictures = tuple(Picture(facts, *drawing) for (facts, _), drawing in zip(jobs, drawings, strict=True))
    found: list[Family] = []
    first = 0
    for facts, slots in plans:
        near = tuple((slot, first + 2 + place) for place, slot in enumerate(slots))
        found.append(Family((first, first + 1), near))
        first += len(facts)
    return Corpus(pictures, tuple(found))


def _plan_family(seed: int, number: int, split: Split) -> tuple[list[Facts], list[str]]:
    rng = random.Random(f"{seed}/{number}")
    kind = rng.choices(list(KIND_WEIGHTS), weights=list(KIND_WEIGHTS.values()))[0]
    facts = draw_facts(kind, rng, split=split)
    near = draw_near_misses(facts, rng, count=_NEAR_MISSES, split=split)
    return [facts, facts, *(changed for _, changed in near)], [slot for slot, _ in near]


def _draw_all(jobs: Sequence[tuple[Facts, str]], folder: Path | None, processes: int) -> list[_Drawing]:
    described = json.dumps([(facts.kind, facts.values, seed) for facts, seed in jobs])
    digest = hashlib.sha256(described.encode()).hexdigest()[:16]
    file = None if folder is None else folder / f"corpus-{digest}.npz"
    if file is not None and file.exists():
        return _read_drawings(file, len(jobs))
    with ExitStack() as stack:
        drawn: Iterable[_Drawing] = map(_draw, jobs)
        if processes > 1:
            pool = stack.enter_context(ProcessPoolExecutor(processes, mp_context=get_context("spawn")))
            drawn = pool.map(_draw, jobs, chunksize=64)
        drawings = list(tqdm(drawn, total=len(jobs), desc="drawing", unit="picture", mininterval=5))
    if file is not None:
        _write_drawings(file, drawings)
    return drawings


def _draw(job: tuple[Facts, str]) -> _Drawing:
    facts, seed = job
    rng = random.Random(seed)
    if GROUPS[facts.kind] == "clip":
        return _draw_clip(facts, rng)
    image = draw_picture(facts, rng)
    return np.array(image.resize(SIZES[facts.kind]), dtype=np.uint8)[None], None


def _draw_clip(facts: Facts, rng: random.Random) -> _Drawing:
    """The frames that the core samples from one part of a longer video, which may end on the next part's beginning."""
    count = int(CLIP_SECONDS * CLIP_FRAME_RATE)
    window = rng.randrange(_WINDOWS + 1)
    total, start, end = count, None, None
    if window < _WINDOWS:
        total, start, end = _WINDOWS * count, window * CLIP_SECONDS, (window + 1) * CLIP_SECONDS
    sampling = FrameSampling()
    numbers = sample_file_frames(
        total, frame_rate=CLIP_FRAME_RATE, fps=sampling.fps, max_frames=sampling.max_frames, start=start, end=end
    )
    offset = 0 if start is None else window * count
    own = [number - offset for number in numbers]
    frames = draw_frames(facts, rng, indices=[min(number, count - 1) for number in own])
    if own[-1] >= count:
        stranger = draw_facts(facts.kind, rng, split="training")
        frames[-1] = draw_frames(stranger, rng, indices=[0])[0]
    pixels = np.stack([np.asarray(frame.resize(SIZES[facts.kind], Image.Resampling.BICUBIC)) for frame in frames])
    times = [number / CLIP_FRAME_RATE for number in numbers]
    return pixels, tuple((times[place] + times[place + 1]) / 2 for place in range(0, len(times), 2))


def _write_drawings(file: Path, drawings: Iterable[_Drawing]) -> None:
    """Arrays of one shape together: a file for each image would be a hundred thousand files."""
    drawings = list(drawings)
    shapes = sorted({pixels.shape for pixels, _ in drawings})
    stacks = {
        f"pixels{place}": np.stack([pixels for pixels, _ in drawings if pixels.shape == shape])
        for place, shape in enumerate(shapes)
    }
    places = np.array([shapes.index(pixels.shape) for pixels, _ in drawings], dtype=np.int8)
    times = json.dumps([times for _, times in drawings])
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.npz")
    cast("Any", np.savez)(partial, places=places, times=np.array(times), **stacks)
    partial.rename(file)


def _read_drawings(file: Path, count: int) -> list[_Drawing]:
    with np.load(file) as stored:
        places = stored["places"]
        times = json.loads(str(stored["times"]))
        stacks = [iter(stored[f"pixels{place}"]) for place in range(int(places.max()) + 1)]
    if len(places) != count:
        raise ValueError(f"{file} holds {len(places)} drawings instead of {count}; remove it")
    return [
        (next(stacks[place]), None if seconds is None else tuple(seconds))
        for place, seconds in zip(places.tolist(), times, strict=True)
    ]
