"""The second of two stages: a reranker that returns all that it judged, and the choice among them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor

from langchain_qwen3_vl.models import NamedReranker

__all__ = ["ajudge_documents", "choose_documents", "judge_documents"]

_LIMITS = ("top_n", "top_k")
"""How rerankers call the number of documents that they return."""


def judge_documents(
    reranker: BaseDocumentCompressor, found: Sequence[Document], query: Any, callbacks: BaseCallbackManager
) -> list[Document]:
    """Returns all candidates, best first, with the reranker's score among their metadata.

    Args:
        reranker: It; how many documents it would return by itself does not matter.
        found: The candidates.
        query: What they are judged against.
        callbacks: For the reranker.

    Raises:
        ModelError: Its model cannot be found or loaded.
    """
    if not found:
        return []
    judge = _prepare_judge(reranker, len(found))
    return list(judge.compress_documents(found, query, callbacks=callbacks))


async def ajudge_documents(
    reranker: BaseDocumentCompressor, found: Sequence[Document], query: Any, callbacks: BaseCallbackManager
) -> list[Document]:
    """Returns the same as `judge_documents`, by the asynchronous method of the reranker."""
    if not found:
        return []
    # In a thread: the first use loads the model.
    judge = await asyncio.to_thread(_prepare_judge, reranker, len(found))
    return list(await judge.acompress_documents(found, query, callbacks=callbacks))


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


def _prepare_judge(reranker: BaseDocumentCompressor, count: int) -> BaseDocumentCompressor:
    """The reranker, returning all of `count` documents: how many are wanted is the retriever's to say."""
    if isinstance(reranker, NamedReranker):
        # Loaded here, and so held by the field: a copy is let go of after the call.
        _ = reranker.reranker
    limits = [name for name in _LIMITS if name in type(reranker).model_fields]
    return reranker.model_copy(update=dict.fromkeys(limits, count)) if limits else reranker
