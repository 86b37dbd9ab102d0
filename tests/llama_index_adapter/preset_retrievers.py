"""A retriever that finds what a test tells it to."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle

__all__ = ["PresetRetriever"]


class PresetRetriever(BaseRetriever):
    """Finds the nodes in their order, and keeps what it was asked."""

    def __init__(self, nodes: Sequence[BaseNode]) -> None:
        super().__init__()
        self.nodes = list(nodes)
        self.queries: list[QueryBundle] = []

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.queries.append(query_bundle)
        return [NodeWithScore(node=node, score=1 / (rank + 1)) for rank, node in enumerate(self.nodes)]
