"""Vector stores of this index: opened with the cosine, bound to one vector space, written so that ids stay unique."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from llama_index.core.schema import BaseNode
from llama_index.core.storage.storage_context import StorageContext
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index.retrievers.qwen3_vl.vector_stores import find_chroma_collection, is_chroma_store, read_fingerprint
from qwen3_vl_retrieval import Fingerprint, FingerprintMismatchError, StoreError
from qwen3_vl_retrieval.chroma import (
    STAMP,
    ChromaDirectory,
    SharedCollection,
    is_chroma_folder,
    parse_stamp,
    write_stamp,
)
from qwen3_vl_retrieval.errors import quote

__all__ = [
    "areplace_nodes",
    "bind_store",
    "build_summary",
    "hold_store",
    "is_flat",
    "list_document_ids",
    "list_stored_ids",
    "open_chroma_store",
    "open_storage",
    "replace_nodes",
    "require_writer",
    "split_rows",
]

T = TypeVar("T")


@runtime_checkable
class _FlatStore(Protocol):
    """The field of LlamaIndex's stores that `BasePydanticVectorStore` does not declare."""

    flat_metadata: bool


_ROWS_AT_ONCE = 5_000
"""Chroma takes 5,461 rows at once (`get_max_batch_size` of chromadb 1.5.9), and its SQLite 32,766 values."""


def open_chroma_store(
    persist_dir: str | Path, collection_name: str, *, must_exist: bool = False, lock_timeout_seconds: float = 10.0
) -> BasePydanticVectorStore:
    """Returns the store of a collection of Chroma in a folder, made with the cosine if there is none.

    Args:
        persist_dir: The folder.
        collection_name: Name of the collection.
        must_exist: Whether nothing is made.
        lock_timeout_seconds: How long a writer waits for another process that writes into the folder.

    Raises:
        ImportError: if Chroma is not installed.
        StoreError: if the collection is to exist, and does not.
    """
    try:
        import chromadb.errors

        from llama_index.indices.qwen3_vl.chroma_stores import SharedChromaStore
    except ImportError as error:
        raise ImportError(
            "persist_dir keeps vectors in Chroma, which is not installed: pip install 'llama-index-qwen3-vl[chroma]'"
        ) from error
    directory = ChromaDirectory(persist_dir, lock_timeout_seconds=lock_timeout_seconds)
    if must_exist and not is_chroma_folder(directory.folder):
        raise StoreError(
            f"there is no store in {quote(directory.folder)}; make one with from_files, from_nodes or from_documents"
        )
    try:
        return SharedChromaStore(SharedCollection(directory, collection_name, must_exist=must_exist))
    except chromadb.errors.NotFoundError as error:
        raise StoreError(
            f"{quote(directory.folder)} has no collection {quote(collection_name)}; it has "
            f"{directory.list_collections()}"
        ) from error


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


def is_flat(store: BasePydanticVectorStore) -> bool:
    """Returns whether a store says that it keeps scalars alone, as many stores of LlamaIndex do."""
    return isinstance(store, _FlatStore) and store.flat_metadata


def hold_store(store: BasePydanticVectorStore) -> AbstractContextManager[None]:
    """Holds a store for writing, if it is one that several processes share.

    Raises:
        StoreError: if somebody else goes on writing.
    """
    shared = _find_shared(store)
    return nullcontext() if shared is None else shared.write()


def require_writer(store: BasePydanticVectorStore) -> None:
    """Checks that nobody else is writing to a store, before anything is embedded.

    Raises:
        StoreError: if somebody else goes on writing.
    """
    with hold_store(store):
        pass


def bind_store(store: BasePydanticVectorStore, fingerprint: Fingerprint, summary: str | None) -> None:
    """Checks that vectors of `fingerprint` may be written to the store; an empty one is bound to it.

    Args:
        store: The store.
        fingerprint: Identity of the vectors of the embedding.
        summary: What `build_summary` wrote into the index around the store, if it was loaded.

    Raises:
        FingerprintMismatchError: if the store holds vectors of another space, or of one that is not known.
    """
    collection, shared = find_chroma_collection(store), _find_shared(store)
    stamp = read_fingerprint(store)
    stored = _read_summary(summary) if stamp is None else stamp
    if stored is not None:
        fingerprint.require_match(stored)
    elif rows := _count_rows(store, collection):
        raise FingerprintMismatchError(
            f"the store holds {rows:,} vectors of an unknown space: it was not written by UnifiedMultiModalIndex. "
            "Search it by Qwen3VLRetriever over VectorStoreIndex.from_vector_store(…), or index the nodes again into a "
            "new collection"
        )
    elif collection is not None and shared is None:
        write_stamp(collection, fingerprint)
    if shared is not None and (stamp is not None or stored is None):
        shared.bind(fingerprint)


def build_summary(fingerprint: Fingerprint) -> str:
    """Returns what the index writes about its vectors, for stores that have no room for it."""
    return json.dumps({STAMP: fingerprint.to_dict()}, sort_keys=True)


def split_rows(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yields ids or nodes in groups that every store takes at once."""
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        yield rows[first : first + _ROWS_AT_ONCE]


def list_stored_ids(store: BasePydanticVectorStore, ids: Sequence[str]) -> set[str]:
    """Returns those of `ids` that the store has; none of a store that cannot be asked."""
    if isinstance(store, SimpleVectorStore):
        return {row for row in ids if row in store.data.embedding_dict}
    collection = find_chroma_collection(store)
    if collection is None:
        return set()
    return {row for some in split_rows(ids) for row in collection.get(ids=list(some), include=[])["ids"]}


def list_document_ids(store: BasePydanticVectorStore, ref_doc_id: str) -> list[str]:
    """Returns the ids of the nodes of a document; none of a store that cannot be asked."""
    if isinstance(store, SimpleVectorStore):
        return [row for row, source in store.data.text_id_to_ref_doc_id.items() if source == ref_doc_id]
    collection = find_chroma_collection(store)
    return [] if collection is None else list(collection.get(where={"document_id": ref_doc_id}, include=[])["ids"])


def replace_nodes(store: BasePydanticVectorStore, nodes: Sequence[BaseNode], **options: Any) -> list[str]:
    """Writes nodes in place of those of the same ids: Chroma by itself leaves what is there, and says nothing."""
    ids = [node.node_id for node in nodes]
    with hold_store(store) if nodes else nullcontext():
        is_chroma = find_chroma_collection(store) is not None
        if is_chroma:
            ids = sorted(list_stored_ids(store, ids))
        can_delete = type(store).delete_nodes is not BasePydanticVectorStore.delete_nodes
        if can_delete and not isinstance(store, SimpleVectorStore):
            for some in split_rows(ids):
                store.delete_nodes(list(some))
        groups = split_rows(nodes) if is_chroma else [nodes]
        return [row for some in groups for row in store.add(list(some), **options)]


async def areplace_nodes(store: BasePydanticVectorStore, nodes: Sequence[BaseNode], **options: Any) -> list[str]:
    """Does the same as `replace_nodes`, by the store's own asynchronous methods, or in a thread if it has none."""
    if type(store).async_add is BasePydanticVectorStore.async_add:
        return await asyncio.to_thread(replace_nodes, store, nodes, **options)
    if type(store).adelete_nodes is not BasePydanticVectorStore.adelete_nodes:
        for some in split_rows([node.node_id for node in nodes]):
            await store.adelete_nodes(list(some))
    return await store.async_add(list(nodes), **options)


def _find_shared(store: BasePydanticVectorStore) -> SharedCollection | None:
    if not is_chroma_store(store):
        return None
    # Imports chromadb, which is there: a store of it has been made.
    from llama_index.indices.qwen3_vl.chroma_stores import SharedChromaStore

    return store.shared_collection if isinstance(store, SharedChromaStore) else None


def _read_summary(summary: str | None) -> Fingerprint | None:
    if summary is None:
        return None
    try:
        told: Any = json.loads(summary)
    except json.JSONDecodeError:
        # Of the user's own.
        return None
    stamp: Any = cast("dict[str, Any]", told).get(STAMP) if isinstance(told, dict) else None
    return None if stamp is None else parse_stamp(json.dumps(stamp))


def _count_rows(store: BasePydanticVectorStore, collection: Any) -> int:
    if isinstance(store, SimpleVectorStore):
        return len(store.data.embedding_dict)
    return 0 if collection is None else int(collection.count())
