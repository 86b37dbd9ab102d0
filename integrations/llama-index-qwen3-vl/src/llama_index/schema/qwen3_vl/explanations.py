"""Why nodes were found, among their metadata."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index.schema.qwen3_vl.nodes import add_hidden_metadata, build_each_item
from llama_index.schema.qwen3_vl.queries import MultiModalQueryBundle, build_query_item
from qwen3_vl_retrieval import Embedder, MediaPolicy, Reranker
from qwen3_vl_retrieval.explanations import describe_explanation, explain_documents

__all__ = ["add_explanations"]


def add_explanations(
    nodes: Sequence[NodeWithScore],
    query: QueryBundle,
    *,
    embedder: Embedder | None = None,
    reranker: Reranker | None = None,
    instruction: str | None = None,
    media_policy: MediaPolicy | None = None,
) -> list[NodeWithScore]:
    """Returns copies of nodes with `explanation` among their metadata: `Explanation.describe`, or `error`.

    It is shown to no model.

    Args:
        nodes: What was found.
        query: What for.
        embedder: Gives the cosine that is explained, if there is no reranker.
        reranker: Gives the score that is explained. Without either model only words can be found.
        instruction: What makes a node relevant; that of the query goes before, and `None` is each model's own.
        media_policy: What may be opened; `None` is any local file.
    """
    own = query.instruction if isinstance(query, MultiModalQueryBundle) else None
    explanations = explain_documents(
        build_query_item(query, media_policy=media_policy),
        build_each_item(nodes, media_policy=media_policy),
        embedder=embedder,
        reranker=reranker,
        instruction=instruction if own is None else own,
        policy=media_policy,
    )
    return [
        one.model_copy(
            update={"node": add_hidden_metadata(one.node, {"explanation": describe_explanation(explanation)})}
        )
        for one, explanation in zip(nodes, explanations, strict=True)
    ]
