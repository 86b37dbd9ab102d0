"""What a vector store says of its vectors: their space, and the cosine behind scores that stores mean differently."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from qwen3_vl_retrieval import Fingerprint
from qwen3_vl_retrieval.chroma import read_stamp

__all__ = ["find_chroma_collection", "find_cosine", "is_chroma_store", "read_fingerprint"]


def find_cosine(store: BasePydanticVectorStore) -> Callable[[float], float] | None:
    """Returns what turns a score of a store into the cosine, for vectors of unit length; `None` if that is not known.

    `ChromaVectorStore` is known with each of its spaces, and `SimpleVectorStore`, which gives the cosine in its default
    mode. What other stores call a score may be anything.
    """
    if isinstance(store, SimpleVectorStore):
        return _keep
    collection = find_chroma_collection(store)
    if collection is None:
        return None
    configuration = collection.configuration
    space = next((index["space"] for name in ("hnsw", "spann") if (index := configuration.get(name)) is not None), None)
    return {"cosine": _from_cosine_distance, "ip": _from_cosine_distance, "l2": _from_squared_distance}.get(str(space))


def find_chroma_collection(store: BasePydanticVectorStore) -> Any:
    """Returns the collection of a `ChromaVectorStore`; `None` for any other store."""
    return store.client if is_chroma_store(store) else None


def is_chroma_store(store: BasePydanticVectorStore) -> bool:
    """Returns whether a store is a `ChromaVectorStore`, told by the name of its class: Chroma need not be installed."""
    return "ChromaVectorStore" in {base.__name__ for base in type(store).__mro__}


def read_fingerprint(store: BasePydanticVectorStore) -> Fingerprint | None:
    """Returns the identity of the vector space that a store of Chroma carries; `None` if it carries none.

    Raises:
        FingerprintMismatchError: if what it carries is damaged.
    """
    collection = find_chroma_collection(store)
    return None if collection is None else read_stamp(collection)


def _keep(score: float) -> float:
    return float(score)


def _from_cosine_distance(score: float) -> float:
    """From `exp(-distance)`, as `ChromaVectorStore` 0.6 scores (`_query` in its base.py); `distance = 1 - cosine`."""
    return 1.0 + math.log(score)


def _from_squared_distance(score: float) -> float:
    """Chroma's l2 is squared, which is `2 - 2 cosine` for vectors of unit length."""
    return 1.0 + math.log(score) / 2.0
