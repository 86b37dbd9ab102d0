"""The port: what a model looks like to everybody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.items import Item

__all__ = ["Embedder", "Ranked", "Reranker"]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document's place in a ranking.

    Attributes:
        index: Position of the document in the list that was ranked.
        score: Probability that the document answers the query, in [0, 1].
        margin: Log-odds of the same judgement: `score == 1 / (1 + exp(-margin))`.
    """

    index: int
    score: float
    margin: float


@runtime_checkable
class Embedder(Protocol):
    """What the framework adapters need of an embedder."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vector space."""
        ...

    def embed_queries(self, inputs: Sequence[Item]) -> npt.NDArray[Any]:
        """Returns one vector per query, `(n, dimensions)`, in input order."""
        ...

    def embed_documents(self, inputs: Sequence[Item]) -> npt.NDArray[Any]:
        """Returns one vector per document, `(n, dimensions)`, in input order."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """What the framework adapters need of a reranker."""

    def score(self, query: Item, documents: Sequence[Item]) -> npt.NDArray[Any]:
        """Returns one probability in [0, 1] per document, `(n,)`, in input order."""
        ...

    def rank(self, query: Item, documents: Sequence[Item], *, top_n: int | None = None) -> list[Ranked]:
        """Returns the documents' places, best first."""
        ...
