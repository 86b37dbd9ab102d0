"""A query's way: embedded, its candidates found, opened, judged, and ordered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import numpy as np
from jaxtyping import Float

from qwen3_vl_retrieval.documents.kept_media import decode_item
from qwen3_vl_retrieval.documents.units import MediaType
from qwen3_vl_retrieval.errors import InputError, StoreError, quote
from qwen3_vl_retrieval.explanations.search_context import SearchContext
from qwen3_vl_retrieval.index.results.hits import FailedFile, Hit, SearchResults
from qwen3_vl_retrieval.index.store.catalog import StoredUnit
from qwen3_vl_retrieval.index.store.filters import SqlFilter, compile_filter
from qwen3_vl_retrieval.index.store.keywords import fuse_ranks, insert_hints
from qwen3_vl_retrieval.index.store.store import Store
from qwen3_vl_retrieval.index.thresholds import find_threshold
from qwen3_vl_retrieval.items import Item, describe_text
from qwen3_vl_retrieval.judging import judge_documents
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.protocols import Embedder, Reranker

__all__ = [
    "Candidate",
    "CandidateQuery",
    "SearchOptions",
    "build_hits",
    "find_candidates",
    "find_hits",
    "judge_hits",
    "search_in_stages",
]

_EXACT_ROWS = 10_000
"""Units that are compared one by one, so that all of them are found: a graph that is searched with a filter that few
rows meet finds too few (https://github.com/chroma-core/chroma/issues/4089)."""

_FILTER_MARGIN = 2.0
"""What passes a filter is not spread evenly among the nearest."""

_MOST_ASKED = 20_000
"""Rows that the collection is asked for at most; beyond that, the units that pass are compared one by one."""

_UNSEEN_ROWS = 4096
"""Units that another process added and that are compared one by one until the collection is opened afresh."""

_JUDGED_AT_ONCE = 32
"""Candidates whose pixels are held at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How a search is done; see `MultimodalIndex.search`, whose arguments these are.

    Raises:
        ValueError: One of them is out of range.
    """

    k: int
    fetch_k: int
    where: Mapping[str, Any] | None
    media_types: Sequence[MediaType] | None
    threshold: float | str | None
    instruction: str | None
    oversample: int
    match_words: bool

    def __post_init__(self) -> None:
        """Checks them together."""
        if not 1 <= self.k <= self.fetch_k:
            raise ValueError(f"k={self.k} must be at least 1, and fetch_k={self.fetch_k} at least k")
        if self.oversample < 1:
            raise ValueError(f"oversample={self.oversample} must be at least 1")
        kinds, allowed = self.media_types, get_args(MediaType)
        if kinds is not None and (isinstance(kinds, str) or not kinds or any(kind not in allowed for kind in kinds)):
            raise ValueError(f"media_types={quote(kinds)} must be a list of one or more of {', '.join(allowed)}")

    @property
    def filter(self) -> Mapping[str, Any] | None:
        """`where` and `media_types` as one."""
        if self.media_types is None:
            return self.where
        kinds = {"media_type": {"$in": list(self.media_types)}}
        return kinds if self.where is None else {"$and": [self.where, kinds]}


def search_in_stages(
    store: Store,
    query: Item,
    options: SearchOptions,
    *,
    embedder: Embedder,
    reranker: Reranker | None,
    policy: MediaPolicy,
) -> SearchResults:
    """Returns the best hits, best first; without a reranker in the order of the first stage.

    Raises:
        InputError: The query cannot be read, embedded or judged.
        ValueError: The filter is malformed, or the threshold is not understood or was not measured.
        StoreError: The store is corrupt, or no thresholds were measured for these models.
    """
    # What cannot be applied is said before anything is computed.
    lowest = _find_lowest(store, options, reranker)
    seconds: dict[str, float] = {}
    begun = perf_counter()
    vector = embedder.embed([query], input_type="query", instruction=options.instruction)[0]
    seconds["embedding"] = perf_counter() - begun
    begun = perf_counter()
    limit = options.k if reranker is None else options.fetch_k
    hits = find_hits(store, query, vector, options, limit=limit, policy=policy)
    seconds["finding"] = perf_counter() - begun
    begun = perf_counter()
    failures: list[FailedFile] = []
    if reranker is not None:
        hits, failures = judge_hits(reranker, query, hits, options.instruction)
        seconds["reranking"] = perf_counter() - begun
    kept = [hit for hit in hits if lowest is None or _score(hit) >= lowest][: options.k]
    context = SearchContext(query=query, instruction=options.instruction, embedder=embedder, reranker=reranker)
    return SearchResults(
        hits=[replace(hit, rank=rank, context=context) for rank, hit in enumerate(kept, start=1)],
        query=query,
        is_reranked=reranker is not None,
        failures=failures,
        seconds=seconds,
    )


def find_hits(
    store: Store,
    query: Item,
    vector: Float[np.ndarray, " dimensions"],
    options: SearchOptions,
    *,
    limit: int,
    policy: MediaPolicy,
) -> list[Hit]:
    """Returns what the first stage finds, best first.

    Args:
        store: Where.
        query: Its words are looked for in the keyword index.
        vector: The query, embedded.
        options: How; those of the second stage have no effect.
        limit: Hits at most.
        policy: What may be opened of them.

    Raises:
        ValueError: The filter is malformed.
        StoreError: The store is corrupt.
    """
    candidates = find_candidates(
        store,
        CandidateQuery(
            vector=vector,
            words=describe_text(query) if options.match_words else "",
            limit=limit,
            oversample=options.oversample,
            where=options.filter,
        ),
    )
    return build_hits(store, candidates, policy=policy)


def build_hits(store: Store, candidates: Sequence[Candidate], *, policy: MediaPolicy) -> list[Hit]:
    """Returns candidates as hits; a unit that was removed in this moment is none."""
    units = store.catalog.load_units([candidate.row for candidate in candidates])
    return [_build_hit(one, units[one.row], store, policy) for one in candidates if one.row in units]


def _build_hit(candidate: Candidate, unit: StoredUnit, store: Store, policy: MediaPolicy) -> Hit:
    record = unit.record
    stored = None if record.content is None else decode_item(record.content, store.layout.media)
    found, metadata = unit.find_unit()
    return Hit(
        rank=1,
        id=record.id,
        unit=found,
        sources=unit.sources,
        similarity_score=candidate.similarity,
        relevance_score=None,
        keyword_rank=candidate.keyword_rank,
        metadata=metadata,
        stored_item=stored,
        policy=policy,
    )


def judge_hits(
    reranker: Reranker, query: Item, hits: Sequence[Hit], instruction: str | None
) -> tuple[list[Hit], list[FailedFile]]:
    """Returns the hits by relevance, best first; those that can no longer be opened are failures.

    Raises:
        InputError: The query cannot be judged.
    """
    judged: list[tuple[float, Hit]] = []
    failures: list[FailedFile] = []
    for group in _load_groups(hits, failures):
        answers = judge_documents(reranker, query, [item for _, item in group], instruction=instruction)
        for (hit, _), answer in zip(group, answers, strict=True):
            if isinstance(answer, InputError):
                failures.append(_describe_failure(hit, answer))
            else:
                # By log-odds: probabilities near 1 are equal in float32 where these still differ.
                judged.append((answer.margin, replace(hit, relevance_score=answer.score)))
    return [hit for _, hit in sorted(judged, key=lambda one: -one[0])], failures


def _load_groups(hits: Sequence[Hit], failures: list[FailedFile]) -> Iterator[list[tuple[Hit, Item]]]:
    for first in range(0, len(hits), _JUDGED_AT_ONCE):
        group: list[tuple[Hit, Item]] = []
        for hit in hits[first : first + _JUDGED_AT_ONCE]:
            try:
                group.append((hit, hit.item(render_pages=False)))
            except InputError as error:
                failures.append(_describe_failure(hit, error))
        yield group


def _describe_failure(hit: Hit, error: InputError) -> FailedFile:
    if not hit.unit.is_in_file:
        return FailedFile(path=Path(f"item {hit.id}"), unit=None, error=error.at(None))
    return FailedFile.of_unit(hit.unit, error)


def _find_lowest(store: Store, options: SearchOptions, reranker: Reranker | None) -> float | None:
    if not isinstance(options.threshold, str):
        return options.threshold
    return find_threshold(
        store.layout.folder,
        options.threshold,
        stage="first" if reranker is None else "reranked",
        reranker=None if reranker is None else reranker.model_id,
        instruction=options.instruction,
        fingerprint=store.head.fingerprint,
    )


def _score(hit: Hit) -> float:
    return hit.similarity_score if hit.relevance_score is None else hit.relevance_score


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandidateQuery:
    """What is looked for in the first stage.

    Attributes:
        vector: The query in full length.
        words: Its text; `""` leaves the keyword index out.
        limit: Units wanted.
        oversample: How many times as many short vectors are recalled as are kept after rescoring.
        where: What the units must meet, in Chroma's language; `None` is nothing.
    """

    vector: Float[np.ndarray, " dimensions"]
    words: str
    limit: int
    oversample: int
    where: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A unit that may be what is looked for.

    Attributes:
        row: Row of the unit.
        similarity: Cosine with the query.
        keyword_rank: Place among the units that hold its words, from 1; `None` if it is none of them.
    """

    row: int
    similarity: float
    keyword_rank: int | None


def find_candidates(store: Store, query: CandidateQuery) -> list[Candidate]:
    """Returns the best units, best first: by cosine, joined with the order of the keyword index as `keywords` says.

    Raises:
        ValueError: `where` is malformed.
        StoreError: The store is corrupt.
    """
    condition = None if query.where is None else compile_filter(query.where)
    rows = _recall(store, query, condition)
    similarities = store.score_rows(rows, query.vector)
    nearest = sorted(similarities, key=lambda row: (-similarities[row], row))[: query.limit]
    matches = store.catalog.find_words(query.words, limit=query.limit, condition=condition)
    similarities |= store.score_rows([row for row in matches.rows if row not in similarities], query.vector)
    # What was removed since it was found is no candidate.
    worded = [row for row in matches.rows if row in similarities]
    # Of two units with the same sum the one with the words comes first.
    ordered = [row for row, _ in fuse_ranks([worded, nearest])] if matches.is_exact else insert_hints(nearest, worded)
    places = {row: place for place, row in enumerate(worded, start=1)}
    return [
        Candidate(row=row, similarity=similarities[row], keyword_rank=places.get(row)) for row in ordered[: query.limit]
    ]


def _recall(store: Store, query: CandidateQuery, condition: SqlFilter | None) -> list[int]:
    """Rows of the units among which the nearest are, as far as the short vectors tell."""
    wanted = query.limit * query.oversample
    total = store.catalog.count_units()
    matching = total if condition is None else store.catalog.count_units(condition)
    if matching == 0:
        return []
    if store.is_read_only or store.collection.is_inherited:
        return store.catalog.list_rows(condition=condition)
    # The collection is not asked to filter: it is asked for so many that enough of them pass the filter here.
    asked = min(total, wanted if condition is None else math.ceil(_FILTER_MARGIN * wanted * total / matching))
    if (matching <= _EXACT_ROWS and condition is not None) or asked > _MOST_ASKED:
        return store.catalog.list_rows(condition=condition)
    for is_last in (False, True):
        rows = _recall_from_collection(store, query, condition, asked, reopen=is_last)
        # What was deleted since is still in the graph of a process that has not heard of it, and takes its place.
        if len(rows) >= min(query.limit, matching):
            return rows
    # A graph can lose sight of some of its rows.
    return store.catalog.list_rows(condition=condition)


def _recall_from_collection(
    store: Store, query: CandidateQuery, condition: SqlFilter | None, asked: int, *, reopen: bool
) -> list[int]:
    snapshot = store.reopen() if reopen else store.refresh()
    unseen: list[int] = []
    if store.catalog.generation != snapshot.generation:
        unseen = store.catalog.list_rows(after=snapshot.last_row, condition=condition, limit=_UNSEEN_ROWS + 1)
        if len(unseen) > _UNSEEN_ROWS:
            store.reopen()
            unseen = []
    try:
        ids = store.collection.find_nearest(store.shorten(query.vector[None])[0], limit=asked)
    except StoreError:
        if reopen:
            raise
        # Files that another process exchanged under an open client.
        return []
    rows = list(store.catalog.find_rows(ids).values())
    if condition is not None:
        rows = store.catalog.keep_rows(rows, condition)
    return list(dict.fromkeys((*rows, *unseen)))
