"""Vector stores of this index: opened with the cosine, bound to one vector space, written so that ids stay unique."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index.retrievers.qwen3_vl.scores import find_chroma_collection
from llama_index.retrievers.qwen3_vl.stamps import STAMP, parse_stamp, read_stamp, write_stamp
from qwen3_vl_retrieval import Fingerprint, FingerprintMismatchError, StoreError

__all__ = [
    "areplace_nodes",
    "bind_store",
    "build_summary",
    "list_document_ids",
    "list_stored_ids",
    "open_chroma_store",
    "replace_nodes",
    "split_rows",
]

T = TypeVar("T")

_ROWS_AT_ONCE = 5_000
"""Chroma takes 5,461 rows at once (`get_max_batch_size` of chromadb 1.5.9), and its SQLite 32,766 values."""

_COSINE = {"hnsw": {"space": "cosine"}}


def open_chroma_store(
    persist_dir: str | Path, collection_name: str, *, must_exist: bool = False
) -> BasePydanticVectorStore:
    """Returns the store of a collection of Chroma in a folder, made with the cosine if there is none.

    Raises:
        ImportError: Chroma is not installed.
        StoreError: The collection is to exist, and does not.
    """
    try:
        import chromadb
        from llama_index.vector_stores.chroma import ChromaVectorStore
    except ImportError as error:
        raise ImportError(
            "persist_dir keeps vectors in Chroma, which is not installed: pip install 'llama-index-qwen3-vl[chroma]'"
        ) from error
    # Chroma shares clients by the spelling of the path, also after the current folder has changed.
    folder = Path(persist_dir).absolute()
    if must_exist and not (folder / "chroma.sqlite3").is_file():
        raise StoreError(
            f"there is no store in {str(folder)!r}; make one with from_files, from_nodes or from_documents"
        )
    client = chromadb.PersistentClient(path=str(folder))
    names = [collection.name for collection in client.list_collections()]
    if must_exist and collection_name not in names:
        raise StoreError(f"{str(folder)!r} has no collection {collection_name!r}; it has {sorted(names)}")
    collection = (
        client.get_collection(collection_name)
        if collection_name in names
        else client.create_collection(collection_name, configuration=_COSINE)  # pyright: ignore[reportArgumentType] - a TypedDict there
    )
    return ChromaVectorStore(chroma_collection=collection)


def bind_store(store: BasePydanticVectorStore, fingerprint: Fingerprint, summary: str | None) -> None:
    """Passes silently if vectors of `fingerprint` may be written to the store; an empty one is bound to it.

    Args:
        store: It.
        fingerprint: Of the embedding.
        summary: What `build_summary` wrote into the index around the store, if it was loaded.

    Raises:
        FingerprintMismatchError: The store holds vectors of another space, or of one that is not known.
    """
    collection = find_chroma_collection(store)
    stored = read_stamp(store)
    if stored is None:
        stored = _read_summary(summary)
    if stored is not None:
        fingerprint.require_match(stored)
        return
    rows = _count_rows(store, collection)
    if rows:
        raise FingerprintMismatchError(
            f"the store holds {rows:,} vectors of an unknown space: it was not written by UnifiedMultiModalIndex. "
            "Search it by Qwen3VLRetriever over VectorStoreIndex.from_vector_store(…), or index the nodes again into a "
            "new collection"
        )
    if collection is not None:
        write_stamp(collection, fingerprint)


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
