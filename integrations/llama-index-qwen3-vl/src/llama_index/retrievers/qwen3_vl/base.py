"""Retrieval from one vector space: by text, image, video or a mixture, in one stage or two."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.base.embeddings.base import similarity
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, IndexNode, NodeWithScore, QueryBundle, QueryType
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
from llama_index.embeddings.qwen3_vl.base import Qwen3VLEmbedding, require_embedding
from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from llama_index.retrievers.qwen3_vl.filters import build_where, join_media_types
from llama_index.retrievers.qwen3_vl.found_nodes import (
    FoundNode,
    MediaKind,
    classify_node,
    convert_hit,
    restore_node,
    shows_image,
)
from llama_index.retrievers.qwen3_vl.multimodal_index import MultimodalIndexStore, is_plain, open_multimodal_index
from llama_index.retrievers.qwen3_vl.vector_stores import find_cosine, read_fingerprint
from llama_index.schema.qwen3_vl.explanations import add_explanations
from llama_index.schema.qwen3_vl.nodes import add_hidden_metadata
from llama_index.schema.qwen3_vl.queries import build_query_item
from qwen3_vl_retrieval import InputError, StoreError
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.jobs import RunVectors

__all__ = ["Qwen3VLRetriever", "Searchable"]

Searchable: TypeAlias = "VectorStoreIndex | BasePydanticVectorStore | MultimodalIndex | str | Path"
"""An index of LlamaIndex, a vector store that keeps nodes, an index of the command line, or the folder of one."""

_FETCHED = 50
"""Candidates for a reranker, as many as `MultimodalIndex.search` takes."""

_GROWTH = 4
"""How many times as many rows are asked for when too few of them are wanted."""

_IMAGES: tuple[MediaKind, ...] = ("image", "page", "mixed")


class Qwen3VLRetriever(MultiModalRetriever):
    """Finds texts, images, pages and videos in one vector space, and lets a reranker that sees them choose.

    A query is a text, a `QueryBundle` with `image_path`, or a `MultiModalQueryBundle`; it is never changed. It goes
    wherever a retriever of LlamaIndex goes, and where a `MultiModalRetriever` is expected.

    ```python
    from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
    from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
    from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever

    retriever = Qwen3VLRetriever(index, similarity_top_k=4, reranker=Qwen3VLRerank())
    retriever.retrieve(MultiModalQueryBundle("the same in blue", images=["mug.jpg"]))
    ```

    Scores are cosines, with a reranker its probabilities. Each is a `Node` with its image or video; pages of PDFs
    are drawn when a language model is shown them.

    Args:
        index: A `UnifiedMultiModalIndex` or any `VectorStoreIndex`; a vector store that keeps nodes; a
            `MultimodalIndex`, as `qwen3vl index` writes it, or its folder. Over that it returns what
            `MultimodalIndex.search` returns, in its order.
        embed_model: Embeds queries; by default the one of the index. Needed with a store or a folder.
        similarity_top_k: Nodes at most.
        reranker: Judges the candidates, whatever its `top_n`, by the query's text, images and videos.
        fetch_k: Candidates to judge; 50 by default, or `similarity_top_k` if that is more.
        full_vectors: Over a store that `qwen3vl load` has filled with short vectors: the run, by whose full vectors the
            candidates are ordered again. Scores are the cosines of those.
        filters: What nodes must meet.
        modalities: Kinds of nodes to find, of `"text"`, `"image"`, `"page"`, `"video"` and `"mixed"`; `None` is all.
        score: `"cosine"`, or `"raw"` for what the store itself calls a score. Without a reranker.
        keep_scores: Whether `similarity_score` and `relevance_score` are put into the metadata of what is found.
        explain: Whether `explanation` is put there: where the words of the query stand, or which parts the score of the
            last stage depends on. Of an image that takes as long as judging a dozen.
        vector_store_query_mode: How the store chooses, for example `"mmr"`.
        vector_store_kwargs: Further arguments of the store's query, or of `MultimodalIndex.search`.
        callback_manager: Callback manager of LlamaIndex.
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
        full_vectors: RunVectors | None = None,
        filters: MetadataFilters | None = None,
        modalities: Sequence[MediaKind] | None = None,
        score: Literal["cosine", "raw"] = "cosine",
        keep_scores: bool = False,
        explain: bool = False,
        vector_store_query_mode: VectorStoreQueryMode | str = VectorStoreQueryMode.DEFAULT,
        vector_store_kwargs: Mapping[str, Any] | None = None,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
    ) -> None:
        _check_options(similarity_top_k, fetch_k, modalities, score)
        self._multimodal_index: MultimodalIndex | None = None
        self._vector_store: BasePydanticVectorStore | None = None
        self._index: VectorStoreIndex | None = None
        self._embed_model: Qwen3VLEmbedding | None = None
        self._reranker = reranker
        self._full_vectors = full_vectors
        self._open(index, embed_model)
        if self._multimodal_index is not None and vector_store_query_mode != VectorStoreQueryMode.DEFAULT:
            raise ValueError(
                "vector_store_query_mode is for vector stores; an index of the command line has its own way"
            )
        if self._multimodal_index is not None and full_vectors is not None:
            raise ValueError(
                "full_vectors are for vector stores; an index of the command line has a second pass of its own"
            )
        self._names_media = False
        self._is_checked = False
        self._similarity_top_k, self._fetch_k = similarity_top_k, fetch_k
        self._filters = filters
        self._modalities = None if modalities is None else tuple(modalities)
        self._is_cosine = score == "cosine"
        self._keep_scores = keep_scores
        self._is_explained = explain
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
        return self._find(_build_bundle(str_or_query_bundle), ("text",))

    async def atext_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Returns the same as `text_retrieve`."""
        return await self._afind(_build_bundle(str_or_query_bundle), ("text",))

    def text_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Returns images and pages for the text of a query.

        Raises:
            InputError: There is no text.
        """
        return self._text_to_image_retrieve(_build_bundle(str_or_query_bundle))

    async def atext_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Returns the same as `text_to_image_retrieve`."""
        return await self._atext_to_image_retrieve(_build_bundle(str_or_query_bundle))

    def image_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Returns images and pages for the images and videos of a query; a `str` is the path of an image.

        Raises:
            InputError: There is neither image nor video.
        """
        return self._image_to_image_retrieve(_build_image_bundle(str_or_query_bundle))

    async def aimage_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Returns the same as `image_to_image_retrieve`."""
        return await self._aimage_to_image_retrieve(_build_image_bundle(str_or_query_bundle))

    def _text_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._find(_keep_text(query_bundle), _IMAGES, has_image=True)

    async def _atext_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._afind(_keep_text(query_bundle), _IMAGES, has_image=True)

    def _image_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._find(_keep_media(query_bundle), _IMAGES, has_image=True)

    async def _aimage_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._afind(_keep_media(query_bundle), _IMAGES, has_image=True)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._find(query_bundle, self._modalities)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._afind(query_bundle, self._modalities)

    def _find(
        self, bundle: QueryBundle, kinds: Sequence[MediaKind] | None, *, has_image: bool = False
    ) -> list[NodeWithScore]:
        """The nodes of these kinds, in the order of the last stage; `has_image` leaves mixtures without one out."""
        if self._multimodal_index is not None:
            found = self._search_index(self._multimodal_index, bundle, kinds)
        else:
            store, model = self._check_store()
            vector = model.get_query_bundle_embedding(bundle) if bundle.embedding is None else bundle.embedding
            found = self._search_store(store, replace(bundle, embedding=vector), kinds, has_image=has_image)
            found = self._rescore(found, bundle)
        if self._reranker is None or not found:
            return self._explain(self._label(found, found), bundle)
        judge = _set_top_n(self._reranker, self._similarity_top_k)
        judged = judge.postprocess_nodes([*found], query_bundle=bundle)[: self._similarity_top_k]
        return self._explain(self._label(judged, found), bundle)

    async def _afind(
        self, bundle: QueryBundle, kinds: Sequence[MediaKind] | None, *, has_image: bool = False
    ) -> list[NodeWithScore]:
        if self._multimodal_index is not None:
            found = await asyncio.to_thread(self._search_index, self._multimodal_index, bundle, kinds)
        else:
            # In a thread: the first use loads the model.
            store, model = await asyncio.to_thread(self._check_store)
            vector = bundle.embedding
            if vector is None:
                vector = await model.aget_query_bundle_embedding(bundle)
            found = await self._asearch_store(store, replace(bundle, embedding=vector), kinds, has_image=has_image)
            # In a thread: parts of the run are read.
            found = await asyncio.to_thread(self._rescore, found, bundle)
        if self._reranker is None or not found:
            return await asyncio.to_thread(self._explain, self._label(found, found), bundle)
        judge = _set_top_n(self._reranker, self._similarity_top_k)
        judged = await judge.apostprocess_nodes([*found], query_bundle=bundle)
        labelled = self._label(judged[: self._similarity_top_k], found)
        return await asyncio.to_thread(self._explain, labelled, bundle)

    def _rescore(self, found: list[FoundNode], bundle: QueryBundle) -> list[FoundNode]:
        """The candidates in the order of their full vectors, if there are any; without a reranker, the best of them."""
        if self._full_vectors is None or self._embed_model is None or not found:
            return found
        full = self._embed_model.model_copy(update={"dimensions": self._full_vectors.fingerprint.dimensions})
        full.fingerprint.require_match(self._full_vectors.fingerprint)
        query = np.array(full.get_query_bundle_embedding(replace(bundle, embedding=None)), dtype=np.float32)
        # Stores whose ids are others have that of the unit among the metadata.
        ids: list[str] = [one.node.metadata.get("id", one.node.node_id) for one in found]
        cosines = self._full_vectors.score(query, ids)
        # Equal ones keep their order.
        order: list[int] = np.argsort(-cosines, kind="stable").tolist()
        ordered = [FoundNode(node=found[place].node, score=float(cosines[place])) for place in order]
        return ordered if self._reranker is not None else ordered[: self._similarity_top_k]

    def _open(self, searchable: Searchable, embed_model: Qwen3VLEmbedding | None) -> None:
        """Finds what is searched, opened if it is a folder, and the models that belong to it."""
        if isinstance(searchable, (str, Path)):
            if embed_model is None:
                raise ValueError(
                    f"embed_model is missing: the Qwen3VLEmbedding that wrote the index {quote(searchable)}"
                )
            self._multimodal_index = open_multimodal_index(searchable, embed_model, self._reranker)
            if is_plain(self._reranker):
                self._reranker = None
            return
        index = searchable if isinstance(searchable, VectorStoreIndex) else None
        store = searchable.vector_store if isinstance(searchable, VectorStoreIndex) else searchable
        if isinstance(store, MultimodalIndexStore):
            store = store.client
        if isinstance(store, MultimodalIndex):
            if embed_model is not None:
                raise ValueError("an open MultimodalIndex has its embedder already; leave out embed_model")
            self._multimodal_index = store
            return
        if not isinstance(store, BasePydanticVectorStore):  # pyright: ignore[reportUnnecessaryIsInstance] - from callers
            raise ValueError(  # noqa: TRY004 - as for other options that do not fit
                f"got {type(store).__name__}; give a VectorStoreIndex, a vector store, a MultimodalIndex or its folder"
            )
        if index is None and not store.stores_text:
            raise ValueError(
                f"{type(store).__name__} keeps vectors alone; give the index around it, which has the nodes"
            )
        if embed_model is None and index is not None:
            embed_model = _read_embed_model(index)
        self._index, self._vector_store, self._embed_model = index, store, require_embedding(embed_model)

    def _check_store(self) -> tuple[BasePydanticVectorStore, Qwen3VLEmbedding]:
        """The store and the embedding, whose spaces are the same."""
        if self._vector_store is None or self._embed_model is None:
            raise ValueError("the retriever has no vector store")
        if not self._is_checked:
            stored = read_fingerprint(self._vector_store)
            if stored is not None:
                self._embed_model.fingerprint.require_match(stored)
            # Who writes the fingerprint names the kind of all media, so that the store can choose by it.
            self._names_media = stored is not None
            self._is_checked = True
        return self._vector_store, self._embed_model

    def _search_index(
        self, index: MultimodalIndex, bundle: QueryBundle, kinds: Sequence[MediaKind] | None
    ) -> list[FoundNode]:
        """What the index finds by its own search; scores are probabilities if it has a reranker, else cosines."""
        if bundle.custom_embedding_strs:
            raise InputError(
                "custom_embedding_strs, as of HyDE, are embedded in place of the text, and an index of the command "
                "line embeds and judges the query itself; give the text as query_str",
                role="query",
            )
        options = dict(self._options)
        if isinstance(bundle, MultiModalQueryBundle) and bundle.instruction is not None:
            options["instruction"] = bundle.instruction
        hits = index.search(
            build_query_item(bundle),
            k=self._count_candidates(),
            fetch_k=self._count_fetched(),
            where=build_where(self._filters),
            media_types=kinds,
            **options,
        )
        return [
            FoundNode(
                node=convert_hit(hit, keep_scores=self._keep_scores),
                score=hit.similarity_score if hit.relevance_score is None else hit.relevance_score,
            )
            for hit in hits
        ]

    def _search_store(
        self,
        store: BasePydanticVectorStore,
        bundle: QueryBundle,
        kinds: Sequence[MediaKind] | None,
        *,
        has_image: bool,
    ) -> list[FoundNode]:
        """Candidates from the store, best first; more rows are asked for until enough are of the kinds."""
        count = self._count_candidates()
        while True:
            query, accepted = self._build_store_query(bundle, kinds, count)
            found = self._choose(store, query, store.query(query, **self._options), accepted, has_image=has_image)
            if found is not None:
                return found
            count *= _GROWTH

    async def _asearch_store(
        self,
        store: BasePydanticVectorStore,
        bundle: QueryBundle,
        kinds: Sequence[MediaKind] | None,
        *,
        has_image: bool,
    ) -> list[FoundNode]:
        """The same by the store's own asynchronous query, or in a thread if it has none."""
        if type(store).aquery is BasePydanticVectorStore.aquery:
            return await asyncio.to_thread(self._search_store, store, bundle, kinds, has_image=has_image)
        count = self._count_candidates()
        while True:
            query, accepted = self._build_store_query(bundle, kinds, count)
            result = await store.aquery(query, **self._options)
            found = await asyncio.to_thread(self._choose, store, query, result, accepted, has_image=has_image)
            if found is not None:
                return found
            count *= _GROWTH

    def _build_store_query(
        self, bundle: QueryBundle, kinds: Sequence[MediaKind] | None, count: int
    ) -> tuple[VectorStoreQuery, Sequence[MediaKind] | None]:
        """The query for a number of rows, and the kinds that the store cannot choose by itself."""
        filters, is_joined = self._filters, False
        # Texts of others are not marked as such.
        if kinds is not None and self._names_media and "text" not in kinds:
            filters, is_joined = join_media_types(filters, kinds)
        query = VectorStoreQuery(
            query_embedding=bundle.embedding,
            similarity_top_k=count,
            query_str=bundle.query_str,
            mode=self._mode,
            filters=filters,
        )
        return query, None if is_joined else kinds

    def _choose(
        self,
        store: BasePydanticVectorStore,
        query: VectorStoreQuery,
        result: VectorStoreQueryResult,
        kinds: Sequence[MediaKind] | None,
        *,
        has_image: bool,
    ) -> list[FoundNode] | None:
        """The nodes that are wanted; `None` if there are too few, and more rows would help."""
        policy = None if self._embed_model is None else self._embed_model.media_policy
        nodes = [restore_node(node, media_policy=policy) for node in self._read_nodes(store, result)]
        scores = self._read_scores(store, query, result, len(nodes))
        found = [
            FoundNode(node=node, score=score)
            for node, score in zip(nodes, scores, strict=True)
            if (kinds is None or classify_node(node) in kinds) and (not has_image or shows_image(node))
        ]
        wanted = self._count_candidates()
        return None if len(found) < wanted and len(nodes) >= query.similarity_top_k else found[:wanted]

    def _read_nodes(self, store: BasePydanticVectorStore, result: VectorStoreQueryResult) -> list[BaseNode]:
        if result.nodes is not None:
            return _name_nodes(result.nodes, result.ids)
        if self._index is None or result.ids is None:
            raise StoreError(f"{type(store).__name__} returned neither nodes nor the ids of an index's nodes")
        places = self._index.index_struct.nodes_dict
        ids = [places.get(row, row) for row in result.ids]
        kept = {node.node_id: node for node in self._index.docstore.get_nodes(ids, raise_error=False)}
        lost = [node_id for node_id in ids if node_id not in kept]
        if lost:
            raise StoreError(
                f"the vector store has {quote(lost[0])} and {len(lost) - 1} more, and the docstore has no such "
                "nodes; load both from the folder that StorageContext.persist wrote, or index the nodes again"
            )
        return [kept[node_id] for node_id in ids]

    def _read_scores(
        self, store: BasePydanticVectorStore, query: VectorStoreQuery, result: VectorStoreQueryResult, count: int
    ) -> Sequence[float | None]:
        given = result.similarities
        if given is None:
            return [None] * count
        if not self._is_cosine:
            return given
        if (
            isinstance(store, SimpleVectorStore)
            and self._mode != VectorStoreQueryMode.DEFAULT
            and result.ids is not None
        ):
            # What it scores by in its other modes is no cosine.
            return [float(similarity(query.query_embedding or [], store.get(row))) for row in result.ids]
        cosine = find_cosine(store)
        return given if cosine is None else [cosine(score) for score in given]

    def _count_fetched(self) -> int:
        return max(self._similarity_top_k, _FETCHED if self._fetch_k is None else self._fetch_k)

    def _count_candidates(self) -> int:
        is_chosen_again = self._reranker is not None or self._full_vectors is not None
        return self._count_fetched() if is_chosen_again else self._similarity_top_k

    def _label(self, chosen: Sequence[NodeWithScore], found: Sequence[NodeWithScore]) -> list[NodeWithScore]:
        """The chosen nodes; their metadata have the scores of both stages if they are kept, for no model to see."""
        # What an index has found has the scores of both of its stages already.
        if not self._keep_scores or (self._reranker is None and self._multimodal_index is not None):
            return [FoundNode(node=one.node, score=one.score) for one in chosen]
        cosines = {one.node.node_id: one.score for one in found}
        labelled: list[NodeWithScore] = []
        for one in chosen:
            scores = {"similarity_score": cosines.get(one.node.node_id)}
            if self._reranker is not None:
                scores["relevance_score"] = one.score
            given = {name: score for name, score in scores.items() if score is not None}
            labelled.append(FoundNode(node=add_hidden_metadata(one.node, given), score=one.score))
        return labelled

    def _explain(self, found: list[NodeWithScore], bundle: QueryBundle) -> list[NodeWithScore]:
        """The nodes with why they were found, by the models that found them, as far as they are ours."""
        if not self._is_explained or not found:
            return found
        index, model, judge = self._multimodal_index, self._embed_model, self._reranker
        embedder = index.embedder if index is not None else None if model is None else model.embedder
        reranker = None if index is None else index.reranker
        policy = index.media_policy if index is not None else None if model is None else model.media_policy
        instruction: str | None = self._options.get("instruction")
        if isinstance(judge, Qwen3VLRerank):
            reranker, policy, instruction = judge.reranker, judge.media_policy, judge.instruction
        return add_explanations(
            found, bundle, embedder=embedder, reranker=reranker, instruction=instruction, media_policy=policy
        )


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


def _name_nodes(nodes: Sequence[BaseNode], ids: Sequence[str] | None) -> list[BaseNode]:
    """The nodes by the ids of their rows: some stores invent ids for nodes of rows that LlamaIndex did not write."""
    if ids is None or len(ids) != len(nodes):
        return list(nodes)
    return [
        node if node.node_id == row or node.metadata.get("id") != row else node.model_copy(update={"id_": row})
        for node, row in zip(nodes, ids, strict=True)
    ]


def _set_top_n(reranker: BaseNodePostprocessor, count: int) -> BaseNodePostprocessor:
    # A copy: how many nodes it keeps elsewhere is for its owner to say.
    return reranker.model_copy(update={"top_n": count}) if "top_n" in type(reranker).model_fields else reranker


def _read_embed_model(index: VectorStoreIndex) -> Any:
    return index._embed_model  # pyright: ignore[reportPrivateUsage] - LlamaIndex has no other way


def _build_bundle(query: QueryType) -> QueryBundle:
    """Returns the bundle of a text, or the bundle."""
    return QueryBundle(query) if isinstance(query, str) else query


def _build_image_bundle(query: QueryType) -> QueryBundle:
    """Returns the bundle of the path of an image, or the bundle."""
    return QueryBundle("", image_path=query) if isinstance(query, str) else query


def _keep_text(bundle: QueryBundle) -> QueryBundle:
    """Returns a query without its images and videos."""
    kept = replace(bundle, image_path=None, embedding=None)
    return replace(kept, images=None, videos=None) if isinstance(kept, MultiModalQueryBundle) else kept


def _keep_media(bundle: QueryBundle) -> QueryBundle:
    """Returns a query without its text.

    Raises:
        InputError: There is neither image nor video.
    """
    is_multimodal = isinstance(bundle, MultiModalQueryBundle)
    if bundle.image_path is None and not (is_multimodal and (bundle.images or bundle.videos)):
        raise InputError(
            "there is no image to search by; give its path, QueryBundle(image_path=…) or "
            "MultiModalQueryBundle(images=[…])",
            role="query",
        )
    return replace(bundle, query_str="", custom_embedding_strs=None, embedding=None)
