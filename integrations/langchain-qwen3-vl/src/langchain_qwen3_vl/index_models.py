"""The models of this package inside a `MultimodalIndex`, which passes them its own options with each call."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.rerank import Qwen3VLRerank
from qwen3_vl_retrieval import Embedder, Reranker

__all__ = ["find_index_embedder", "find_index_reranker"]

_EMBEDDER_OPTIONS = ("dimensions", "query_instruction", "document_instruction", "media_key")
_RERANKER_OPTIONS = ("score_threshold", "instruction", "media_key", "on_error")
"""What the index has arguments of its own for, or no use."""

_Wrapper = TypeVar("_Wrapper", Qwen3VLEmbeddings, Qwen3VLRerank)


def find_index_embedder(embedder: str | Path | Embedder | Qwen3VLEmbeddings) -> Embedder:
    """Returns the core's embedder that is meant.

    Raises:
        ModelError: It cannot be found or loaded.
        ValueError: It has options that an index would not use.
    """
    if isinstance(embedder, (str, Path)):
        return Qwen3VLEmbeddings(model=embedder).embedder
    if isinstance(embedder, Qwen3VLEmbeddings):
        return _require_plain(embedder, _EMBEDDER_OPTIONS).embedder
    return embedder


def find_index_reranker(reranker: str | Path | Reranker | Qwen3VLRerank | None) -> Reranker | None:
    """Returns the core's reranker that is meant; `None` if there is none.

    Raises:
        ModelError: It cannot be found or loaded.
        ValueError: It has options that an index would not use.
    """
    if isinstance(reranker, (str, Path)):
        return Qwen3VLRerank(model=reranker).reranker
    if isinstance(reranker, Qwen3VLRerank):
        return _require_plain(reranker, _RERANKER_OPTIONS).reranker
    return reranker


def _require_plain(wrapper: _Wrapper, options: tuple[str, ...]) -> _Wrapper:
    given = [name for name in options if name in wrapper.model_fields_set]
    if given:
        raise ValueError(
            f"{given[0]} of {type(wrapper).__name__} has no effect in an index; give a ready core object that has it, "
            "or search_kwargs={'instruction': …} and score_threshold to the retriever"
        )
    return wrapper
