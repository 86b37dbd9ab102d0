"""Documents embedded for an index: read apart from computing where the embedder can, and no bad item harms others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy.typing as npt

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.protocols import Embedder

__all__ = ["Prepared", "compute_vectors", "find_embedder_policy", "prepare_documents"]

Prepared: TypeAlias = "Sequence[Any]"
"""What `prepare_documents` hands to `compute_vectors`: one entry per item."""


@runtime_checkable
class _PreparingEmbedder(Protocol):
    """An embedder whose reading can be done apart from its forward passes, as `Qwen3VLEmbedder`'s can."""

    def prepare(self, inputs: Sequence[Item], *, on_error: Any) -> Sequence[Any]: ...

    def embed_prepared(self, prepared: Sequence[Any], *, on_error: Any) -> Sequence[npt.NDArray[Any] | InputError]: ...


@runtime_checkable
class _LimitedEmbedder(Protocol):
    """An embedder that opens media under a policy of its own, as `Qwen3VLEmbedder` does."""

    media_policy: MediaPolicy


def find_embedder_policy(embedder: Embedder) -> MediaPolicy | None:
    """Returns the limits under which an embedder opens media, if it has any that are known."""
    return embedder.media_policy if isinstance(embedder, _LimitedEmbedder) else None


def prepare_documents(embedder: Embedder, items: Sequence[Item]) -> Prepared:
    """Returns the items read and tokenised, or as they are if the embedder does that together with embedding."""
    if isinstance(embedder, _PreparingEmbedder):
        return embedder.prepare(items, on_error="return")
    return items


def compute_vectors(embedder: Embedder, prepared: Prepared) -> list[npt.NDArray[Any] | InputError]:
    """Returns the vector of each document, or why it has none."""
    if not prepared:
        return []
    if isinstance(embedder, _PreparingEmbedder):
        return list(embedder.embed_prepared(prepared, on_error="return"))
    try:
        return list(embedder.embed_documents(prepared))
    except InputError:
        return [_embed_alone(embedder, item) for item in prepared]


def _embed_alone(embedder: Embedder, item: Item) -> npt.NDArray[Any] | InputError:
    try:
        return embedder.embed_documents([item])[0]
    except InputError as error:
        return error.at(None)
