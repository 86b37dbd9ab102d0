"""The cosine behind what stores of LangChain call a score, which each means differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from langchain_core.vectorstores import InMemoryVectorStore

__all__ = ["find_cosine"]

_Convert: TypeAlias = "Callable[[float], float]"

_INNER_PRODUCT = 0
"""`METRIC_INNER_PRODUCT` of faiss (https://github.com/facebookresearch/faiss/blob/main/faiss/MetricType.h)."""


def find_cosine(store: Any) -> _Convert | None:
    """Returns what turns a score of `similarity_search_with_score` into the cosine, for vectors of unit length.

    `InMemoryVectorStore`, `Chroma` and FAISS are known, and Qdrant's dense vectors, each with all of its distances, and
    `PGVectorStore` and `Milvus` by cosine; `None` for any other store, whose scores may be anything.
    """
    if isinstance(store, InMemoryVectorStore):
        return _keep
    # By name: none of them need be installed.
    names = {base.__name__ for base in type(store).__mro__}
    found = next((find for name, find in _STORES.items() if name in names), None)
    return None if found is None else found(store)


def _keep(score: float) -> float:
    return score


def _subtract(distance: float) -> float:
    return 1.0 - distance


def _halve(squared: float) -> float:
    return 1.0 - squared / 2.0


def _halve_square(distance: float) -> float:
    return _halve(distance**2)


def _find_of_chroma(store: Any) -> _Convert | None:
    configuration = store._collection.configuration
    indexes = (configuration.get(name) for name in ("hnsw", "spann"))
    space = next((index["space"] for index in indexes if index is not None), None)
    # Chroma's l2 is squared, and its ip is a distance, too.
    return {"cosine": _subtract, "ip": _subtract, "l2": _halve}.get(str(space))


def _find_of_faiss(store: Any) -> _Convert:
    return _keep if store.index.metric_type == _INNER_PRODUCT else _halve


def _find_of_qdrant(store: Any) -> _Convert | None:
    if store.retrieval_mode.value != "dense":
        return None
    return {"Cosine": _keep, "Dot": _keep, "Euclid": _halve_square}.get(str(store.distance.value))


def _find_of_postgres(store: Any) -> _Convert | None:
    # How it turns distances into scores says which distances they are; scores of words would be among them.
    is_cosine = store._select_relevance_score_fn() == store._cosine_relevance_score_fn
    return _subtract if is_cosine and store._PGVectorStore__vs.hybrid_search_config is None else None


def _find_of_milvus(store: Any) -> _Convert | None:
    # A list for several kinds of vectors.
    if not isinstance(store.search_params, dict):
        return None
    return _keep if cast("dict[str, Any]", store.search_params).get("metric_type") == "COSINE" else None


_STORES: Mapping[str, Callable[[Any], _Convert | None]] = {
    "Chroma": _find_of_chroma,
    "FAISS": _find_of_faiss,
    "QdrantVectorStore": _find_of_qdrant,
    "PGVectorStore": _find_of_postgres,
    "Milvus": _find_of_milvus,
}
