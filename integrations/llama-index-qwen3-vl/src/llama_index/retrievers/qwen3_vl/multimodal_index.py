"""A `MultimodalIndex`, which `qwen3vl index` writes, where LlamaIndex expects a vector store; opened, and searched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from llama_index.retrievers.qwen3_vl.filters import build_where
from llama_index.retrievers.qwen3_vl.found_nodes import convert_hit
from qwen3_vl_retrieval import InputError, StoreError
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import MultimodalIndex, Store

__all__ = ["MultimodalIndexStore", "is_plain", "open_multimodal_index"]

_EMBEDDING_OPTIONS = ("dimensions", "query_instruction", "text_instruction", "caption_mode")
"""Which an index of the command line has no use for."""

_RERANK_OPTIONS = (
    "instruction",
    "score_threshold",
    "thresholds",
    "keep_retrieval_score",
    "on_error",
    "caption_mode",
    "explain",
)
"""With which a reranker is more than the core's own second stage."""


class MultimodalIndexStore(BasePydanticVectorStore):
    """A read-only view of an index that the command line or `MultimodalIndex.add` writes.

    It embeds queries itself: it is asked by texts. `Qwen3VLRetriever` also asks it by images and videos.

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
            raise InputError("the query has no text; ask by images and videos through Qwen3VLRetriever")
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


def open_multimodal_index(
    folder: str | Path, embed_model: Qwen3VLEmbedding, reranker: BaseNodePostprocessor | None = None
) -> MultimodalIndex:
    """Returns the index in a folder; a `Qwen3VLRerank` without options of its own becomes its second stage.

    Raises:
        FingerprintMismatchError: Another embedder wrote it.
        StoreError: There is none.
        ValueError: The embedding has options that the index would not use.
    """
    path = Path(folder)
    if not Store.is_finished(path):
        raise StoreError(f"there is no index in {quote(path)}; make one with `qwen3vl index` or MultimodalIndex.add")
    given = [name for name in _EMBEDDING_OPTIONS if _is_given(embed_model, name)]
    if given:
        raise ValueError(
            f"{given[0]} of Qwen3VLEmbedding has no effect in an index of the command line; leave it out, or give "
            "MultiModalQueryBundle(instruction=…) with the query"
        )
    core = reranker.reranker if isinstance(reranker, Qwen3VLRerank) and is_plain(reranker) else None
    return MultimodalIndex.open(path, embed_model.embedder, core, media_policy=embed_model.media_policy)


def is_plain(reranker: BaseNodePostprocessor | None) -> bool:
    """Returns whether a reranker is the core's own second stage, without options that an index would not use."""
    return isinstance(reranker, Qwen3VLRerank) and not any(_is_given(reranker, name) for name in _RERANK_OPTIONS)


def _is_given(model: Qwen3VLEmbedding | Qwen3VLRerank, name: str) -> bool:
    """Whether an option has another value than by default; how it was set says little: models are copied."""
    known = type(model).model_fields.get(name)
    return known is not None and getattr(model, name) != known.default
