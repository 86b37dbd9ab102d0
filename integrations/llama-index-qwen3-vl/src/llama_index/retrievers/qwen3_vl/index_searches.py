"""Queries of LlamaIndex, asked of an index of the command line by its own search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.schema import QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
from llama_index.embeddings.qwen3_vl.queries import build_query_item
from llama_index.retrievers.qwen3_vl.filters import build_where
from llama_index.retrievers.qwen3_vl.found_nodes import FoundNode, MediaKind, convert_hit
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.index import MultimodalIndex

__all__ = ["IndexSearch", "search_index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSearch:
    """What is asked.

    Attributes:
        bundle: The query.
        count: Nodes at most.
        fetch_k: Candidates that the index's own reranker judges.
        filters: What the nodes must meet.
        media_types: Which kinds of units to find; `None` is all.
        options: Further arguments of `MultimodalIndex.search`.
        keep_scores: As in `convert_hit`.
    """

    bundle: QueryBundle
    count: int
    fetch_k: int
    filters: MetadataFilters | None = None
    media_types: Sequence[MediaKind] | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    keep_scores: bool = False


def search_index(index: MultimodalIndex, search: IndexSearch) -> list[FoundNode]:
    """Returns what the index finds as nodes, in its order; scores are probabilities if it has a reranker, else cosines.

    Raises:
        InputError: The query is empty or cannot be read, or a filter is not one of the index.
    """
    bundle = search.bundle
    if bundle.custom_embedding_strs:
        raise InputError(
            "custom_embedding_strs, as of HyDE, are embedded in place of the text, and an index of the command line "
            "embeds and judges the query itself; give the text as query_str",
            role="query",
        )
    options = dict(search.options)
    if isinstance(bundle, MultiModalQueryBundle) and bundle.instruction is not None:
        options["instruction"] = bundle.instruction
    results = index.search(
        build_query_item(bundle),
        k=search.count,
        fetch_k=search.fetch_k,
        where=build_where(search.filters),
        media_types=search.media_types,
        **options,
    )
    return [
        FoundNode(
            node=convert_hit(hit, keep_scores=search.keep_scores),
            score=hit.similarity_score if hit.relevance_score is None else hit.relevance_score,
        )
        for hit in results
    ]
