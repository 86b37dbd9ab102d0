"""What every way to make a `UnifiedMultiModalIndex` can be given, and what is meant by leaving it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.schema import IndexNode, TransformComponent
from llama_index.core.settings import Settings
from llama_index.core.storage.storage_context import StorageContext
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.indices.qwen3_vl.stores import open_chroma_store

__all__ = ["DEFAULT_COLLECTION", "IndexOptions", "NodeOptions", "OpenOptions", "find_default_embedding", "open_storage"]

DEFAULT_COLLECTION = "multimodal"


class NodeOptions(TypedDict, total=False):
    """The options of `UnifiedMultiModalIndex`, which describes them, on nodes; any other fails."""

    media_dir: str | Path | None
    objects: list[IndexNode] | None
    transformations: list[TransformComponent] | None
    callback_manager: CallbackManager | None
    show_progress: bool
    use_async: bool
    insert_batch_size: int


class OpenOptions(NodeOptions, total=False):
    """Those, and the embedding."""

    embed_model: Qwen3VLEmbedding | None


class IndexOptions(OpenOptions, total=False):
    """Those, and where nodes are kept."""

    storage_context: StorageContext | None
    vector_store: BasePydanticVectorStore | None
    persist_dir: str | Path | None
    collection_name: str
    lock_timeout_seconds: float


def find_default_embedding() -> Any:
    """Returns what `Settings` were given, or `None`: asking them would make a model of OpenAI where there is none."""
    return Settings._embed_model  # pyright: ignore[reportPrivateUsage] - LlamaIndex has no other way


def open_storage(
    storage_context: StorageContext | None,
    vector_store: BasePydanticVectorStore | None,
    persist_dir: str | Path | None,
    collection_name: str,
    lock_timeout_seconds: float,
) -> StorageContext:
    """Returns where nodes are kept.

    Args:
        storage_context: One of the caller's.
        vector_store: In place of it.
        persist_dir: In place of both: a folder for Chroma.
        collection_name: Name of the collection of Chroma.
        lock_timeout_seconds: As in `open_chroma_store`.

    Raises:
        ValueError: if more than one is given.
    """
    given = [place for place in (storage_context, vector_store, persist_dir) if place is not None]
    if len(given) > 1:
        raise ValueError("give one of storage_context, vector_store and persist_dir: each says where nodes are kept")
    if storage_context is not None:
        return storage_context
    if persist_dir is not None:
        vector_store = open_chroma_store(persist_dir, collection_name, lock_timeout_seconds=lock_timeout_seconds)
    return StorageContext.from_defaults(vector_store=vector_store)
