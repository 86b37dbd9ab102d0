"""Search in two stages over a folder: the nearest units by their vectors, then the best of them by a cross-encoder.

Everything stays in memory, and of the units only their vectors: pixels are held for one group of units at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from qwen3_vl_retrieval.documents.units import Unit, load_item
from qwen3_vl_retrieval.embedder import Qwen3VLEmbedder
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.index.results.failures import FailedFile, Found, OnProgress, SearchOutcome, Stage
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.media import MediaPolicy
from qwen3_vl_retrieval.outputs.ranking import compute_probabilities
from qwen3_vl_retrieval.reranker import Qwen3VLReranker

__all__ = ["Library", "embed_units", "search_library"]

_GROUP_UNITS = 32
"""Units whose pixels are held at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Library:
    """Units with their vectors.

    Attributes:
        units: The units that could be embedded.
        vectors: Their unit vectors, row by row.
        failures: The units that could not be embedded.
    """

    units: tuple[Unit, ...]
    vectors: Float[np.ndarray, "units dimensions"]
    failures: tuple[FailedFile, ...]

    @property
    def ranked_files(self) -> int:
        """Number of files of which at least one unit takes part in a ranking."""
        return len({unit.source for unit in self.units})


def embed_units(
    units: Sequence[Unit],
    embedder: Qwen3VLEmbedder,
    policy: MediaPolicy,
    *,
    dimensions: int | None = None,
    on_progress: OnProgress | None = None,
) -> Library:
    """Returns the units that could be embedded, with their vectors; the others are among the failures.

    Args:
        units: What to embed.
        embedder: Its own policy holds for pictures and clips.
        policy: Holds for pages.
        dimensions: Length of a vector; `None` is the embedder's default.
        on_progress: Told how many units are done.

    Raises:
        ValueError: `dimensions` is out of range.
    """
    embedded: list[Unit] = []
    vectors: list[npt.NDArray[Any]] = []
    failures: list[FailedFile] = []
    for first in range(0, len(units), _GROUP_UNITS):
        _report(on_progress, "embedding", first, len(units))
        items, loaded, unreadable = _load_items(units[first : first + _GROUP_UNITS], policy)
        failures += unreadable
        rows = embedder.embed(items, dimensions=dimensions, on_error="return") if items else []
        for unit, row in zip(loaded, rows, strict=True):
            if isinstance(row, InputError):
                failures.append(_place_failure(unit, row))
            else:
                embedded.append(unit)
                vectors.append(row)
    _report(on_progress, "embedding", len(units), len(units))
    width = embedder.dimensions if dimensions is None else dimensions
    stacked = np.stack(vectors) if vectors else np.zeros((0, width), dtype=np.float32)
    return Library(units=tuple(embedded), vectors=stacked, failures=tuple(failures))


def search_library(
    library: Library,
    query: Item,
    embedder: Qwen3VLEmbedder,
    policy: MediaPolicy,
    *,
    reranker: Qwen3VLReranker | None = None,
    k: int = 10,
    fetch_k: int = 50,
    instruction: str | None = None,
    on_progress: OnProgress | None = None,
) -> SearchOutcome:
    """Returns the `k` best units, best first; ties keep the order of the library.

    Args:
        library: What to search.
        query: What to look for.
        embedder: The one that embedded `library`.
        policy: Holds for pages, which are rendered again where the reranker does not know them.
        reranker: Judges the nearest units; without it their cosines order the results.
        k: Results at most.
        fetch_k: Nearest units that the reranker judges.
        instruction: What makes a unit relevant, for both stages; by default each model's own.
        on_progress: Told how many units are judged.

    Raises:
        InputError: The query cannot be embedded or judged.
        ValueError: `k` is below 1, or `fetch_k` below `k`.
    """
    if not 1 <= k <= fetch_k:
        raise ValueError(f"k={k} must be at least 1, and fetch_k={fetch_k} at least k")
    if not library.units:
        return SearchOutcome(results=(), failures=())
    vector = embedder.embed_queries([query], instruction=instruction, dimensions=library.vectors.shape[1])[0]
    nearest = _find_nearest(library, vector, count=k if reranker is None else fetch_k)
    candidates = tuple(
        Found(rank=rank, unit=unit, similarity_score=similarity, relevance_score=None)
        for rank, (unit, similarity) in enumerate(nearest, start=1)
    )
    if reranker is None:
        return SearchOutcome(results=candidates, failures=(), candidates=candidates)
    judged = _judge(nearest, query, reranker, policy, k=k, instruction=instruction, on_progress=on_progress)
    return replace(judged, candidates=candidates)


def _find_nearest(library: Library, vector: npt.NDArray[Any], *, count: int) -> list[tuple[Unit, float]]:
    """The nearest units with their cosines, nearest first."""
    similarities = library.vectors @ vector
    places = np.argsort(-similarities, kind="stable")[:count]
    return [(library.units[place], float(similarities[place])) for place in places]


def _judge(
    candidates: Sequence[tuple[Unit, float]],
    query: Item,
    reranker: Qwen3VLReranker,
    policy: MediaPolicy,
    *,
    k: int,
    instruction: str | None,
    on_progress: OnProgress | None,
) -> SearchOutcome:
    """The candidates ordered by log-odds: probabilities near 1 are equal in float32 where log-odds still differ."""
    margins: list[tuple[float, Unit, float]] = []
    failures: list[FailedFile] = []
    similarity_of = {id(unit): similarity for unit, similarity in candidates}
    for first in range(0, len(candidates), _GROUP_UNITS):
        _report(on_progress, "reranking", first, len(candidates))
        group = [unit for unit, _ in candidates[first : first + _GROUP_UNITS]]
        items, loaded, unreadable = _load_items(group, policy)
        failures += unreadable
        scores = (
            reranker.score(query, items, instruction=instruction, output="margin", on_error="return") if items else []
        )
        for unit, score in zip(loaded, scores, strict=True):
            if isinstance(score, InputError):
                failures.append(_place_failure(unit, score))
            else:
                margins.append((score, unit, similarity_of[id(unit)]))
    _report(on_progress, "reranking", len(candidates), len(candidates))
    best = sorted(margins, key=lambda judged: -judged[0])[:k]
    probabilities = compute_probabilities(np.array([margin for margin, _, _ in best], dtype=np.float32))
    results = [
        Found(rank=rank, unit=unit, similarity_score=similarity, relevance_score=float(probability))
        for rank, ((_, unit, similarity), probability) in enumerate(zip(best, probabilities, strict=True), start=1)
    ]
    return SearchOutcome(results=tuple(results), failures=tuple(failures))


def _load_items(units: Sequence[Unit], policy: MediaPolicy) -> tuple[list[Item], list[Unit], list[FailedFile]]:
    """The items of the units that could be loaded, those units, and the others. Pages are left for the models."""
    items: list[Item] = []
    loaded: list[Unit] = []
    failures: list[FailedFile] = []
    for unit in units:
        try:
            items.append(load_item(unit, policy, render_pages=False))
            loaded.append(unit)
        except InputError as error:
            failures.append(_place_failure(unit, error))
    return items, loaded, failures


def _place_failure(unit: Unit, error: InputError) -> FailedFile:
    """The failure of one unit; a picture, and a clip of one window, are the whole file."""
    is_whole = unit.media_type == "image" or (unit.media_type == "video" and unit.start is None)
    return FailedFile(path=unit.source, unit=None if is_whole else unit, error=error.at(None))


def _report(on_progress: OnProgress | None, stage: Stage, done: int, total: int) -> None:
    if on_progress is not None:
        on_progress(stage, done, total)
