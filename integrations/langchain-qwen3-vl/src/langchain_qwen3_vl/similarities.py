"""The cosine of the first stage, from the scores that vector stores give by the same name and mean differently by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

__all__ = ["find_cosine"]

_INNER_PRODUCT = 0
"""`METRIC_INNER_PRODUCT` of faiss (https://github.com/facebookresearch/faiss/blob/main/faiss/MetricType.h)."""


def find_cosine(store: VectorStore) -> Callable[[float], float] | None:
    """Returns what turns a score of `similarity_search_with_score` into the cosine, for vectors of unit length.

    `InMemoryVectorStore`, `Chroma` and FAISS are known, and Qdrant's dense vectors, each with all of its distances;
    `None` for any other store, whose scores may be anything.
    """
    if isinstance(store, InMemoryVectorStore):
        return _keep
    # By name: none of them need be installed.
    names = {base.__name__ for base in type(store).__mro__}
    if "Chroma" in names:
        return _find_for_chroma(store)
    if "FAISS" in names:
        return _find_for_faiss(store)
    return _find_for_qdrant(store) if "QdrantVectorStore" in names else None


def _find_for_chroma(store: Any) -> Callable[[float], float] | None:
    configuration = store._collection.configuration
    space = next((index["space"] for name in ("hnsw", "spann") if (index := configuration.get(name)) is not None), None)
    # Chroma's l2 is squared, and its ip is a distance, too.
    return {"cosine": _subtract, "ip": _subtract, "l2": _halve}.get(str(space))


def _find_for_faiss(store: Any) -> Callable[[float], float]:
    return _keep if store.index.metric_type == _INNER_PRODUCT else _halve


def _find_for_qdrant(store: Any) -> Callable[[float], float] | None:
    if store.retrieval_mode.value != "dense":
        return None
    return {"Cosine": _keep, "Dot": _keep, "Euclid": _halve_square}.get(str(store.distance.value))


def _keep(score: float) -> float:
    return float(score)


def _subtract(distance: float) -> float:
    return 1.0 - float(distance)


def _halve(squared: float) -> float:
    return 1.0 - float(squared) / 2.0


def _halve_square(distance: float) -> float:
    return _halve(float(distance) ** 2)
