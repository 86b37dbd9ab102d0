"""Vectors that are kept between runs, in any key-value store of LlamaIndex.

LlamaIndex keeps them by the text alone, so that a query is given the vector of a document of the same words, and one
model that of another. Here the key is everything that a vector depends on, and images have one, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, cast

from llama_index.core.storage.kvstore.types import BaseKVStore

from llama_index.schema.qwen3_vl.contents import hash_item
from llama_index.schema.qwen3_vl.sources import Item
from qwen3_vl_retrieval import Fingerprint, MediaPolicy

__all__ = ["COLLECTION", "VectorCache"]

COLLECTION = "qwen3_vl_embeddings"
"""Apart from the collection of LlamaIndex, whose keys are texts."""

_FIELD = "embedding"


class VectorCache:
    """The vectors of one model, one number of dimensions and one instruction.

    Args:
        store: Where they are.
        role: `"query"` or `"document"`.
        fingerprint: Identity of the vectors.
        media_policy: What may be opened to hash it.
    """

    def __init__(
        self, store: BaseKVStore, *, role: str, fingerprint: Fingerprint, media_policy: MediaPolicy | None
    ) -> None:
        self._store = store
        self._space = json.dumps([role, fingerprint.to_dict()], sort_keys=True)
        self._media_policy = media_policy

    def list_keys(self, items: Sequence[Item]) -> list[str | None]:
        """Returns the key of each item, in hexadecimal; `None` of one that cannot be kept, see `hash_item`."""
        return [self._find_key(item) for item in items]

    def read(self, keys: Sequence[str | None]) -> list[list[float] | None]:
        """Returns the vector that is kept for each key; `None` where there is none."""
        return [
            None if key is None else _unpack(cast("Any", self._store.get(key, collection=COLLECTION))) for key in keys
        ]

    async def aread(self, keys: Sequence[str | None]) -> list[list[float] | None]:
        """Returns the same as `read`."""
        return [
            None if key is None else _unpack(cast("Any", await self._store.aget(key, collection=COLLECTION)))
            for key in keys
        ]

    def write(self, keys: Sequence[str | None], vectors: Sequence[list[float]]) -> None:
        """Keeps the vector of each key."""
        for key, vector in zip(keys, vectors, strict=True):
            if key is not None:
                self._store.put(key, {_FIELD: vector}, collection=COLLECTION)

    async def awrite(self, keys: Sequence[str | None], vectors: Sequence[list[float]]) -> None:
        """Does the same as `write`."""
        for key, vector in zip(keys, vectors, strict=True):
            if key is not None:
                await self._store.aput(key, {_FIELD: vector}, collection=COLLECTION)

    def _find_key(self, item: Item) -> str | None:
        content = hash_item(item, self._media_policy)
        return None if content is None else hashlib.sha256(f"{self._space} {content}".encode()).hexdigest()


def _unpack(found: Any) -> list[float] | None:
    return None if found is None else found[_FIELD]
