"""The first of two stages: candidates from a vector store, an index or another retriever, with their cosines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore

from langchain_qwen3_vl.contents import coerce_item
from langchain_qwen3_vl.documents import hit_to_document
from langchain_qwen3_vl.similarities import find_cosine
from langchain_qwen3_vl.traced_queries import trace_child
from qwen3_vl_retrieval.index import MultimodalIndex

__all__ = ["Base", "Recall", "arecall_documents", "recall_documents"]

Base: TypeAlias = "VectorStore | BaseRetriever | MultimodalIndex"
"""Where candidates are found."""

_MMR_POOL = 5
"""Nearest documents per chosen one among which variety is sought: the 20 to 4 of LangChain's defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What is asked of the first stage.

    Attributes:
        query: Anything that the store's embeddings embed.
        count: Candidates at most.
        fetch_k: Of an index, how many its own reranker judges.
        filter: What they must meet, in the language of the store; `None` is nothing.
        search_type: Of a store, whether the nearest are wanted, or such that are also unlike each other.
        score_threshold: Of an index, the lowest score of its own.
        options: Further arguments of the search of the store or index.
    """

    query: Any
    count: int
    fetch_k: int
    filter: Any
    search_type: Literal["similarity", "mmr"]
    score_threshold: float | None
    options: Mapping[str, Any]

    def list_arguments(self) -> dict[str, Any]:
        """Returns the arguments of the store's search by name, without the query."""
        arguments: dict[str, Any] = {"k": self.count, **self.options}
        # Not every store has one.
        if self.filter is not None:
            arguments["filter"] = self.filter
        if self.search_type == "mmr":
            arguments.setdefault("fetch_k", _MMR_POOL * self.count)
        return arguments


def recall_documents(base: Base, recall: Recall, callbacks: BaseCallbackManager) -> list[Document]:
    """Returns candidates, best first, with `similarity_score` in their metadata where `base` gives a cosine.

    Args:
        base: Where they are found.
        recall: What is asked.
        callbacks: For another retriever.
    """
    if isinstance(base, MultimodalIndex):
        return _search_index(base, recall)
    if isinstance(base, BaseRetriever):
        with trace_child(recall.query, callbacks) as config:
            return base.invoke(recall.query, config)[: recall.count]
    arguments = recall.list_arguments()
    if recall.search_type == "mmr":
        return base.max_marginal_relevance_search(recall.query, **arguments)
    cosine = find_cosine(base)
    if cosine is None:
        return base.similarity_search(recall.query, **arguments)
    return [_score(*found, cosine) for found in base.similarity_search_with_score(recall.query, **arguments)]


async def arecall_documents(base: Base, recall: Recall, callbacks: BaseCallbackManager) -> list[Document]:
    """Returns the same as `recall_documents`, by the asynchronous methods of `base`."""
    if isinstance(base, MultimodalIndex):
        return await asyncio.to_thread(_search_index, base, recall)
    if isinstance(base, BaseRetriever):
        with trace_child(recall.query, callbacks) as config:
            return (await base.ainvoke(recall.query, config))[: recall.count]
    arguments = recall.list_arguments()
    if recall.search_type == "mmr":
        return await base.amax_marginal_relevance_search(recall.query, **arguments)
    cosine = find_cosine(base)
    if cosine is None:
        return await base.asimilarity_search(recall.query, **arguments)
    return [_score(*found, cosine) for found in await base.asimilarity_search_with_score(recall.query, **arguments)]


def _search_index(index: MultimodalIndex, recall: Recall) -> list[Document]:
    """The hits of an index's own search, in its order, with the scores of its stages."""
    results = index.search(
        coerce_item(recall.query),
        k=recall.count,
        fetch_k=recall.fetch_k,
        where=recall.filter,
        threshold=recall.score_threshold,
        **recall.options,
    )
    return [hit_to_document(hit) for hit in results]


def _score(document: Document, score: float, cosine: Callable[[float], float]) -> Document:
    """A copy with the cosine: some stores hand out the metadata that they hold."""
    metadata = {**document.metadata, "similarity_score": cosine(score)}
    # Qdrant keeps it there.
    own_id = metadata.get("_id") if document.id is None else document.id
    return document.model_copy(update={"metadata": metadata, "id": None if own_id is None else str(own_id)})
