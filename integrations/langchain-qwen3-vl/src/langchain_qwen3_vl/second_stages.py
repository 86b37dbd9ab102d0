"""The second of two stages: a reranker that returns all that it judged, and the choice among them."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor

from langchain_qwen3_vl.models import RerankerOptions

__all__ = ["choose_documents", "prepare_judge"]

_LIMITS = ("top_n", "top_k")
"""How rerankers call the number of documents that they return."""


def prepare_judge(reranker: BaseDocumentCompressor, count: int) -> BaseDocumentCompressor:
    """Returns the reranker, returning all of `count` documents: how many are wanted is the retriever's to say.

    Raises:
        ModelError: Its model cannot be found or loaded.
    """
    if isinstance(reranker, RerankerOptions):
        # Loaded here, and so held by the field: a copy is let go of after the call.
        _ = reranker.reranker
    limits = [name for name in _LIMITS if name in type(reranker).model_fields]
    return reranker.model_copy(update=dict.fromkeys(limits, count)) if limits else reranker


def choose_documents(
    found: Sequence[Document], k: int, *, score_threshold: float | None, key: str, giver: object
) -> list[Document]:
    """Returns the first `k` of the documents whose score is high enough.

    Args:
        found: In their order.
        k: Documents at most.
        score_threshold: Lowest score; `None` is any.
        key: Of the score, among the metadata.
        giver: Who should have given it.

    Raises:
        ValueError: There is a threshold, and no score.
    """
    if score_threshold is None:
        return list(found[:k])
    if any(key not in document.metadata for document in found):
        raise ValueError(f"score_threshold={score_threshold}, and {type(giver).__name__} gives no {key}; leave it out")
    return [document for document in found if document.metadata[key] >= score_threshold][:k]
