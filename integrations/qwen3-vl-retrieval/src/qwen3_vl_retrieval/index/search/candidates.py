"""The first stage of a search: the units that are nearest by vector, and those that hold the words, in one order.

Short vectors are recalled from the collection and rescored with the full ones. Where a filter leaves few units, or the
collection of this process has not seen some yet, the full vectors are compared exactly instead: a search never finds
less than there is because of how it is done. So they are where the store lies in a folder that cannot be written, which
Chroma does not open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.index.store.filters import SqlFilter, compile_filter
from qwen3_vl_retrieval.index.store.keywords import fuse_ranks
from qwen3_vl_retrieval.index.store.store import Store

__all__ = ["Candidate", "CandidateQuery", "find_candidates"]

_EXACT_ROWS = 10_000
"""Units that are compared one by one, so that all of them are found: a graph that is searched with a filter that few
rows meet finds too few (https://github.com/chroma-core/chroma/issues/4089)."""

_FILTER_MARGIN = 2.0
"""What passes a filter is not spread evenly among the nearest."""

_MOST_ASKED = 20_000
"""Rows that the collection is asked for at most; beyond that, the units that pass are compared one by one."""

_UNSEEN_ROWS = 4096
"""Units that another process added and that are compared one by one until the collection is opened afresh."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandidateQuery:
    """What is looked for in the first stage.

    Attributes:
        vector: Of the query, in full length.
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
        row: Of the unit.
        similarity: Cosine with the query.
        keyword_rank: Place among the units that hold its words, from 1; `None` if it is none of them.
    """

    row: int
    similarity: float
    keyword_rank: int | None


def find_candidates(store: Store, query: CandidateQuery) -> list[Candidate]:
    """Returns the best units, best first: by cosine, joined by reciprocal rank with the order of the keyword index.

    Raises:
        ValueError: `where` is malformed.
        StoreError: The store is torn.
    """
    condition = None if query.where is None else compile_filter(query.where)
    rows = _recall(store, query, condition)
    similarities = store.score_rows(rows, query.vector)
    nearest = sorted(similarities, key=lambda row: (-similarities[row], row))[: query.limit]
    worded = store.catalog.find_words(query.words, limit=query.limit, condition=condition) if query.words else []
    similarities |= store.score_rows([row for row in worded if row not in similarities], query.vector)
    # What was removed since it was found is no candidate.
    worded = [row for row in worded if row in similarities]
    # Of two units with the same sum the one with the words comes first.
    ordered = [row for row, _ in fuse_ranks([worded, nearest])] if worded else nearest
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
