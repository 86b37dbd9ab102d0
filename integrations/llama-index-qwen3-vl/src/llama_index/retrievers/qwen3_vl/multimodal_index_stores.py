"""A `MultimodalIndex` where LlamaIndex expects a vector store: it can be asked, and written to by its own methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from llama_index.retrievers.qwen3_vl.filters import build_where
from llama_index.retrievers.qwen3_vl.found_nodes import convert_hit
from qwen3_vl_retrieval import InputError, StoreError
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import MultimodalIndex

__all__ = ["MultimodalIndexStore"]


class MultimodalIndexStore(BasePydanticVectorStore):
    """A read-only view of an index that the command line or `MultimodalIndex.add` writes.

    It embeds queries itself: it is asked by texts. `Qwen3VLRetriever` also asks it by pictures and clips.

    Args:
        multimodal_index: An open one.
    """

    stores_text: bool = True
    is_embedding_query: bool = False

    _multimodal_index: MultimodalIndex = PrivateAttr()

    def __init__(self, multimodal_index: MultimodalIndex) -> None:
        super().__init__(stores_text=True, is_embedding_query=False)
        self._multimodal_index = multimodal_index

    @classmethod
    def class_name(cls) -> str:
        """Returns the name of the class."""
        return "MultimodalIndexStore"

    @property
    def client(self) -> MultimodalIndex:
        """The index."""
        return self._multimodal_index

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Returns what the index finds for the text of a query, in both of its stages.

        Raises:
            InputError: There is no text, or a filter is not one of the index.
        """
        if not query.query_str or not query.query_str.strip():
            raise InputError("the query has no text; ask by pictures and clips through Qwen3VLRetriever")
        results = self._multimodal_index.search(
            query.query_str, k=query.similarity_top_k, where=build_where(query.filters), **kwargs
        )
        scores = [hit.similarity_score if hit.relevance_score is None else hit.relevance_score for hit in results]
        return VectorStoreQueryResult(
            nodes=[convert_hit(hit) for hit in results], similarities=scores, ids=[hit.id for hit in results]
        )

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Raises `StoreError`: the view is read-only."""
        del nodes, kwargs
        self._refuse("add files with MultimodalIndex.add or `qwen3vl index`")

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Raises `StoreError`: the view is read-only."""
        del delete_kwargs
        self._refuse(f"remove the file with MultimodalIndex.delete({{'source': {quote(ref_doc_id)}}})")

    def delete_nodes(self, node_ids: list[str] | None = None, filters: Any = None, **delete_kwargs: Any) -> None:
        """Raises `StoreError`: the view is read-only."""
        del node_ids, filters, delete_kwargs
        self._refuse("remove units with MultimodalIndex.delete({'id': …})")

    def _refuse(self, way: str) -> NoReturn:
        raise StoreError(f"an index of the command line is read-only here; {way}")
