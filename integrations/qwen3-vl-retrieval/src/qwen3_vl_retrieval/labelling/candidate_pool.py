"""What may answer a question: the best of both stages together, so that neither is judged by what it finds itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from qwen3_vl_retrieval.bounded_cache import BoundedCache
from qwen3_vl_retrieval.evaluation.questions import Question
from qwen3_vl_retrieval.forks import ForkSafeLock
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.index.results.hits import Hit
from qwen3_vl_retrieval.index.search import Candidate, SearchOptions, build_hits, find_hits, judge_hits

__all__ = ["CandidatePool"]

_MOST_QUESTIONS = 256
"""Questions whose candidates are remembered: they hold places, and no pixels."""


class CandidatePool:
    """Finds what a person judges for a question; threads that ask wait for one another.

    Args:
        index: Where; without a reranker there is one stage.
        depth: Candidates of each stage, the best ones.
        fetch_k: Candidates of the first stage that the second one judges.
        instruction: What makes a document relevant; `None` is the models' own.
    """

    def __init__(
        self, index: MultimodalIndex, *, depth: int = 10, fetch_k: int = 30, instruction: str | None = None
    ) -> None:
        self._index = index
        self._depth = depth
        self._options = SearchOptions(
            k=depth,
            fetch_k=fetch_k,
            where=None,
            media_types=None,
            threshold=None,
            instruction=instruction,
            oversample=4,
            match_words=True,
        )
        self._turn = ForkSafeLock()
        self._found: BoundedCache[tuple[str, Path | None], list[Hit]] = BoundedCache(_MOST_QUESTIONS)

    def find(self, question: Question, *, judged_rows: Sequence[int] = ()) -> list[Hit]:
        """Returns the candidates of a question, in an order that says nothing about their scores.

        Args:
            question: What is asked.
            judged_rows: Rows of units that have been judged: they are among the candidates, whoever finds them.

        Raises:
            InputError: The question cannot be read, embedded or judged.
            StoreError: The index is corrupt.
        """
        key = (question.text, question.image)
        with self._turn:
            found = self._found.find(key)
            if found is None:
                found = self._search(question)
                self._found.keep(key, found)
            known = self._index.store.catalog.find_rows([hit.id for hit in found]).values()
            missing = [row for row in judged_rows if row not in known]
            added = self._judge(question, missing) if missing else []
        # An id is a hash: the order is by chance, and the same at the next visit.
        return sorted([*found, *added], key=lambda hit: hit.id)

    def _search(self, question: Question) -> list[Hit]:
        index, options = self._index, self._options
        vector = index.embedder.embed([question.item], input_type="query", instruction=options.instruction)[0]
        limit = self._depth if index.reranker is None else options.fetch_k
        first = find_hits(index.store, question.item, vector, options, limit=limit, policy=index.media_policy)
        if index.reranker is None:
            return first
        reranked, _ = judge_hits(index.reranker, question.item, first, options.instruction)
        best = {hit.id for hit in (*first[: self._depth], *reranked[: self._depth])}
        return [hit for hit in reranked if hit.id in best]

    def _judge(self, question: Question, rows: Sequence[int]) -> list[Hit]:
        """Units as hits, with the scores of both stages; without that of the second if it cannot judge them."""
        index, instruction = self._index, self._options.instruction
        vector = index.embedder.embed([question.item], input_type="query", instruction=instruction)[0]
        scores = index.store.score_rows(rows, np.asarray(vector, dtype=np.float32))
        candidates = [Candidate(row=row, similarity=score, keyword_rank=None) for row, score in scores.items()]
        hits = build_hits(index.store, candidates, policy=index.media_policy)
        if index.reranker is None:
            return hits
        judged, _ = judge_hits(index.reranker, question.item, hits, instruction)
        relevances = {hit.id: hit.relevance_score for hit in judged}
        return [replace(hit, relevance_score=relevances.get(hit.id)) for hit in hits]
