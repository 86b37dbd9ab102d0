"""Questions whose answers are known: where each stage ranks the answer, and the recall of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.index.results.hits import Hit, SearchResults

__all__ = ["AnsweredQuestion", "compute_recall", "describe_rank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredQuestion:
    """A question asked of a folder by both stages, and the truth about it.

    Attributes:
        title: What kind of question it is.
        language: Language of its words, as a tag: `"en"`.
        query: Its words.
        query_image: The image that belongs to it, if there is one.
        by_vectors: What the first stage found.
        reranked: The same in the order of the second stage.
        answer: What should have been found; `None` if it could not be read or embedded.
    """

    title: str
    language: str
    query: str
    query_image: Path | None
    by_vectors: SearchResults
    reranked: SearchResults
    answer: Unit | None

    @property
    def first_rank(self) -> int | None:
        """The place of the answer by its vector, from 1; `None` if it was not found."""
        return self._find_rank(self.by_vectors)

    @property
    def final_rank(self) -> int | None:
        """The place of the answer after the second stage, from 1; `None` if it is not among the results."""
        return self._find_rank(self.reranked)

    def is_answer(self, hit: Hit) -> bool:
        """Whether a hit is what should have been found."""
        answer, found = self.answer, hit.unit
        return answer is not None and (found.source, found.page, found.start) == (
            answer.source,
            answer.page,
            answer.start,
        )

    def _find_rank(self, order: Iterable[Hit]) -> int | None:
        return next((hit.rank for hit in order if self.is_answer(hit)), None)


def compute_recall(ranks: Sequence[int | None], k: int) -> float:
    """Returns the share of questions whose answer is among the first `k`.

    Raises:
        ValueError: There are no questions.
    """
    if not ranks:
        raise ValueError("no ranks were given: recall needs one question or more")
    return sum(rank is not None and rank <= k for rank in ranks) / len(ranks)


def describe_rank(rank: int | None) -> str:
    """Returns a rank in words: `1st`, `12th`, `not found`."""
    if rank is None:
        return "not found"
    ending = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"
