"""The score that is explained, of any item: the reranker's log-odds, or the cosine of the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.protocols import Embedder, Reranker

__all__ = ["CosineJudge", "Judge", "MarginJudge"]


class Judge(Protocol):
    """What gives items the score that is explained."""

    @property
    def measure(self) -> Literal["margin", "cosine"]:
        """What the scores are."""
        ...

    def score(self, items: Sequence[Item]) -> npt.NDArray[np.float32]:
        """Returns the score of each item, all from one call of the model.

        Raises:
            InputError: An item cannot be judged.
        """
        ...


class MarginJudge:
    """Scores by a reranker: log-odds, which still differ where probabilities are all but equal."""

    measure: Literal["margin"] = "margin"

    def __init__(self, reranker: Reranker, query: Item, *, instruction: str | None) -> None:
        self._reranker = reranker
        self._query = query
        self._instruction = instruction

    def score(self, items: Sequence[Item]) -> npt.NDArray[np.float32]:
        """Returns the log-odds of each item."""
        margins = self._reranker.score(self._query, items, instruction=self._instruction, output="margin")
        return np.asarray(margins, dtype=np.float32)


class CosineJudge:
    """Scores by an embedder: cosine with the query, whose vector is computed once."""

    measure: Literal["cosine"] = "cosine"

    def __init__(self, embedder: Embedder, query: Item, *, instruction: str | None) -> None:
        self._embedder = embedder
        vectors = embedder.embed([query], input_type="query", instruction=instruction)
        self._vector = _normalize(np.asarray(vectors, dtype=np.float32))[0]

    def score(self, items: Sequence[Item]) -> npt.NDArray[np.float32]:
        """Returns the cosine of each item."""
        return _normalize(np.asarray(self._embedder.embed(items), dtype=np.float32)) @ self._vector


def _normalize(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
