"""A query's way: embedded, its candidates found, opened, judged, and ordered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

from qwen3_vl_retrieval.documents.kept_media import decode_item, describe_text
from qwen3_vl_retrieval.documents.units import MediaType
from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.index.results.failures import FailedFile
from qwen3_vl_retrieval.index.results.hits import Hit
from qwen3_vl_retrieval.index.results.search_results import SearchResults
from qwen3_vl_retrieval.index.search.candidates import Candidate, CandidateQuery, find_candidates
from qwen3_vl_retrieval.index.store.records import StoredUnit
from qwen3_vl_retrieval.index.store.store import Store
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.judging import judge_documents
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.protocols import Embedder, Reranker

__all__ = ["SearchOptions", "search_in_stages"]

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
    threshold: float | None
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
        ValueError: The filter is malformed.
        StoreError: The store is torn.
    """
    seconds: dict[str, float] = {}
    begun = perf_counter()
    vector = embedder.embed_queries([query], instruction=options.instruction)[0]
    seconds["embedding"] = perf_counter() - begun
    begun = perf_counter()
    candidates = find_candidates(
        store,
        CandidateQuery(
            vector=vector,
            words=describe_text(query) if options.match_words else "",
            limit=options.k if reranker is None else options.fetch_k,
            oversample=options.oversample,
            where=options.filter,
        ),
    )
    units = store.catalog.load_units([candidate.row for candidate in candidates])
    # A unit that was removed in this moment is no hit.
    hits = [_build_hit(one, units[one.row], store, policy) for one in candidates if one.row in units]
    seconds["finding"] = perf_counter() - begun
    begun = perf_counter()
    failures: list[FailedFile] = []
    if reranker is not None:
        hits, failures = _rerank(reranker, query, hits, options.instruction)
        seconds["reranking"] = perf_counter() - begun
    kept = [hit for hit in hits if options.threshold is None or _score(hit) >= options.threshold][: options.k]
    return SearchResults(
        hits=[replace(hit, rank=rank) for rank, hit in enumerate(kept, start=1)],
        query=query,
        is_reranked=reranker is not None,
        failures=failures,
        seconds=seconds,
    )


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


def _rerank(
    reranker: Reranker, query: Item, hits: Sequence[Hit], instruction: str | None
) -> tuple[list[Hit], list[FailedFile]]:
    """The hits by relevance; those that can no longer be opened are failures."""
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


def _score(hit: Hit) -> float:
    return hit.similarity_score if hit.relevance_score is None else hit.relevance_score
