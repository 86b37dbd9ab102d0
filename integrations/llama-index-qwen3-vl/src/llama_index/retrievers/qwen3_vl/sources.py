"""What a retriever searches: the index, store or folder that it was given, and the models that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from llama_index.retrievers.qwen3_vl.multimodal_index_stores import MultimodalIndexStore
from qwen3_vl_retrieval import StoreError
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import MultimodalIndex, Store

__all__ = ["Searchable", "Source", "find_source", "is_plain", "open_multimodal_index", "require_embedding"]

Searchable: TypeAlias = "VectorStoreIndex | BasePydanticVectorStore | MultimodalIndex | str | Path"
"""An index of LlamaIndex, a vector store that keeps nodes, an index of the command line, or the folder of one."""

_EMBEDDING_OPTIONS = ("dimensions", "query_instruction", "text_instruction", "caption_mode")
"""Which an index of the command line has no use for."""

_RERANK_OPTIONS = ("instruction", "score_threshold", "keep_retrieval_score", "on_error", "caption_mode")
"""With which a reranker is more than the core's own second stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is searched.

    Attributes:
        multimodal_index: An index that embeds queries itself, or `None`.
        vector_store: Else the store.
        index: The index around the store, if there is one.
        embed_model: Embeds the queries for the store.
        reranker: Judges what was found; `None` if the order is final.
    """

    multimodal_index: MultimodalIndex | None = None
    vector_store: BasePydanticVectorStore | None = None
    index: VectorStoreIndex | None = None
    embed_model: Qwen3VLEmbedding | None = None
    reranker: BaseNodePostprocessor | None = None


def find_source(
    searchable: Searchable, *, embed_model: Qwen3VLEmbedding | None, reranker: BaseNodePostprocessor | None
) -> Source:
    """Returns what is searched, opened if it is a folder.

    Raises:
        FingerprintMismatchError: Another embedder wrote the folder.
        StoreError: There is no index in the folder.
        ValueError: The embedding is missing or of another kind, or the store does not keep nodes.
    """
    if isinstance(searchable, (str, Path)):
        if embed_model is None:
            raise ValueError(f"embed_model is missing: the Qwen3VLEmbedding that wrote the index {quote(searchable)}")
        opened = open_multimodal_index(searchable, embed_model, reranker)
        return Source(multimodal_index=opened, reranker=None if is_plain(reranker) else reranker)
    store = searchable.vector_store if isinstance(searchable, VectorStoreIndex) else searchable
    if isinstance(store, MultimodalIndexStore):
        store = store.client
    if isinstance(store, MultimodalIndex):
        if embed_model is not None:
            raise ValueError("an open MultimodalIndex has its embedder already; leave out embed_model")
        return Source(multimodal_index=store, reranker=reranker)
    if not isinstance(store, BasePydanticVectorStore):  # pyright: ignore[reportUnnecessaryIsInstance] - from callers
        raise ValueError(  # noqa: TRY004 - as for other options that do not fit
            f"got {type(store).__name__}; give a VectorStoreIndex, a vector store, a MultimodalIndex or its folder"
        )
    index = searchable if isinstance(searchable, VectorStoreIndex) else None
    if index is None and not store.stores_text:
        raise ValueError(f"{type(store).__name__} keeps vectors alone; give the index around it, which has the nodes")
    own = None if index is None else _read_embed_model(index)
    model = require_embedding(own if embed_model is None else embed_model)
    return Source(vector_store=store, index=index, embed_model=model, reranker=reranker)


def open_multimodal_index(
    folder: str | Path, embed_model: Qwen3VLEmbedding, reranker: BaseNodePostprocessor | None = None
) -> MultimodalIndex:
    """Returns the index in a folder; a `Qwen3VLRerank` without options of its own becomes its second stage.

    Raises:
        FingerprintMismatchError: Another embedder wrote it.
        StoreError: There is none.
        ValueError: The embedding has options that the index would not use.
    """
    path = Path(folder)
    if not Store.is_finished(path):
        raise StoreError(f"there is no index in {quote(path)}; make one with `qwen3vl index` or MultimodalIndex.add")
    given = [name for name in _EMBEDDING_OPTIONS if _is_given(embed_model, name)]
    if given:
        raise ValueError(
            f"{given[0]} of Qwen3VLEmbedding has no effect in an index of the command line; leave it out, or give "
            "MultiModalQueryBundle(instruction=…) with the query"
        )
    core = reranker.reranker if isinstance(reranker, Qwen3VLRerank) and is_plain(reranker) else None
    return MultimodalIndex.open(path, embed_model.embedder, core, media_policy=embed_model.media_policy)


def require_embedding(embed_model: Any) -> Qwen3VLEmbedding:
    """Returns the embedding.

    Raises:
        ValueError: It is missing or of another kind.
    """
    if isinstance(embed_model, Qwen3VLEmbedding):
        return embed_model
    got = "embed_model is missing" if embed_model is None else f"embed_model is {type(embed_model).__name__}"
    raise ValueError(
        f"{got}: pictures, clips and texts share one vector space through a Qwen3VLEmbedding; give "
        "embed_model=Qwen3VLEmbedding(…), or set Settings.embed_model to one"
    )


def is_plain(reranker: BaseNodePostprocessor | None) -> bool:
    """Returns whether a reranker is the core's own second stage, without options that an index would not use."""
    return isinstance(reranker, Qwen3VLRerank) and not any(_is_given(reranker, name) for name in _RERANK_OPTIONS)


def _is_given(model: Qwen3VLEmbedding | Qwen3VLRerank, name: str) -> bool:
    """Whether an option has another value than by default; how it was set says little: models are copied."""
    known = type(model).model_fields.get(name)
    return known is not None and getattr(model, name) != known.default


def _read_embed_model(index: VectorStoreIndex) -> Any:
    return index._embed_model  # pyright: ignore[reportPrivateUsage] - LlamaIndex has no other way
