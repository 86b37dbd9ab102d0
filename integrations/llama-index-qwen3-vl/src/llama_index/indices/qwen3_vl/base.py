"""One index of texts, images, pages and videos in one vector space, as a `VectorStoreIndex`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self, TypeAlias, TypedDict, Unpack

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.data_structs.data_structs import IndexDict
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.llms.utils import LLMType, resolve_llm  # pyright: ignore[reportUnknownVariableType] - LangChain's models are not typed there
from llama_index.core.schema import BaseNode, Document, IndexNode, TransformComponent
from llama_index.core.settings import Settings
from llama_index.core.storage.storage_context import StorageContext
from llama_index.core.tools import FunctionTool
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index.embeddings.qwen3_vl.base import Qwen3VLEmbedding, require_embedding
from llama_index.indices.qwen3_vl.documents import aparse_documents, hash_document, parse_documents
from llama_index.indices.qwen3_vl.engines import (
    RETRIEVER_OPTIONS,
    build_chat_engine,
    build_query_engine,
    build_tool,
    list_names,
    require_known,
)
from llama_index.indices.qwen3_vl.files import FileInsertion, FileOptions
from llama_index.indices.qwen3_vl.media_folders import MediaFolder
from llama_index.indices.qwen3_vl.stored_nodes import is_blank, prepare_node
from llama_index.indices.qwen3_vl.stores import (
    areplace_nodes,
    bind_store,
    build_summary,
    hold_store,
    is_flat,
    list_document_ids,
    open_chroma_store,
    open_storage,
    replace_nodes,
    require_writer,
    split_rows,
)
from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever
from llama_index.retrievers.qwen3_vl.multimodal_index import MultimodalIndexStore, is_plain, open_multimodal_index
from qwen3_vl_retrieval import InputError, MediaPolicy, StoreError
from qwen3_vl_retrieval.index import FailedFile, MultimodalIndex
from qwen3_vl_retrieval.options import list_option_names
from qwen3_vl_retrieval.paths import encode_name

__all__ = ["UnifiedMultiModalIndex"]

_LOGGER = logging.getLogger(__name__)

_DEFAULT_COLLECTION = "multimodal"

_Placed: TypeAlias = "tuple[int, BaseNode]"
"""A node, with its place in the list of the caller."""


class NodeOptions(TypedDict, total=False):
    """The options of `UnifiedMultiModalIndex`, which describes them, on nodes; any other fails."""

    media_dir: str | Path | None
    objects: list[IndexNode] | None
    transformations: list[TransformComponent] | None
    callback_manager: CallbackManager | None
    show_progress: bool
    use_async: bool
    insert_batch_size: int


class OpenOptions(NodeOptions, total=False):
    """Those, and the embedding."""

    embed_model: Qwen3VLEmbedding | None


class IndexOptions(OpenOptions, total=False):
    """Those, and where nodes are kept."""

    storage_context: StorageContext | None
    vector_store: BasePydanticVectorStore | None
    persist_dir: str | Path | None
    collection_name: str
    lock_timeout_seconds: float


class FileIndexOptions(IndexOptions, FileOptions, total=False):
    """The options of `UnifiedMultiModalIndex` and of `add_files`."""


class UnifiedMultiModalIndex(VectorStoreIndex):
    """An index of texts, images, pages of PDFs, videos and mixtures of them, each with one vector of one space.

    ```python
    index = UnifiedMultiModalIndex.from_files("office", persist_dir="store", embed_model=Qwen3VLEmbedding())
    index.as_retriever(similarity_top_k=4, reranker=Qwen3VLRerank()).retrieve("Which invoice is overdue?")
    index.as_query_engine(llm=llm).query(MultiModalQueryBundle("Is this under warranty?", images=["mug.jpg"]))
    ```

    Nodes of any type are embedded with their pixels, and come back with them: media are kept by path, data and URLs
    are written to `media_dir` before. A node replaces the one of the same id. Metadata that say what a node is
    (`media_type`, `image`, `video`, `sha256`, `mime_type`, `width`, `height`) are added, and hidden from models. The
    store is bound to the model and its options, and refuses any other.

    Made by `from_files`, `from_documents`, `from_nodes`, `from_persist_dir`, `from_vector_store`, `from_storage` and
    `from_multimodal_index`, which all take these options.

    Args:
        nodes: What to begin with.
        embed_model: Embeds nodes and queries; by default `Settings.embed_model`, which has to be a `Qwen3VLEmbedding`.
        storage_context: As in LlamaIndex.
        vector_store: In place of a storage context: where nodes are kept.
        persist_dir: In place of both: a folder, where they are kept in Chroma, with the cosine.
        collection_name: Name of the collection of Chroma in `persist_dir`.
        lock_timeout_seconds: How long a writer waits for another process that writes into `persist_dir`.
        media_dir: Folder for images and videos that are not files yet; by default `media` in `persist_dir`.
        index_struct: Structure of an index that was loaded.
        objects: Each `IndexNode` with what it stands for.
        transformations: Transformations of documents of text.
        callback_manager: As in LlamaIndex.
        show_progress: Show progress bars.
        use_async: Embed the first nodes by asynchronous methods.
        insert_batch_size: Nodes that are embedded before they are written.
        others: None: options of `MultiModalVectorStoreIndex`, which has two spaces, fail with what to do instead.

    Raises:
        FingerprintMismatchError: if the store has vectors of another space.
        InputError: if a node cannot be read or kept; the message begins with its position.
        TypeError: if an option is unknown.
        ValueError: if the embedding is missing or of another kind, or more than one place to keep nodes is given.
    """

    _embed_model: Qwen3VLEmbedding
    _media_folder: MediaFolder

    def __init__(
        self,
        nodes: Sequence[BaseNode] | None = None,
        *,
        embed_model: Qwen3VLEmbedding | None = None,
        storage_context: StorageContext | None = None,
        vector_store: BasePydanticVectorStore | None = None,
        persist_dir: str | Path | None = None,
        collection_name: str = _DEFAULT_COLLECTION,
        lock_timeout_seconds: float = 10.0,
        media_dir: str | Path | None = None,
        index_struct: IndexDict | None = None,
        objects: list[IndexNode] | None = None,
        transformations: list[TransformComponent] | None = None,
        callback_manager: CallbackManager | None = None,
        show_progress: bool = False,
        use_async: bool = False,
        insert_batch_size: int = 2048,
        **others: Any,
    ) -> None:
        require_known(others, list_names(type(self).__init__), type(self).__name__)
        model = require_embedding(_find_default_embedding() if embed_model is None else embed_model)
        context = open_storage(storage_context, vector_store, persist_dir, collection_name, lock_timeout_seconds)
        folder = None if persist_dir is None else Path(persist_dir).absolute() / "media"
        self._media_folder = MediaFolder(
            folder=folder if media_dir is None else Path(media_dir), policy=model.media_policy
        )
        self._failures: list[FailedFile] = []
        store = context.vector_store
        is_view = isinstance(store, MultimodalIndexStore)
        if not is_view:
            bind_store(store, model.fingerprint, None if index_struct is None else index_struct.summary)
        super().__init__(
            nodes=[] if nodes is None and index_struct is None else nodes,
            embed_model=model,
            storage_context=context,
            index_struct=index_struct,
            objects=objects,
            transformations=transformations,
            callback_manager=callback_manager,
            show_progress=show_progress,
            use_async=use_async,
            insert_batch_size=insert_batch_size,
        )
        if not is_view and index_struct is None:
            self.summary = build_summary(model.fingerprint)

    @classmethod
    def from_nodes(cls, nodes: Sequence[BaseNode], **options: Unpack[IndexOptions]) -> Self:
        """Returns an index of nodes; options and errors are those of the class."""
        return cls(nodes, **options)

    @classmethod
    def from_documents(cls, documents: Sequence[Document], **options: Unpack[IndexOptions]) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride] - the options of LlamaIndex's, and ours, by name
        """Returns an index of documents; those with an image or video become one node each, others are split.

        What a reader without the right parser has read as text, an image or video, is taken from its `file_path`.
        Options and errors are those of the class.
        """
        index = cls([], **options)
        index.insert_documents(documents)
        return index

    @classmethod
    def from_files(
        cls,
        paths: str | Path | Iterable[str | Path],
        **options: Unpack[FileIndexOptions],
    ) -> Self:
        """Returns an index of files and folders; the options are those of `add_files` and of the class.

        Over a `persist_dir` that exists, what is there and unchanged is not embedded again.
        """
        reading = list_option_names(FileOptions)
        index = cls([], **{name: value for name, value in options.items() if name not in reading})  # pyright: ignore[reportArgumentType] - the options of the class
        index.add_files(paths, **{name: value for name, value in options.items() if name in reading})  # pyright: ignore[reportArgumentType] - the others
        return index

    @classmethod
    def from_persist_dir(
        cls,
        persist_dir: str | Path,
        *,
        collection_name: str = _DEFAULT_COLLECTION,
        lock_timeout_seconds: float = 10.0,
        **options: Unpack[OpenOptions],
    ) -> Self:
        """Returns the index that was made with `persist_dir`; options are those of the class.

        Raises:
            FingerprintMismatchError: if another embedding made it.
            StoreError: if there is none.
        """
        if options.get("media_dir") is None:
            options["media_dir"] = Path(persist_dir).absolute() / "media"
        store = open_chroma_store(
            persist_dir, collection_name, must_exist=True, lock_timeout_seconds=lock_timeout_seconds
        )
        return cls([], vector_store=store, **options)

    @classmethod
    def from_vector_store(  # pyright: ignore[reportIncompatibleMethodOverride] - as above
        cls,
        vector_store: BasePydanticVectorStore,
        embed_model: Qwen3VLEmbedding | None = None,
        **options: Unpack[NodeOptions],
    ) -> Self:
        """Returns an index over a store that keeps nodes; options and errors are those of the class."""
        if not vector_store.stores_text:
            raise ValueError(
                f"{type(vector_store).__name__} keeps vectors alone; give the storage context that was persisted with "
                "it to from_storage"
            )
        return cls([], embed_model=embed_model, vector_store=vector_store, **options)

    @classmethod
    def from_storage(
        cls, storage_context: StorageContext, *, index_id: str | None = None, **options: Unpack[OpenOptions]
    ) -> Self:
        """Returns the index that `index.storage_context.persist` wrote; options and errors are those of the class.

        Args:
            storage_context: `StorageContext.from_defaults(persist_dir=…)`.
            index_id: Which one, if there are several.
            options: Options of the class.

        Raises:
            StoreError: if there is none, or there are several.
        """
        structs = [one for one in storage_context.index_store.index_structs() if isinstance(one, IndexDict)]
        chosen = [one for one in structs if index_id is None or one.index_id == index_id]
        if len(chosen) != 1:
            known = ", ".join(repr(one.index_id) for one in structs)
            raise StoreError(f"the storage context has {len(chosen)} such indexes; give index_id, one of: {known}")
        return cls(index_struct=chosen[0], storage_context=storage_context, **options)

    @classmethod
    def from_multimodal_index(
        cls,
        path_or_index: str | Path | MultimodalIndex,
        *,
        embed_model: Qwen3VLEmbedding | None = None,
        reranker: Qwen3VLRerank | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> Self:
        """Returns a read-only view of an index that `qwen3vl index` or `MultimodalIndex.add` has written.

        It finds what `MultimodalIndex.search` finds, in its order, in both of its stages.

        Args:
            path_or_index: Its folder, or an open one, which has its models already.
            embed_model: With a folder: the embedding that wrote it.
            reranker: With a folder: the second stage.
            callback_manager: As in LlamaIndex.

        Raises:
            FingerprintMismatchError: if another embedding wrote it.
            StoreError: if there is none.
            ValueError: Models were given for an open index, or none for a folder.
        """
        if isinstance(path_or_index, MultimodalIndex):
            if embed_model is not None or reranker is not None:
                raise ValueError("an open index has its models already; leave out embed_model and reranker")
            opened, stored = path_or_index, path_or_index.store.head.fingerprint
            # It embeds nothing, and is never loaded.
            embed_model = Qwen3VLEmbedding(stored.model)
        else:
            embed_model = require_embedding(_find_default_embedding() if embed_model is None else embed_model)
            if reranker is not None and not is_plain(reranker):
                raise ValueError(
                    "instruction, score_threshold, on_error and keep_retrieval_score of Qwen3VLRerank have no effect "
                    "inside an index of the command line; give the reranker to as_retriever instead"
                )
            opened = open_multimodal_index(path_or_index, embed_model, reranker)
        store = MultimodalIndexStore(opened)
        return cls([], vector_store=store, embed_model=embed_model, callback_manager=callback_manager)

    @property
    def failures(self) -> list[FailedFile]:
        """What `add_files(on_error="skip")` could not read, since this object was made."""
        return list(self._failures)

    def add_files(
        self,
        paths: str | Path | Iterable[str | Path],
        **options: Unpack[FileOptions],
    ) -> list[FailedFile]:
        """Adds files and folders, and returns what could not be read.

        An image is one node, a PDF one per page, a video one per window, a text one per chunk. What is there and
        unchanged is left alone; what a changed file no longer holds is removed. Files are removed by
        `delete_ref_doc(path)`, with the absolute path.

        Args:
            paths: Files of any kind that `qwen3vl index` reads, and folders with such files.
            **options: How files are read, and what becomes of broken ones; see `FileOptions`.

        Raises:
            InputError: if a file cannot be read, and that is not to be skipped, or there is none; the message names it.
                Also if no store can hold the `metadata`.
        """
        policy = self._media_folder.policy
        insertion = FileInsertion(self, MediaPolicy() if policy is None else policy, **options)
        insertion.run(paths)
        self._failures += insertion.failures
        return insertion.failures

    def build_index_from_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> IndexDict:
        """Returns the structure of an index of nodes; what has no text is kept."""
        self._validate_serializable(nodes)
        return self._build_index_from_nodes(nodes, **insert_kwargs)

    def insert_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        """Embeds nodes and writes them, in place of those of the same ids.

        Args:
            nodes: Nodes of any type. Those that have an `embedding` are not embedded; empty ones are left out, with a
                warning in the log.
            insert_kwargs: For the `add` of the store.

        Raises:
            InputError: if a node cannot be read, or its data cannot be kept; the message begins with its position.
            StoreError: if the index is a read-only view, or another process goes on writing to its store.
        """
        super().insert_nodes(nodes, **insert_kwargs)

    def insert_documents(self, documents: Sequence[Document], **insert_kwargs: Any) -> None:
        """Adds documents; the nodes of those that were there by the same id are replaced.

        Args:
            documents: Those with an image or video become one node each, others are transformed.
            insert_kwargs: For the `add` of the store.

        Raises:
            InputError: if one of them cannot be read; see `insert_nodes`.
        """
        nodes = parse_documents(documents, self._transformations, show_progress=self._show_progress)
        self.insert_nodes(nodes, **insert_kwargs)
        self._finish(documents, nodes)

    async def ainsert_documents(self, documents: Sequence[Document], **insert_kwargs: Any) -> None:
        """Does the same as `insert_documents`."""
        nodes = await aparse_documents(documents, self._transformations, show_progress=self._show_progress)
        await self.ainsert_nodes(nodes, **insert_kwargs)
        await asyncio.to_thread(self._finish, documents, nodes)

    def insert(self, document: Document, **insert_kwargs: Any) -> None:
        """Does the same as `insert_documents` for one."""
        self.insert_documents([document], **insert_kwargs)

    async def ainsert(self, document: Document, **insert_kwargs: Any) -> None:
        """Does the same as `insert`."""
        await self.ainsert_documents([document], **insert_kwargs)

    def delete_ref_doc(self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:
        """Removes the nodes of a document; it is inserted again when `refresh_ref_docs` is given it."""
        ref_doc_id = encode_name(ref_doc_id)
        super().delete_ref_doc(ref_doc_id, delete_from_docstore=delete_from_docstore, **delete_kwargs)
        self._forget(ref_doc_id)

    async def adelete_ref_doc(
        self,
        ref_doc_id: str,
        delete_from_docstore: bool = False,
        **delete_kwargs: Any,
    ) -> None:
        """Does the same as `delete_ref_doc`."""
        ref_doc_id = encode_name(ref_doc_id)
        await super().adelete_ref_doc(ref_doc_id, delete_from_docstore=delete_from_docstore, **delete_kwargs)
        self._forget(ref_doc_id)

    def refresh_ref_docs(self, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Inserts documents that are new or have changed, also in the content of their files.

        Returns:
            For each whether it was inserted.
        """
        changed = [self._has_changed(document) for document in documents]
        waiting = [document for document, has_changed in zip(documents, changed, strict=True) if has_changed]
        self.insert_documents(waiting, **update_kwargs.get("insert_kwargs", {}))
        return changed

    async def arefresh_ref_docs(self, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Does the same as `refresh_ref_docs`."""
        changed = await asyncio.to_thread(lambda: [self._has_changed(document) for document in documents])
        waiting = [document for document, has_changed in zip(documents, changed, strict=True) if has_changed]
        await self.ainsert_documents(waiting, **update_kwargs.get("insert_kwargs", {}))
        return changed

    def remove_stale(self, ref_doc_id: str, kept: set[str]) -> int:
        """Removes the nodes of a document other than those of the ids `kept`, and returns how many that were."""
        stale = [row for row in list_document_ids(self._vector_store, ref_doc_id) if row not in kept]
        if stale:
            self.delete_nodes(stale, delete_from_docstore=True)
        return len(stale)

    def delete_nodes(self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:
        """Removes nodes, however many; what does not exist is no error."""
        for some in split_rows(node_ids):
            super().delete_nodes(list(some), delete_from_docstore=delete_from_docstore, **delete_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """Does the same as `delete_nodes`."""
        for some in split_rows(node_ids):
            await super().adelete_nodes(list(some), delete_from_docstore=delete_from_docstore, **delete_kwargs)

    def as_retriever(self, **options: Any) -> Qwen3VLRetriever:
        """Returns a retriever over this index; the options are those of `Qwen3VLRetriever`.

        Raises:
            TypeError: if an option is unknown.
            ValueError: if an option is out of range.
        """
        require_known(options, RETRIEVER_OPTIONS, "as_retriever")
        own: dict[str, Any] = {"callback_manager": self._callback_manager, "object_map": self._object_map}
        return Qwen3VLRetriever(self, **{**own, **options})

    def as_query_engine(
        self,
        llm: LLMType | None = None,  # pyright: ignore[reportUnknownParameterType] - as above
        *,
        multimodal: bool = True,
        **options: Any,
    ) -> BaseQueryEngine:
        """Returns a query engine whose language model sees what was found, and the images of the query.

        Args:
            llm: A chat model that takes images; by default `Settings.llm`.
            multimodal: `False` is LlamaIndex's `RetrieverQueryEngine`, for a language model that takes text alone.
            options: Those of `Qwen3VLRetriever`, and of `MultiModalQueryEngine` or `RetrieverQueryEngine.from_args`.

        Raises:
            TypeError: if an option is unknown.
            ValueError: if the language model is no chat model.
        """
        return build_query_engine(self, self._resolve_llm(llm), options, is_multimodal=multimodal)

    def as_chat_engine(
        self,
        chat_mode: ChatMode = ChatMode.BEST,
        llm: LLMType | None = None,  # pyright: ignore[reportUnknownParameterType] - as above
        *,
        multimodal: bool = True,
        **options: Any,
    ) -> BaseChatEngine:
        """Returns a chat engine whose language model sees what was found.

        LlamaIndex gives chat engines messages of text: what a user attaches, they do not see. For that, give
        `as_tool()` to an agent.

        Args:
            chat_mode: `"context"`, `"condense_plus_context"` (`"best"` is the same), `"condense_question"` or
                `"simple"`, which searches nothing.
            llm: A chat model that takes images; by default `Settings.llm`.
            multimodal: `False` for a language model that takes text alone.
            options: Those of `Qwen3VLRetriever` and of the engine.

        Raises:
            TypeError: if an option is unknown.
            ValueError: LlamaIndex no longer has the mode.
        """
        return build_chat_engine(self, chat_mode, self._resolve_llm(llm), options, is_multimodal=multimodal)

    def as_tool(
        self,
        *,
        name: str = "search_media",
        description: str = "Finds texts, images, pages and videos by what they say and show, and shows them.",
        **options: Any,
    ) -> FunctionTool:
        """Returns a tool for agents, which gets images back and may search by those that the user attached.

        Args:
            name: Name of the tool.
            description: When to use it, for the language model: say what is in the index.
            options: Those of `Qwen3VLRetriever` and of `multimodal_retriever_tool`.

        Raises:
            TypeError: if an option is unknown.
        """
        return build_tool(self, name, description, options)

    def _add_nodes_to_index(
        self, index_struct: IndexDict, nodes: Sequence[BaseNode], show_progress: bool = False, **insert_kwargs: Any
    ) -> None:
        prepared = self._prepare(nodes)
        # Without nodes, an index is only opened, perhaps to be searched while another process writes.
        with hold_store(self._vector_store) if prepared else nullcontext():
            for batch in _split(prepared, self._insert_batch_size):
                waiting = [placed for placed in batch if placed[1].embedding is None]
                with _place_errors(waiting):
                    vectors = self._embed_model.get_node_embeddings(
                        [node for _, node in waiting], show_progress=show_progress
                    )
                embedded = _add_vectors(batch, waiting, vectors)
                new_ids = replace_nodes(self._vector_store, embedded, **insert_kwargs)
                if self._keeps_nodes:
                    stripped = _register(index_struct, embedded, new_ids)
                    self._docstore.add_documents(stripped, allow_update=True)

    async def _async_add_nodes_to_index(
        self, index_struct: IndexDict, nodes: Sequence[BaseNode], show_progress: bool = False, **insert_kwargs: Any
    ) -> None:
        # In a thread: files are hashed, and data are written.
        prepared = await asyncio.to_thread(self._prepare, nodes)
        if prepared:
            # Each batch holds the store for itself: a lock belongs to a thread, and tasks share theirs.
            await asyncio.to_thread(require_writer, self._vector_store)
        for batch in _split(prepared, self._insert_batch_size):
            waiting = [placed for placed in batch if placed[1].embedding is None]
            with _place_errors(waiting):
                vectors = await self._embed_model.aget_node_embeddings(
                    [node for _, node in waiting], show_progress=show_progress
                )
            embedded = _add_vectors(batch, waiting, vectors)
            new_ids = await areplace_nodes(self._vector_store, embedded, **insert_kwargs)
            if self._keeps_nodes:
                stripped = _register(index_struct, embedded, new_ids)
                await self._docstore.async_add_documents(stripped, allow_update=True)

    @property
    def _keeps_nodes(self) -> bool:
        """Whether nodes are in the docstore, because the store keeps vectors alone."""
        return not self._vector_store.stores_text or self._store_nodes_override

    def _prepare(self, nodes: Sequence[BaseNode]) -> list[_Placed]:
        """The nodes as they are stored; of several with one id the last, as if they had come one after the other."""
        if nodes and isinstance(self._vector_store, MultimodalIndexStore):
            raise StoreError(
                "an index of the command line is read-only here; add files with MultimodalIndex.add or `qwen3vl index`"
            )
        prepared: dict[str, _Placed] = {}
        blank = 0
        keeps_scalars = is_flat(self._vector_store)
        for place, node in enumerate(nodes):
            if is_blank(node):
                blank += 1
                continue
            try:
                one = prepare_node(
                    node, self._media_folder, caption_mode=self._embed_model.caption_mode, is_flat=keeps_scalars
                )
            except InputError as error:
                raise error.at(place, role="node") from error
            prepared.pop(one.node_id, None)
            prepared[one.node_id] = (place, one)
        if blank:
            _LOGGER.warning("%d of %d nodes are left out: they have neither text nor media", blank, len(nodes))
        return list(prepared.values())

    def _finish(self, documents: Sequence[Document], nodes: Sequence[BaseNode]) -> None:
        kept = {node.node_id for node in nodes}
        for document in documents:
            self.remove_stale(document.node_id, kept)
            self.docstore.set_document_hash(document.node_id, hash_document(document))

    def _has_changed(self, document: Document) -> bool:
        return self.docstore.get_document_hash(document.node_id) != hash_document(document)

    def _forget(self, ref_doc_id: str) -> None:
        # LlamaIndex keeps the hash where the store keeps the nodes, and would take the document for unchanged.
        self.docstore.delete_document(ref_doc_id, raise_error=False)

    def _resolve_llm(self, llm: Any) -> Any:
        return Settings.llm if llm is None else resolve_llm(llm, callback_manager=self._callback_manager)


def _find_default_embedding() -> Any:
    """What `Settings` were given, or `None`: asking them would make a model of OpenAI where there is none."""
    return Settings._embed_model  # pyright: ignore[reportPrivateUsage] - LlamaIndex has no other way


def _split(nodes: Sequence[_Placed], size: int) -> Iterator[Sequence[_Placed]]:
    for first in range(0, len(nodes), size):
        yield nodes[first : first + size]


@contextmanager
def _place_errors(waiting: Sequence[_Placed]) -> Generator[None, None, None]:
    """Errors name the position in the list of the caller, some of which is not embedded."""
    try:
        yield
    except InputError as error:
        if error.index is None:
            raise
        raise error.at(waiting[error.index][0], role="node") from error


def _add_vectors(
    batch: Sequence[_Placed], waiting: Sequence[_Placed], vectors: Sequence[list[float]]
) -> list[BaseNode]:
    for (_, node), vector in zip(waiting, vectors, strict=True):
        node.embedding = vector
    return [node for _, node in batch]


def _register(index_struct: IndexDict, nodes: Sequence[BaseNode], new_ids: Sequence[str]) -> list[BaseNode]:
    """Notes the nodes in the structure of the index, and returns them without their vectors, which the store has."""
    stripped = [node.model_copy(update={"embedding": None}) for node in nodes]
    for node, new_id in zip(stripped, new_ids, strict=True):
        index_struct.add_node(node, text_id=new_id)
    return stripped
