"""Chroma in a folder that other processes use, too, as a store of LlamaIndex. Importing this imports chromadb."""

from __future__ import annotations

from typing import Any

from chromadb import Collection
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import MetadataFilters
from llama_index.vector_stores.chroma import ChromaVectorStore

from qwen3_vl_retrieval import StoreError
from qwen3_vl_retrieval.chroma import SharedCollection
from qwen3_vl_retrieval.errors import quote

__all__ = ["SharedChromaStore"]


class SharedChromaStore(ChromaVectorStore):
    """A `ChromaVectorStore` with one writer at a time, whose queries find what other processes have written.

    Args:
        shared: The collection, with its folder.
    """

    _shared: SharedCollection = PrivateAttr()

    def __init__(self, shared: SharedCollection) -> None:
        # Not its collection of now: that is opened afresh when others have written.
        super().__init__(chroma_collection=shared)
        self._shared = shared

    @property
    def shared_collection(self) -> SharedCollection:
        """The collection, to hold it for writing."""
        return self._shared

    @property
    def _collection(self) -> Collection:  # pyright: ignore[reportIncompatibleVariableOverride] - an attribute there
        collection = self._shared.refresh()
        if collection is None:
            raise StoreError(f"the collection {quote(self._shared.name)} was deleted")
        return collection

    def add(self, nodes: list[BaseNode], **add_kwargs: Any) -> list[str]:
        """Adds nodes as `ChromaVectorStore` does.

        Raises:
            StoreError: if somebody else is writing.
        """
        with self._shared.write_batch():
            return super().add(nodes, **add_kwargs)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Deletes the nodes of a document; errors are those of `add`."""
        with self._shared.write_batch():
            super().delete(ref_doc_id, **delete_kwargs)

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: list[MetadataFilters] | None = None,
    ) -> None:
        """Deletes nodes; errors are those of `add`."""
        with self._shared.write_batch():
            super().delete_nodes(node_ids, filters)

    def clear(self) -> None:
        """Deletes all nodes; errors are those of `add`."""
        with self._shared.write_batch():
            super().clear()
