"""One index of texts, pictures, pages and clips in one vector space, as a `VectorStoreIndex`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, Unpack

from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.data_structs.data_structs import IndexDict
from llama_index.core.schema import BaseNode, Document, IndexNode, TransformComponent
from llama_index.core.storage.storage_context import StorageContext
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.indices.qwen3_vl.engine_options import list_names, require_known
from llama_index.indices.qwen3_vl.file_insertion import FileInsertion
from llama_index.indices.qwen3_vl.file_nodes import Reading
from llama_index.indices.qwen3_vl.media_folders import MediaFolder
from llama_index.indices.qwen3_vl.options import (
    DEFAULT_COLLECTION,
    IndexOptions,
    NodeOptions,
    OpenOptions,
    find_default_embedding,
    open_storage,
)
from llama_index.indices.qwen3_vl.queryable import QueryableIndex
from llama_index.indices.qwen3_vl.stores import bind_store, build_summary, open_chroma_store
from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from llama_index.retrievers.qwen3_vl.multimodal_index_stores import MultimodalIndexStore
from llama_index.retrievers.qwen3_vl.sources import is_plain, open_multimodal_index, require_embedding
from qwen3_vl_retrieval import MediaPolicy, StoreError
from qwen3_vl_retrieval.index import FailedFile, MultimodalIndex
from qwen3_vl_retrieval.metadata import check_metadata

__all__ = ["UnifiedMultiModalIndex"]


class UnifiedMultiModalIndex(QueryableIndex):
    """An index of texts, pictures, pages of PDFs, clips and mixtures of them, each with one vector of one space.

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
        collection_name: Of Chroma, in `persist_dir`.
        media_dir: Folder for pictures and clips that are not files yet; by default `media` in `persist_dir`.
        index_struct: Of an index that was loaded.
        objects: Each `IndexNode` with what it stands for.
        transformations: Of documents of text.
        callback_manager: As in LlamaIndex.
        show_progress: Show progress bars.
        use_async: Embed the first nodes by asynchronous methods.
        insert_batch_size: Nodes that are embedded before they are written.
        others: None: options of `MultiModalVectorStoreIndex`, which has two spaces, fail with what to do instead.

    Raises:
        FingerprintMismatchError: The store has vectors of another space.
        InputError: A node cannot be read or kept; the message begins with its position.
        TypeError: An option is unknown.
        ValueError: The embedding is missing or of another kind, or more than one place to keep nodes is given.
    """

    def __init__(
        self,
        nodes: Sequence[BaseNode] | None = None,
        *,
        embed_model: Qwen3VLEmbedding | None = None,
        storage_context: StorageContext | None = None,
        vector_store: BasePydanticVectorStore | None = None,
        persist_dir: str | Path | None = None,
        collection_name: str = DEFAULT_COLLECTION,
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
        model = require_embedding(find_default_embedding() if embed_model is None else embed_model)
        context = open_storage(storage_context, vector_store, persist_dir, collection_name)
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
        """Returns an index of documents; those with a picture or clip become one node each, others are split.

        What a reader without the right parser has read as text, a picture or clip, is taken from its `file_path`.
        Options and errors are those of the class.
        """
        index = cls([], **options)
        index.insert_documents(documents)
        return index

    @classmethod
    def from_files(
        cls,
        paths: str | Path | Iterable[str | Path],
        *,
        on_error: Literal["raise", "skip"] = "raise",
        metadata: Mapping[str, str | int | float | bool] | None = None,
        window_seconds: float = 30.0,
        overlap_seconds: float = 5.0,
        cut_at_scenes: bool = False,
        **options: Unpack[IndexOptions],
    ) -> Self:
        """Returns an index of files and folders; arguments are those of `add_files`, options those of the class.

        Over a `persist_dir` that exists, what is there and unchanged is not embedded again.
        """
        index = cls([], **options)
        index.add_files(
            paths,
            on_error=on_error,
            metadata=metadata,
            window_seconds=window_seconds,
            overlap_seconds=overlap_seconds,
            cut_at_scenes=cut_at_scenes,
        )
        return index

    @classmethod
    def from_persist_dir(
        cls, persist_dir: str | Path, *, collection_name: str = DEFAULT_COLLECTION, **options: Unpack[OpenOptions]
    ) -> Self:
        """Returns the index that was made with `persist_dir`; options are those of the class.

        Raises:
            FingerprintMismatchError: Another embedding made it.
            StoreError: There is none.
        """
        if options.get("media_dir") is None:
            options["media_dir"] = Path(persist_dir).absolute() / "media"
        return cls([], vector_store=open_chroma_store(persist_dir, collection_name, must_exist=True), **options)

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
            options: Of the class.

        Raises:
            StoreError: There is none, or there are several.
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
            FingerprintMismatchError: Another embedding wrote it.
            StoreError: There is none.
            ValueError: Models were given for an open index, or none for a folder.
        """
        if isinstance(path_or_index, MultimodalIndex):
            if embed_model is not None or reranker is not None:
                raise ValueError("an open index has its models already; leave out embed_model and reranker")
            opened, stored = path_or_index, path_or_index.store.head.fingerprint
            # It embeds nothing, and is never loaded.
            embed_model = Qwen3VLEmbedding(stored.model)
        else:
            embed_model = require_embedding(find_default_embedding() if embed_model is None else embed_model)
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
        *,
        on_error: Literal["raise", "skip"] = "raise",
        metadata: Mapping[str, str | int | float | bool] | None = None,
        window_seconds: float = 30.0,
        overlap_seconds: float = 5.0,
        cut_at_scenes: bool = False,
    ) -> list[FailedFile]:
        """Adds files and folders, and returns what could not be read.

        A picture is one node, a PDF one per page, a clip one per window, a text one per chunk. What is there and
        unchanged is left alone; what a changed file no longer holds is removed. Files are removed by
        `delete_ref_doc(path)`, with the absolute path.

        Args:
            paths: Files of any kind that `qwen3vl index` reads, and folders with such files.
            on_error: `"raise"` ends at the first that cannot be read, `"skip"` adds the others; see `failures`.
            metadata: Of every node, as flat scalars.
            window_seconds: Length of a window of a clip.
            overlap_seconds: What a window shares with the one before.
            cut_at_scenes: Let windows end where the picture changes.

        Raises:
            InputError: A file cannot be read, and that is not to be skipped; or there is none. The message names it.
                Or no store can hold the `metadata`.
        """
        policy = self._media_folder.policy
        windows = {"window_seconds": window_seconds, "overlap_seconds": overlap_seconds, "cut_at_scenes": cut_at_scenes}
        rules = MediaPolicy() if policy is None else policy
        reading = Reading(policy=rules, options=windows, metadata={} if metadata is None else check_metadata(metadata))
        insertion = FileInsertion(self, reading, on_error=on_error)
        insertion.run(paths)
        self._failures += insertion.failures
        return insertion.failures
