"""Retrieval from one vector space: by text, picture, clip or a mixture, in one stage or two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, IndexNode, NodeWithScore, QueryBundle, QueryType
from llama_index.core.vector_stores.types import MetadataFilters, VectorStoreQueryMode

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.retrievers.qwen3_vl.filters import join_media_types
from llama_index.retrievers.qwen3_vl.first_stages import NodeSource, Recall, arecall_nodes, recall_nodes
from llama_index.retrievers.qwen3_vl.found_nodes import MediaKind, classify_node, shows_picture
from llama_index.retrievers.qwen3_vl.index_searches import IndexSearch, search_index
from llama_index.retrievers.qwen3_vl.query_bundles import build_bundle, build_picture_bundle, keep_media, keep_text
from llama_index.retrievers.qwen3_vl.scores import read_fingerprint
from llama_index.retrievers.qwen3_vl.second_stages import ajudge_nodes, judge_nodes, label_scores
from llama_index.retrievers.qwen3_vl.sources import Searchable, find_source
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import MultimodalIndex

__all__ = ["Qwen3VLRetriever"]

_FETCHED = 50
"""Candidates for a reranker, as many as `MultimodalIndex.search` takes."""

_PICTURES: tuple[MediaKind, ...] = ("image", "page", "mixed")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """Which nodes are wanted; `None` is all of them."""

    media_types: Sequence[MediaKind] | None = None
    accepts: Callable[[BaseNode], bool] | None = None


class Qwen3VLRetriever(MultiModalRetriever):
    """Finds texts, pictures, pages and clips in one vector space, and lets a reranker that sees them choose.

    A query is a text, a `QueryBundle` with `image_path`, or a `MultiModalQueryBundle`; it is never changed. It goes
    wherever a retriever of LlamaIndex goes, and where a `MultiModalRetriever` is expected.

    ```python
    from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
    from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
    from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever

    retriever = Qwen3VLRetriever(index, similarity_top_k=4, reranker=Qwen3VLRerank())
    retriever.retrieve(MultiModalQueryBundle("the same in blue", images=["mug.jpg"]))
    ```

    Scores are cosines, with a reranker its probabilities. Each is a `Node` with its picture or clip; pages of PDFs
    are drawn when a language model is shown them.

    Args:
        index: A `UnifiedMultiModalIndex` or any `VectorStoreIndex`; a vector store that keeps nodes; a
            `MultimodalIndex`, as `qwen3vl index` writes it, or its folder. Over that it returns what
            `MultimodalIndex.search` returns, in its order.
        embed_model: Embeds queries; by default the one of the index. Needed with a store or a folder.
        similarity_top_k: Nodes at most.
        reranker: Judges the candidates, whatever its `top_n`, by the query's text, pictures and clips.
        fetch_k: Candidates to judge; 50 by default, or `similarity_top_k` if that is more.
        filters: What nodes must meet.
        modalities: Kinds of nodes to find, of `"text"`, `"image"`, `"page"`, `"video"` and `"mixed"`; `None` is all.
        score: `"cosine"`, or `"raw"` for what the store itself calls a score. Without a reranker.
        keep_scores: Whether `similarity_score` and `relevance_score` are put into the metadata of what is found.
        vector_store_query_mode: How the store chooses, for example `"mmr"`.
        vector_store_kwargs: Further arguments of the store's query, or of `MultimodalIndex.search`.
        callback_manager: Of LlamaIndex.
        object_map: What each `IndexNode` stands for.
        objects: Each `IndexNode` with its object.
        verbose: Whether LlamaIndex prints what it enters.

    Raises:
        FingerprintMismatchError: The folder was written with another embedder.
        StoreError: There is no index in the folder.
        ValueError: An option is out of range, or does not fit what is searched.
    """

    def __init__(
        self,
        index: Searchable,
        *,
        embed_model: Qwen3VLEmbedding | None = None,
        similarity_top_k: int = 10,
        reranker: BaseNodePostprocessor | None = None,
        fetch_k: int | None = None,
        filters: MetadataFilters | None = None,
        modalities: Sequence[MediaKind] | None = None,
        score: Literal["cosine", "raw"] = "cosine",
        keep_scores: bool = False,
        vector_store_query_mode: VectorStoreQueryMode | str = VectorStoreQueryMode.DEFAULT,
        vector_store_kwargs: Mapping[str, Any] | None = None,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
    ) -> None:
        _check_options(similarity_top_k, fetch_k, modalities, score)
        source = find_source(index, embed_model=embed_model, reranker=reranker)
        if source.multimodal_index is not None and vector_store_query_mode != VectorStoreQueryMode.DEFAULT:
            raise ValueError(
                "vector_store_query_mode is for vector stores; an index of the command line has its own way"
            )
        self._multimodal_index = source.multimodal_index
        self._embed_model = source.embed_model
        self._reranker = source.reranker
        self._nodes: NodeSource | None = None
        if source.vector_store is not None:
            policy = None if source.embed_model is None else source.embed_model.media_policy
            self._nodes = NodeSource(
                vector_store=source.vector_store,
                index=source.index,
                media_policy=policy,
                is_cosine=score == "cosine",
            )
        self._names_media = bool(getattr(source.index, "names_media", False))
        self._is_checked = False
        self._similarity_top_k, self._fetch_k = similarity_top_k, fetch_k
        self._filters = filters
        self._scope = _Scope(media_types=None if modalities is None else tuple(modalities))
        self._keep_scores = keep_scores
        self._mode = VectorStoreQueryMode(vector_store_query_mode)
        self._options = {} if vector_store_kwargs is None else dict(vector_store_kwargs)
        super().__init__(callback_manager=callback_manager, object_map=object_map, objects=objects, verbose=verbose)

    @property
    def similarity_top_k(self) -> int:
        """Nodes at most."""
        return self._similarity_top_k

    @similarity_top_k.setter
    def similarity_top_k(self, count: int) -> None:
        _check_options(count, None, None, "cosine")
        self._similarity_top_k = count

    @property
    def multimodal_index(self) -> MultimodalIndex | None:
        """The index of the command line that is searched, for instance to close it; `None` over anything else."""
        return self._multimodal_index

    def text_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Returns the nodes that are text alone."""
        return self._find(build_bundle(str_or_query_bundle), _Scope(media_types=("text",)))

    async def atext_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Returns the same as `text_retrieve`."""
        return await self._afind(build_bundle(str_or_query_bundle), _Scope(media_types=("text",)))

    def text_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Returns pictures and pages for the text of a query.

        Raises:
            InputError: There is no text.
        """
        return self._text_to_image_retrieve(build_bundle(str_or_query_bundle))

    async def atext_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Returns the same as `text_to_image_retrieve`."""
        return await self._atext_to_image_retrieve(build_bundle(str_or_query_bundle))

    def image_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Returns pictures and pages for the pictures and clips of a query; a `str` is the path of a picture.

        Raises:
            InputError: There is neither picture nor clip.
        """
        return self._image_to_image_retrieve(build_picture_bundle(str_or_query_bundle))

    async def aimage_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Returns the same as `image_to_image_retrieve`."""
        return await self._aimage_to_image_retrieve(build_picture_bundle(str_or_query_bundle))

    def _text_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._find(keep_text(query_bundle), _Scope(media_types=_PICTURES, accepts=shows_picture))

    async def _atext_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._afind(keep_text(query_bundle), _Scope(media_types=_PICTURES, accepts=shows_picture))

    def _image_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._find(keep_media(query_bundle), _Scope(media_types=_PICTURES, accepts=shows_picture))

    async def _aimage_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._afind(keep_media(query_bundle), _Scope(media_types=_PICTURES, accepts=shows_picture))

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._find(query_bundle, self._scope)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._afind(query_bundle, self._scope)

    def _find(self, bundle: QueryBundle, scope: _Scope) -> list[NodeWithScore]:
        if self._multimodal_index is not None:
            found = search_index(self._multimodal_index, self._plan_search(bundle, scope))
        else:
            source, model = self._open()
            vector = bundle.embedding
            if vector is None:
                vector = model.get_query_bundle_embedding(bundle)
            found = recall_nodes(source, self._plan_recall(bundle, vector, scope))
        chosen: Sequence[NodeWithScore] = found
        if self._reranker is not None and found:
            chosen = judge_nodes(self._reranker, found, bundle, self._similarity_top_k)
        return self._label(chosen, found)

    async def _afind(self, bundle: QueryBundle, scope: _Scope) -> list[NodeWithScore]:
        if self._multimodal_index is not None:
            search = self._plan_search(bundle, scope)
            found = await asyncio.to_thread(search_index, self._multimodal_index, search)
        else:
            # In a thread: the first use loads the model.
            source, model = await asyncio.to_thread(self._open)
            vector = bundle.embedding
            if vector is None:
                vector = await model.aget_query_bundle_embedding(bundle)
            found = await arecall_nodes(source, self._plan_recall(bundle, vector, scope))
        chosen: Sequence[NodeWithScore] = found
        if self._reranker is not None and found:
            chosen = await ajudge_nodes(self._reranker, found, bundle, self._similarity_top_k)
        return self._label(chosen, found)

    def _open(self) -> tuple[NodeSource, Qwen3VLEmbedding]:
        """The store and the embedding, whose spaces are the same."""
        if self._nodes is None or self._embed_model is None:
            raise ValueError("the retriever has no vector store")
        if not self._is_checked:
            stored = read_fingerprint(self._nodes.vector_store)
            if stored is not None:
                self._embed_model.fingerprint.require_match(stored)
            self._is_checked = True
        return self._nodes, self._embed_model

    def _plan_search(self, bundle: QueryBundle, scope: _Scope) -> IndexSearch:
        return IndexSearch(
            bundle=bundle,
            count=self._count_candidates(),
            fetch_k=self._count_fetched(),
            filters=self._filters,
            media_types=scope.media_types,
            options=self._options,
            keep_scores=self._keep_scores,
        )

    def _plan_recall(self, bundle: QueryBundle, vector: Sequence[float], scope: _Scope) -> Recall:
        kinds, filters, accepts = scope.media_types, self._filters, scope.accepts
        if kinds is not None:
            # Texts of others are not marked as such.
            if self._names_media and "text" not in kinds:
                filters, is_joined = join_media_types(filters, kinds)
            else:
                is_joined = False
            if not is_joined:
                accepts = _accept_kinds(kinds, accepts)
        return Recall(
            embedding=vector,
            query_str=bundle.query_str,
            count=self._count_candidates(),
            filters=filters,
            mode=self._mode,
            options=self._options,
            accepts=accepts,
        )

    def _count_fetched(self) -> int:
        return max(self._similarity_top_k, _FETCHED if self._fetch_k is None else self._fetch_k)

    def _count_candidates(self) -> int:
        return self._similarity_top_k if self._reranker is None else self._count_fetched()

    def _label(self, chosen: Sequence[NodeWithScore], found: Sequence[NodeWithScore]) -> list[NodeWithScore]:
        is_judged = self._reranker is not None
        # What an index has found has the scores of both of its stages already.
        keep_scores = self._keep_scores and (is_judged or self._multimodal_index is None)
        return [*label_scores(chosen, found, is_judged=is_judged, keep_scores=keep_scores)]


def _check_options(similarity_top_k: int, fetch_k: int | None, modalities: Sequence[str] | None, score: str) -> None:
    if similarity_top_k < 1 or (fetch_k is not None and fetch_k < 1):
        raise ValueError(f"similarity_top_k={similarity_top_k} and fetch_k={fetch_k} must be at least 1")
    allowed = get_args(MediaKind)
    if modalities is not None and (
        isinstance(modalities, str) or not modalities or any(kind not in allowed for kind in modalities)
    ):
        raise ValueError(f"modalities={quote(modalities)} must be a list of one or more of {', '.join(allowed)}")
    if score not in ("cosine", "raw"):
        raise ValueError(f"score={quote(score)} is unknown; allowed are 'cosine' and 'raw'")


def _accept_kinds(kinds: Sequence[MediaKind], accepts: Callable[[BaseNode], bool] | None) -> Callable[[BaseNode], bool]:
    return lambda node: classify_node(node) in kinds and (accepts is None or accepts(node))
