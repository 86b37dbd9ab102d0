"""The first of two stages: candidates from a vector store, or all that an index of the command line finds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.embeddings.base import similarity
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

from llama_index.retrievers.qwen3_vl.found_nodes import FoundNode, restore_node
from llama_index.retrievers.qwen3_vl.scores import find_cosine
from qwen3_vl_retrieval import MediaPolicy, StoreError
from qwen3_vl_retrieval.errors import quote

__all__ = ["NodeSource", "Recall", "arecall_nodes", "recall_nodes"]

_GROWTH = 4
"""How many times as many rows are asked for when too few of them are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSource:
    """Where nodes are kept.

    Attributes:
        vector_store: Finds them.
        index: Has the nodes of a store that keeps vectors alone; `None` for a store by itself.
        media_policy: What may be opened of pages that are drawn.
        is_cosine: Whether scores are to be cosines; else they are the store's own.
    """

    vector_store: BasePydanticVectorStore
    index: VectorStoreIndex | None
    media_policy: MediaPolicy | None
    is_cosine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What is asked of the first stage.

    Attributes:
        embedding: Of the query.
        query_str: Its text, for stores that also match words.
        count: Nodes at most.
        filters: What they must meet.
        mode: How the store chooses.
        options: Further arguments of the store's query.
        accepts: What they must meet, too, and the store cannot tell; `None` is nothing.
    """

    embedding: Sequence[float]
    query_str: str
    count: int
    filters: MetadataFilters | None = None
    mode: VectorStoreQueryMode = VectorStoreQueryMode.DEFAULT
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    accepts: Callable[[BaseNode], bool] | None = None

    def build_query(self, count: int) -> VectorStoreQuery:
        """Returns the query for a number of rows."""
        return VectorStoreQuery(
            query_embedding=list(self.embedding),
            similarity_top_k=count,
            query_str=self.query_str,
            mode=self.mode,
            filters=self.filters,
        )


def recall_nodes(source: NodeSource, recall: Recall) -> list[FoundNode]:
    """Returns candidates, best first.

    Raises:
        StoreError: The store holds vectors whose nodes are gone.
    """
    count = recall.count
    while True:
        result = source.vector_store.query(recall.build_query(count), **recall.options)
        found = _choose(source, recall, result, count)
        if found is not None:
            return found
        count *= _GROWTH


async def arecall_nodes(source: NodeSource, recall: Recall) -> list[FoundNode]:
    """Returns the same as `recall_nodes`, by the store's own asynchronous query, or in a thread if it has none."""
    if type(source.vector_store).aquery is BasePydanticVectorStore.aquery:
        return await asyncio.to_thread(recall_nodes, source, recall)
    count = recall.count
    while True:
        result = await source.vector_store.aquery(recall.build_query(count), **recall.options)
        found = await asyncio.to_thread(_choose, source, recall, result, count)
        if found is not None:
            return found
        count *= _GROWTH


def _choose(source: NodeSource, recall: Recall, result: VectorStoreQueryResult, count: int) -> list[FoundNode] | None:
    """The nodes that are wanted; `None` if there are too few, and more rows would help."""
    nodes = [restore_node(node, media_policy=source.media_policy) for node in _read_nodes(source, result)]
    scores = _read_scores(source, recall, result, len(nodes))
    found = [
        FoundNode(node=node, score=score)
        for node, score in zip(nodes, scores, strict=True)
        if recall.accepts is None or recall.accepts(node)
    ]
    if len(found) < recall.count and len(nodes) >= count:
        return None
    return found[: recall.count]


def _read_nodes(source: NodeSource, result: VectorStoreQueryResult) -> list[BaseNode]:
    if result.nodes is not None:
        return list(result.nodes)
    if source.index is None or result.ids is None:
        raise StoreError(f"{type(source.vector_store).__name__} returned neither nodes nor the ids of an index's nodes")
    places = source.index.index_struct.nodes_dict
    ids = [places.get(row, row) for row in result.ids]
    kept = {node.node_id: node for node in source.index.docstore.get_nodes(ids, raise_error=False)}
    lost = [node_id for node_id in ids if node_id not in kept]
    if lost:
        raise StoreError(
            f"the vector store has {quote(lost[0])} and {len(lost) - 1} more, and the docstore has no such "
            "nodes; load both from the folder that StorageContext.persist wrote, or index the nodes again"
        )
    return [kept[node_id] for node_id in ids]


def _read_scores(
    source: NodeSource, recall: Recall, result: VectorStoreQueryResult, count: int
) -> Sequence[float | None]:
    given = result.similarities
    if given is None:
        return [None] * count
    store = source.vector_store
    if not source.is_cosine:
        return given
    if isinstance(store, SimpleVectorStore) and recall.mode != VectorStoreQueryMode.DEFAULT and result.ids is not None:
        # What it scores by in its other modes is no cosine.
        return [float(similarity(list(recall.embedding), store.get(row))) for row in result.ids]
    cosine = find_cosine(store)
    return given if cosine is None else [cosine(score) for score in given]
