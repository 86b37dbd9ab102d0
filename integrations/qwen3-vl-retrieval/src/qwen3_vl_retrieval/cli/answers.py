"""Questions whose answers are known: where each stage ranks the answer, and the recall of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qwen3_vl_retrieval.cli.report import SearchReport
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.index.results.failures import Found

__all__ = ["AnsweredQuestion", "compute_recall", "describe_rank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredQuestion:
    """A search and the truth about it.

    Attributes:
        title: What kind of question it is.
        language: Of its words, as a tag: `"en"`.
        report: What was found, with the candidates of the first stage.
        answer: What should have been found; `None` if it could not be read or embedded.
    """

    title: str
    language: str
    report: SearchReport
    answer: Unit | None

    @property
    def first_rank(self) -> int | None:
        """The place of the answer by its vector, from 1; `None` if it is not among the candidates."""
        return self._find_rank(self.report.candidates)

    @property
    def final_rank(self) -> int | None:
        """The place of the answer after the second stage, from 1; `None` if it is not among the results."""
        return self._find_rank(self.report.results)

    def _find_rank(self, order: Sequence[Found]) -> int | None:
        return next((found.rank for found in order if found.unit == self.answer), None)


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
