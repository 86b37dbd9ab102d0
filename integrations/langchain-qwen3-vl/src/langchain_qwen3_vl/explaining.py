"""Why documents were found, among their metadata."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.documents import Document

from langchain_qwen3_vl.contents import coerce_each, coerce_item
from qwen3_vl_retrieval import Embedder, MediaPolicy, Reranker
from qwen3_vl_retrieval.explanations import describe_explanation, explain_documents

__all__ = ["add_explanations"]


def add_explanations(
    documents: Sequence[Document],
    query: object,
    *,
    embedder: Embedder | None = None,
    reranker: Reranker | None = None,
    instruction: str | None = None,
    media_key: str | None = None,
    media_policy: MediaPolicy | None = None,
) -> list[Document]:
    """Returns copies of documents with `explanation` among their metadata: `Explanation.describe`, or `error`.

    Args:
        documents: What was found.
        query: What for.
        embedder: Gives the cosine that is explained, if there is no reranker.
        reranker: Gives the score that is explained. Without either model only words can be found.
        instruction: What makes a document relevant; `None` is each model's own.
        media_key: Name of a metadatum that holds the image or video of a document.
        media_policy: What may be opened; `None` is any local file.
    """
    explanations = explain_documents(
        coerce_item(query, media_key=media_key, media_policy=media_policy),
        coerce_each(documents, media_key=media_key, media_policy=media_policy, render_pages=False),
        embedder=embedder,
        reranker=reranker,
        instruction=instruction,
        policy=media_policy,
    )
    return [
        document.model_copy(
            update={"metadata": {**document.metadata, "explanation": describe_explanation(explanation)}}
        )
        for document, explanation in zip(documents, explanations, strict=True)
    ]
