"""The search that found a hit: what was asked, and by which models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.explanations.judges import CosineJudge, Judge, MarginJudge
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.protocols import Embedder, Reranker

__all__ = ["SearchContext"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchContext:
    """What explaining a hit needs to know of its search. Pickled, it leaves the models behind.

    Attributes:
        query: What was looked for.
        instruction: What makes a document relevant; `None` is each model's own.
        embedder: The model of the first stage; `None` where it was left behind.
        reranker: The model of the second stage; `None` without one, or where it was left behind.
    """

    query: Item
    instruction: str | None
    embedder: Embedder | None
    reranker: Reranker | None

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_context, (self.query, self.instruction)

    def find_judge(self) -> Judge:
        """Returns what gives the score that is explained: the reranker, or the embedder if there was none.

        Raises:
            InputError: The models were left behind.
        """
        if self.reranker is not None:
            return MarginJudge(self.reranker, self.query, instruction=self.instruction)
        if self.embedder is not None:
            return CosineJudge(self.embedder, self.query, instruction=self.instruction)
        raise InputError(
            "the models of the search are not here: hits that were pickled leave them behind; give "
            "explain(reranker=…) or explain(embedder=…), or search again"
        )

    def find_second_judge(self) -> Judge | None:
        """Returns the embedder's word beside the reranker's; `None` if the first judge is the embedder, or alone."""
        if self.reranker is None or self.embedder is None:
            return None
        return CosineJudge(self.embedder, self.query, instruction=self.instruction)


def _restore_context(query: Item, instruction: str | None) -> SearchContext:
    return SearchContext(query=query, instruction=instruction, embedder=None, reranker=None)
