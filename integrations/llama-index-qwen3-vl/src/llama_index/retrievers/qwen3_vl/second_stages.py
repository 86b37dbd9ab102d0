"""The second of two stages: a reranker orders what was found, whatever number it would keep by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle

from llama_index.retrievers.qwen3_vl.found_nodes import FoundNode

__all__ = ["ajudge_nodes", "judge_nodes", "label_scores"]


def judge_nodes(
    reranker: BaseNodePostprocessor, found: Sequence[NodeWithScore], bundle: QueryBundle, count: int
) -> list[NodeWithScore]:
    """Returns the `count` best nodes at most, best first, with the scores of the reranker."""
    return _prepare(reranker, count).postprocess_nodes(list(found), query_bundle=bundle)[:count]


async def ajudge_nodes(
    reranker: BaseNodePostprocessor, found: Sequence[NodeWithScore], bundle: QueryBundle, count: int
) -> list[NodeWithScore]:
    """Returns the same as `judge_nodes`."""
    return (await _prepare(reranker, count).apostprocess_nodes(list(found), query_bundle=bundle))[:count]


def label_scores(
    chosen: Sequence[NodeWithScore], found: Sequence[NodeWithScore], *, is_judged: bool, keep_scores: bool
) -> list[FoundNode]:
    """Returns nodes with the scores of both stages in their metadata, where they are wanted, for no model to see.

    Args:
        chosen: Nodes in their final order.
        found: Those of the first stage, with its scores.
        is_judged: Whether the scores of `chosen` are a reranker's.
        keep_scores: Whether the metadata are changed at all.
    """
    cosines = {one.node.node_id: one.score for one in found}
    labelled: list[FoundNode] = []
    for one in chosen:
        node = one.node
        if keep_scores:
            scores = {"similarity_score": cosines.get(node.node_id)}
            if is_judged:
                scores["relevance_score"] = one.score
            node = _add_metadata(node, {name: score for name, score in scores.items() if score is not None})
        labelled.append(FoundNode(node=node, score=one.score))
    return labelled


def _prepare(reranker: BaseNodePostprocessor, count: int) -> BaseNodePostprocessor:
    # A copy: how many nodes it keeps elsewhere is for its owner to say.
    return reranker.model_copy(update={"top_n": count}) if "top_n" in type(reranker).model_fields else reranker


def _add_metadata(node: BaseNode, metadata: dict[str, Any]) -> BaseNode:
    changed = node.model_copy()
    changed.metadata = {**node.metadata, **metadata}
    for name in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys"):
        hidden: list[str] = getattr(node, name)
        setattr(changed, name, [*hidden, *(key for key in metadata if key not in hidden)])
    return changed
