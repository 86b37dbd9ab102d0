"""A ranking made from scores: order, threshold, the fallback to text, and what becomes of documents that fail.

Adapters give what they have built of their documents, and say what a document is called; how to judge, and what to do
about one that cannot be read, is said once, here.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.outputs.scoring import Ranked, compute_probabilities, rank_scores
from qwen3_vl_retrieval.protocols import Reranker

__all__ = ["OnUnreadable", "Ranking", "arank_documents", "judge_documents", "rank_documents"]

_LOGGER = logging.getLogger(__name__)

OnUnreadable: TypeAlias = Literal["raise", "text", "drop"]
"""What becomes of a document whose media cannot be read: `"raise"` raises its error, `"text"` judges its text instead
if it has one, `"drop"` leaves it out. What is left out or judged otherwise is logged as a warning."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Documents in the order of how well they answer.

    Attributes:
        ranked: The places, best first; equal scores keep the order of the input.
        failures: The documents that could not be judged by what they show, by position. With `on_error="text"` those
            that have a text are ranked by it, too.
    """

    ranked: list[Ranked]
    failures: dict[int, InputError] = field(default_factory=dict[int, InputError])


def rank_documents(
    reranker: Reranker,
    query: Item,
    documents: Sequence[Item | InputError],
    *,
    on_error: OnUnreadable = "raise",
    texts: Mapping[int, str] | None = None,
    top_n: int | None = None,
    threshold: float | None = None,
    instruction: str | None = None,
    role: str = "document",
) -> Ranking:
    """Returns documents in the order of how well they answer, best first.

    Args:
        reranker: The model that judges.
        query: What is asked.
        documents: Items; an error stands for a document of which none could be built.
        on_error: What becomes of documents that cannot be read.
        texts: The texts of documents by position, for `on_error="text"`.
        top_n: Places to return at most.
        threshold: Lowest probability to return.
        instruction: What makes a document relevant; `None` is the model's own.
        role: What a document is called in messages.

    Raises:
        InputError: The query, or with `on_error="raise"` a document, cannot be judged; the message begins with its
            position.
    """
    judging = _Judging(documents, on_error=on_error, texts=texts, role=role)
    while judging.pending:
        with judging.name_documents():
            if on_error == "raise":
                judging.enter(reranker.score(query, judging.items, instruction=instruction, output="margin"))
            else:
                judging.enter(
                    reranker.score(query, judging.items, instruction=instruction, output="margin", on_error="return")
                )
    return judging.finish(top_n=top_n, threshold=threshold)


async def arank_documents(
    reranker: Reranker,
    query: Item,
    documents: Sequence[Item | InputError],
    *,
    on_error: OnUnreadable = "raise",
    texts: Mapping[int, str] | None = None,
    top_n: int | None = None,
    threshold: float | None = None,
    instruction: str | None = None,
    role: str = "document",
) -> Ranking:
    """Returns the same as `rank_documents`, in forward passes shared with concurrent callers."""
    judging = _Judging(documents, on_error=on_error, texts=texts, role=role)
    while judging.pending:
        with judging.name_documents():
            if on_error == "raise":
                judging.enter(await reranker.ascore(query, judging.items, instruction=instruction, output="margin"))
            else:
                judging.enter(
                    await reranker.ascore(
                        query, judging.items, instruction=instruction, output="margin", on_error="return"
                    )
                )
    return judging.finish(top_n=top_n, threshold=threshold)


def judge_documents(
    reranker: Reranker, query: Item, documents: Sequence[Item], *, instruction: str | None = None
) -> list[Ranked | InputError]:
    """Returns the judgement of each document, or why there is none, in input order.

    Raises:
        InputError: The query cannot be judged.
    """
    outcomes = reranker.score(query, documents, instruction=instruction, output="margin", on_error="return")
    return [
        outcome.at(None) if isinstance(outcome, InputError) else _place(index, outcome)
        for index, outcome in enumerate(outcomes)
    ]


def _place(index: int, margin: float) -> Ranked:
    return Ranked(index, float(compute_probabilities(np.array([margin], dtype=np.float32))[0]), margin)


class _Judging:
    """What is to be judged next, and what came of it: once by what documents show, and once by the texts of some.

    Attributes:
        pending: The items that are to be judged next, by position of their document.
    """

    def __init__(
        self,
        documents: Sequence[Item | InputError],
        *,
        on_error: OnUnreadable,
        texts: Mapping[int, str] | None,
        role: str,
    ) -> None:
        self._texts: Mapping[int, str] = {} if texts is None or on_error != "text" else texts
        self._role = role
        self._margins: dict[int, float] = {}
        self._failures: dict[int, InputError] = {}
        self.pending: dict[int, Item] = {}
        for place, document in enumerate(documents):
            if isinstance(document, InputError):
                if on_error == "raise":
                    raise document.at(place, role=role) from document
                self._failures[place] = document
            else:
                self.pending[place] = document
        if not self.pending:
            self._turn_to_texts()

    @property
    def items(self) -> list[Item]:
        """What is to be judged next."""
        return list(self.pending.values())

    @contextmanager
    def name_documents(self) -> Generator[None]:
        """Gives errors the position and the name of the caller's document."""
        try:
            yield
        except InputError as error:
            if error.role == "query" or error.index is None:
                raise
            raise error.at(list(self.pending)[error.index], role=self._role) from error

    def enter(self, outcomes: Sequence[float | InputError] | npt.NDArray[Any]) -> None:
        """Notes what came of `items`."""
        for place, outcome in zip(self.pending, outcomes, strict=True):
            if isinstance(outcome, InputError):
                self._failures[place] = outcome
            else:
                self._margins[place] = float(outcome)
        self._turn_to_texts()

    def finish(self, *, top_n: int | None, threshold: float | None) -> Ranking:
        """Returns the order."""
        failures = {place: error.at(place, role=self._role) for place, error in sorted(self._failures.items())}
        for place, error in failures.items():
            became = "was judged by its text alone" if place in self._margins else "was left out"
            _LOGGER.warning("a %s %s: %s", self._role, became, error)
        places = sorted(self._margins)
        ranked = rank_scores(
            np.array([self._margins[place] for place in places], dtype=np.float32), top_n=top_n, threshold=threshold
        )
        return Ranking([replace(one, index=places[one.index]) for one in ranked], failures)

    def _turn_to_texts(self) -> None:
        """Goes on to the texts of what failed, once."""
        texts: Mapping[int, str] = self._texts
        self._texts = {}
        self.pending = {place: texts[place] for place in sorted(self._failures) if texts.get(place, "").strip()}
