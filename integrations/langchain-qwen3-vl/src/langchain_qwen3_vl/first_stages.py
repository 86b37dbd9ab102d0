"""The first of two stages: candidates from a vector store, with their cosines where the store gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from langchain_qwen3_vl.contents import coerce_item
from langchain_qwen3_vl.documents import hit_to_document
from langchain_qwen3_vl.similarities import find_cosine
from qwen3_vl_retrieval.index import MultimodalIndex

__all__ = ["Recall", "arecall_documents", "recall_documents", "search_index"]

_MMR_POOL = 5
"""Nearest documents per chosen one among which variety is sought: the 20 to 4 of LangChain's defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What is asked of the first stage.

    Attributes:
        query: Anything that the store's embeddings embed.
        count: Candidates at most.
        filter: What they must meet, in the language of the store; `None` is nothing.
        search_type: Whether the nearest are wanted, or such that are also unlike each other.
        options: Further arguments of the store's search.
    """

    query: Any
    count: int
    filter: Any = None
    search_type: Literal["similarity", "mmr"] = "similarity"
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def list_arguments(self) -> dict[str, Any]:
        """Returns the arguments of the store's search by name, without the query."""
        arguments: dict[str, Any] = {"k": self.count, **self.options}
        # Not every store has one.
        if self.filter is not None:
            arguments["filter"] = self.filter
        if self.search_type == "mmr":
            arguments.setdefault("fetch_k", _MMR_POOL * self.count)
        return arguments


def recall_documents(store: VectorStore, recall: Recall) -> list[Document]:
    """Returns candidates, best first, with `similarity_score` in their metadata where the store gives a cosine."""
    arguments = recall.list_arguments()
    if recall.search_type == "mmr":
        return store.max_marginal_relevance_search(recall.query, **arguments)
    cosine = find_cosine(store)
    if cosine is None:
        return store.similarity_search(recall.query, **arguments)
    return [_score(*found, cosine) for found in store.similarity_search_with_score(recall.query, **arguments)]


async def arecall_documents(store: VectorStore, recall: Recall) -> list[Document]:
    """Returns the same as `recall_documents`, by the store's own asynchronous methods."""
    arguments = recall.list_arguments()
    if recall.search_type == "mmr":
        return await store.amax_marginal_relevance_search(recall.query, **arguments)
    cosine = find_cosine(store)
    if cosine is None:
        return await store.asimilarity_search(recall.query, **arguments)
    return [_score(*found, cosine) for found in await store.asimilarity_search_with_score(recall.query, **arguments)]


def search_index(
    index: MultimodalIndex, recall: Recall, *, fetch_k: int, score_threshold: float | None
) -> list[Document]:
    """Returns the hits of an index's own search as documents, in its order, with the scores of its stages.

    Args:
        index: It.
        recall: What is asked.
        fetch_k: Candidates that the index's reranker judges.
        score_threshold: Lowest score of a hit.
    """
    results = index.search(
        coerce_item(recall.query),
        k=recall.count,
        fetch_k=fetch_k,
        where=recall.filter,
        threshold=score_threshold,
        **recall.options,
    )
    return [hit_to_document(hit) for hit in results]


def _score(document: Document, score: float, cosine: Callable[[float], float]) -> Document:
    """A copy with the cosine: some stores hand out the metadata that they hold."""
    metadata = {**document.metadata, "similarity_score": cosine(score)}
    # Qdrant keeps it there.
    own_id = metadata.get("_id") if document.id is None else document.id
    return document.model_copy(update={"metadata": metadata, "id": None if own_id is None else str(own_id)})
