"""The models of this package inside a `MultimodalIndex`, which passes them its own options with each call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.rerank import Qwen3VLRerank
from qwen3_vl_retrieval import Embedder, Reranker

__all__ = ["find_index_embedder", "find_index_reranker"]

_EMBEDDER_OPTIONS = ("dimensions", "query_instruction", "document_instruction", "media_key")
_RERANKER_OPTIONS = ("score_threshold", "instruction", "media_key", "on_error")
"""What the index has arguments of its own for, or no use."""


def find_index_embedder(embedder: str | Path | Embedder | Qwen3VLEmbeddings) -> Embedder:
    """Returns the core's embedder that is meant.

    Raises:
        ModelError: It cannot be found or loaded.
        ValueError: It has options that an index would not use.
    """
    if isinstance(embedder, (str, Path)):
        embedder = Qwen3VLEmbeddings(model=embedder)
    if not isinstance(embedder, Qwen3VLEmbeddings):
        return embedder
    _check_plain(embedder, _EMBEDDER_OPTIONS)
    return embedder.embedder


def find_index_reranker(reranker: str | Path | Reranker | Qwen3VLRerank | None) -> Reranker | None:
    """Returns the core's reranker that is meant; `None` if there is none. Errors as in `find_index_embedder`."""
    if isinstance(reranker, (str, Path)):
        reranker = Qwen3VLRerank(model=reranker)
    if not isinstance(reranker, Qwen3VLRerank):
        return reranker
    _check_plain(reranker, _RERANKER_OPTIONS)
    return reranker.reranker


def _check_plain(wrapper: Qwen3VLEmbeddings | Qwen3VLRerank, options: Sequence[str]) -> None:
    given = [name for name in options if name in wrapper.model_fields_set]
    if given:
        raise ValueError(
            f"{given[0]} of {type(wrapper).__name__} has no effect in an index; give a ready core object that has it, "
            "or search_kwargs={'instruction': …} and score_threshold to the retriever"
        )
