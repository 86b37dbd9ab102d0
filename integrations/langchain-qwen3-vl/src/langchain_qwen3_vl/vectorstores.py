"""Chroma for images, pages, videos and mixtures: what a document shows is embedded, and only where it is, is kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias, cast, runtime_checkable

import numpy as np
from chromadb import Collection
from chromadb.api import ClientAPI
from chromadb.api.collection_configuration import CreateCollectionConfiguration
from chromadb.api.types import Where, WhereDocument
from chromadb.config import Settings
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from PIL import Image

from langchain_qwen3_vl.chroma_rows import Row, build_row, compare_rows, read_vectors, split_ids, write_rows
from langchain_qwen3_vl.contents import LangChainItem
from langchain_qwen3_vl.documents import image_document, video_document
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.ingestion import BATCH_DOCUMENTS, DocumentIntake, Entry, FailedDocument, OnError
from qwen3_vl_retrieval import InputError, StoreError
from qwen3_vl_retrieval.chroma import ChromaDirectory, RepairedRow, SharedCollection, check_stamp, stamp_metadata

__all__ = ["MultimodalChroma"]

_COLUMNS = ("ids", "embeddings", "metadatas", "documents", "uris", "data")
"""Of what Chroma finds: each has an entry per row, or is `None`."""

Condition: TypeAlias = "dict[str, Any] | None"
"""On metadata or texts, in Chroma's language; `None` is none."""


@runtime_checkable
class _ImageEmbeddings(Protocol):
    """Embeddings of others that see images, as langchain_chroma calls them."""

    def embed_image(self, uris: list[Any]) -> list[list[float]]: ...


class MultimodalChroma(Chroma):
    """A `Chroma` whose documents may be images, pages, videos and mixtures.

    A document is what its metadata say (see `image_document`, `video_document`, `Qwen3VLFolderLoader`): all of the
    methods of `Chroma` work with such documents, and every query may be anything that `LangChainItem` names. Files are
    named, not copied; base64 is never stored.

    ```python
    from langchain_qwen3_vl import MultimodalChroma, Qwen3VLEmbeddings

    store = MultimodalChroma("papers", Qwen3VLEmbeddings(), persist_directory="store")
    store.add_images(["invoice.png", "chart.png"], metadatas=[{"year": 2024}, {"year": 2025}])
    store.similarity_search("Which month sold best?", k=1, filter={"year": 2025})
    ```

    Documents are embedded and written in batches, each of which is kept. One that has an id and is unchanged (bytes of
    its files included) is not embedded again. The collection carries the fingerprint of the embeddings and refuses
    others. In a `persist_directory` one process writes at a time; what others write is found from the next query on,
    unless they use a client of their own and leave the number of rows as it was.

    Args:
        collection_name: As in `Chroma`, like the rest up to `ssl`.
        embedding_function: Its fingerprint is written into a new collection, and must be that of an existing one. If
            it is `None`, the store can be read by id and by vector.
        persist_directory: Folder of an embedded Chroma.
        host: Name of a server.
        port: Port of a server.
        headers: HTTP headers for a server.
        chroma_cloud_api_key: Key for Chroma Cloud.
        tenant: Tenant of the client.
        database: Database of the client.
        client_settings: Settings of the client; without any, a `persist_directory` is opened with telemetry off.
        collection_metadata: Metadata of a new collection.
        collection_configuration: Configuration of a new collection; vectors are compared by cosine if it does not say
            otherwise.
        client: A ready client, instead of the above. Its store is neither locked nor opened afresh.
        relevance_score_fn: Turns distances into relevance.
        create_collection_if_not_exists: Whether a collection may be made.
        ssl: Whether a server is asked by TLS.
        lock_timeout_seconds: How long a writer waits for another process that writes into `persist_directory`.

    Raises:
        FingerprintMismatchError: if the collection holds vectors of another space.
        StoreError: if the folder cannot be opened.
        ValueError: if arguments exclude each other.

    Attributes:
        failures: What the last call that added documents left out, with `on_error="skip"`, and why.
    """

    failures: tuple[FailedDocument, ...] = ()

    def __init__(
        self,
        collection_name: str = Chroma._LANGCHAIN_DEFAULT_COLLECTION_NAME,  # pyright: ignore[reportPrivateUsage] - the default of the base class
        embedding_function: Embeddings | None = None,
        persist_directory: str | Path | None = None,
        host: str | None = None,
        port: int | None = None,
        headers: dict[str, str] | None = None,
        chroma_cloud_api_key: str | None = None,
        tenant: str | None = None,
        database: str | None = None,
        client_settings: Settings | None = None,
        collection_metadata: dict[str, Any] | None = None,
        collection_configuration: CreateCollectionConfiguration | None = None,
        client: ClientAPI | None = None,
        relevance_score_fn: Callable[[float], float] | None = None,
        create_collection_if_not_exists: bool | None = True,
        *,
        ssl: bool = False,
        lock_timeout_seconds: float = 10.0,
    ) -> None:
        self._writing = threading.RLock()
        self._fingerprint = (
            embedding_function.fingerprint if isinstance(embedding_function, Qwen3VLEmbeddings) else None
        )
        self._shared: SharedCollection | None = None
        if collection_configuration is None and "hnsw:space" not in (collection_metadata or {}):
            collection_configuration = {"hnsw": {"space": "cosine"}}
        metadata = stamp_metadata(collection_metadata, self._fingerprint)
        if persist_directory is not None and client is None and host is None and chroma_cloud_api_key is None:
            self._shared = SharedCollection(
                ChromaDirectory(
                    persist_directory,
                    settings=client_settings,
                    tenant=tenant,
                    database=database,
                    lock_timeout_seconds=lock_timeout_seconds,
                ),
                collection_name,
                metadata=metadata,
                configuration=collection_configuration,
                must_exist=not create_collection_if_not_exists,
            )
            client, persist_directory = self._shared.client, None
        super().__init__(
            collection_name=collection_name,
            embedding_function=embedding_function,
            # A folder beside a server is left to the base class, which refuses it.
            persist_directory=None if persist_directory is None else str(persist_directory),
            host=host,
            port=port,
            headers=headers,
            chroma_cloud_api_key=chroma_cloud_api_key,
            tenant=tenant,
            database=database,
            client_settings=client_settings,
            collection_metadata=metadata,
            collection_configuration=collection_configuration,
            client=client,
            relevance_score_fn=relevance_score_fn,
            create_collection_if_not_exists=create_collection_if_not_exists,
            ssl=ssl,
        )
        self._take_shared()
        if embedding_function is None:
            return
        if self._shared is None:
            check_stamp(super()._collection, self._fingerprint)
        else:
            self._shared.bind(self._fingerprint)

    def __copy__(self) -> Self:
        # A store stands for what is on the disk, with locks and a client that cannot be copied.
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Copies of a chain share its store, as they share its models.
        return self

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled: its client and locks belong to this process; open the store by "
            "its persist_directory where it is needed"
        )

    def add_documents(  # pyright: ignore[reportIncompatibleMethodOverride] - other options fail instead of being ignored
        self,
        documents: Iterable[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int = BATCH_DOCUMENTS,
        on_error: OnError = "raise",
    ) -> list[str]:
        """Adds documents; those of the same ids are replaced, or left alone if they are unchanged.

        Args:
            documents: Also an iterator, which is read batch by batch.
            ids: One for each document, or `None` in its place; by default the ids that they have. Who has none is
                given a random one.
            batch_size: Documents that are embedded and written at once.
            on_error: What becomes of a document that cannot be embedded or kept, such as one of a damaged image.
                `"raise"` raises its error; `"skip"` logs a warning, and stores the others. What was stored under its
                id stays, and `failures` has it.

        Returns:
            The ids of what is stored, in the order of the documents.

        Raises:
            InputError: if a document cannot be embedded or kept; the message begins with its position. The batches
                before it are kept.
            StoreError: if somebody else is writing, or the store has no embeddings.
            ValueError: if there are not as many ids as documents, `batch_size` is below 1, or `on_error` is unknown.
        """
        return self._add(documents, ids, batch_size=batch_size, on_error=on_error)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any] | None] | None = None,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Adds texts, or what `metadatas` say that they are captions of.

        Args:
            texts: Page contents.
            metadatas: One for each text; missing ones are empty.
            ids: As in `add_documents`.
            kwargs: `batch_size` and `on_error` of `add_documents`; any other fails.

        Returns:
            The ids of what is stored, in the order of the texts.

        Raises:
            InputError: as in `add_documents`.
            StoreError: as in `add_documents`.
            ValueError: if there are more metadata than texts, or as in `add_documents`.
        """
        contents = list(texts)
        documents = (
            Document(page_content=text, metadata=dict(metadata))
            for text, metadata in zip(contents, _fill_metadata(metadatas, len(contents)), strict=True)
        )
        return self.add_documents(documents, ids=ids, **kwargs)

    def add_images(  # pyright: ignore[reportIncompatibleMethodOverride] - takes more than the base class does
        self,
        uris: Iterable[str | Path | bytes | Image.Image],
        metadatas: Sequence[Mapping[str, Any] | None] | None = None,
        ids: Sequence[str | None] | None = None,
        *,
        texts: Sequence[str] | None = None,
        batch_size: int = BATCH_DOCUMENTS,
        on_error: OnError = "raise",
    ) -> list[str]:
        """Adds images. Their URIs are kept, and their pixels stay in their files.

        Args:
            uris: Paths or URIs; with a `persist_directory` also encoded bytes and PIL images, which are written to its
                folder `media`.
            metadatas: One for each image; missing ones are empty.
            ids: As in `add_documents`.
            texts: Captions, one for each, which are embedded together with the image; none by default.
            batch_size: As in `add_documents`.
            on_error: As in `add_documents`.

        Returns:
            The ids of what is stored, in the order of the images.

        Raises:
            InputError: if an image cannot be read; the message begins with its position.
            StoreError: as in `add_documents`.
            ValueError: if the lists are not of one length.
        """
        sources = list(uris)
        filled, captions = _fill_metadata(metadatas, len(sources)), _fill_texts(texts, len(sources))
        documents = (
            _make(image_document, source, text=text, metadata=metadata, media_dir=self._media_dir)
            for source, metadata, text in zip(sources, filled, captions, strict=True)
        )
        return self._add(documents, ids, batch_size=batch_size, on_error=on_error)

    def add_videos(
        self,
        uris: Iterable[str | Path | bytes],
        metadatas: Sequence[Mapping[str, Any] | None] | None = None,
        ids: Sequence[str | None] | None = None,
        *,
        texts: Sequence[str] | None = None,
        batch_size: int = BATCH_DOCUMENTS,
        on_error: OnError = "raise",
    ) -> list[str]:
        """Adds videos; arguments, result and errors are those of `add_images`.

        `start` and `end` among the metadata, in seconds, are the window of the video that is embedded.
        """
        sources = list(uris)
        filled, captions = _fill_metadata(metadatas, len(sources)), _fill_texts(texts, len(sources))
        documents = (
            _make(
                video_document,
                source,
                start=metadata.get("start"),
                end=metadata.get("end"),
                text=text,
                metadata=metadata,
                media_dir=self._media_dir,
            )
            for source, metadata, text in zip(sources, filled, captions, strict=True)
        )
        return self._add(documents, ids, batch_size=batch_size, on_error=on_error)

    def update_documents(self, ids: list[str], documents: list[Document]) -> None:
        """Replaces documents; those that do not exist are added. Errors as in `add_documents`."""
        self.add_documents(documents, ids=ids)

    def similarity_search_by_image(
        self,
        uri: str | Path | bytes | Image.Image,
        k: int = 4,
        filter: Condition = None,  # noqa: A002 - the name in LangChain
        **kwargs: Any,
    ) -> list[Document]:
        """Returns the documents nearest to an image, nearest first.

        Args:
            uri: Path, URI or the image itself.
            k: Documents at most.
            filter: Condition on metadata.
            kwargs: `where_document`.

        Raises:
            InputError: if the image cannot be read.
            StoreError: if the store has no embeddings that see images.
        """
        found = self.similarity_search_by_image_with_relevance_score(uri, k, filter, **kwargs)
        return [document for document, _ in found]

    def similarity_search_by_image_with_relevance_score(
        self,
        uri: str | Path | bytes | Image.Image,
        k: int = 4,
        filter: Condition = None,  # noqa: A002 - the name in LangChain
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        """Returns the same as `similarity_search_by_image`, with the relevance of each: higher is better.

        For cosine, the default, that is the cosine itself.
        """
        found = self.similarity_search_by_vector_with_relevance_scores(self._embed_image(uri), k, filter, **kwargs)
        score = self._select_relevance_score_fn()
        return [(document, score(distance)) for document, distance in found]

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Condition = None,  # noqa: A002 - the name in LangChain
        where_document: Condition = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Returns documents that are near to the vector and unlike each other, in the order in which they were chosen.

        Args:
            embedding: Of the query.
            k: Documents at most.
            fetch_k: Nearest documents among which they are chosen; `k` if that is more.
            lambda_mult: 1 is for nearness alone, 0 for variety.
            filter: Condition on metadata.
            where_document: Condition on texts.
            kwargs: Of Chroma's `Collection.query`.
        """
        found = self._collection.query(
            query_embeddings=[np.asarray(embedding, dtype=np.float32)],
            n_results=max(fetch_k, k),
            where=filter,
            where_document=cast("Any", where_document),
            include=["metadatas", "documents", "embeddings"],
            **kwargs,
        )
        rows = list(_read_rows(found))
        if not rows:
            return []
        chosen = maximal_marginal_relevance(
            np.asarray(embedding, dtype=np.float32), [vector for _, vector in rows], lambda_mult=lambda_mult, k=k
        )
        return [rows[place][0] for place in chosen]

    async def asimilarity_search(self, query: LangChainItem, k: int = 4, **kwargs: Any) -> list[Document]:
        """Returns the same as `similarity_search`; concurrent callers share forward passes."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **kwargs)]

    async def asimilarity_search_with_score(
        self, query: LangChainItem, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Returns the same as `similarity_search_with_score`; concurrent callers share forward passes."""
        vector = await self._find_embeddings().aembed_query(cast("str", query))
        return await asyncio.to_thread(self.similarity_search_by_vector_with_relevance_scores, vector, k, **kwargs)

    async def amax_marginal_relevance_search(
        self, query: LangChainItem, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Returns the same as `max_marginal_relevance_search`; concurrent callers share forward passes."""
        vector = await self._find_embeddings().aembed_query(cast("str", query))
        return await asyncio.to_thread(
            self.max_marginal_relevance_search_by_vector, vector, k, fetch_k, lambda_mult, **kwargs
        )

    def get(
        self,
        ids: str | list[str] | None = None,
        where: Where | None = None,
        limit: int | None = None,
        offset: int | None = None,
        where_document: WhereDocument | None = None,
        include: list[str] | None = None,
    ) -> dict[str, Any]:
        """Returns rows as `Chroma.get` does, of however many ids."""
        conditions: dict[str, Any] = {"where": where, "where_document": where_document, "include": include}
        groups = [] if not isinstance(ids, list) else list(split_ids(ids))
        if len(groups) < 2:
            return super().get(ids=ids, limit=limit, offset=offset, **conditions)
        found = [super(MultimodalChroma, self).get(ids=some, **conditions) for some in groups]
        first = 0 if offset is None else offset
        last = None if limit is None else first + limit
        merged = dict(found[0])
        for name in _COLUMNS:
            columns = [rows[name] for rows in found if rows.get(name) is not None]
            if columns:
                merged[name] = [value for column in columns for value in column][first:last]
        return merged

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Returns the documents of those ids that exist, in the order of `ids`."""
        if not ids:
            return []
        found = self.get(ids=list(dict.fromkeys(ids)))
        rows = zip(found["ids"], found["documents"], found["metadatas"], strict=True)
        documents = {row[0]: _build_document(*row) for row in rows}
        return [documents[row_id] for row_id in ids if row_id in documents]

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> None:
        """Deletes rows.

        Args:
            ids: Ids of the rows; what does not exist is no error.
            kwargs: `where` and `where_document` of Chroma's `Collection.delete`, instead of or beside `ids`.

        Raises:
            StoreError: if somebody else is writing.
        """
        with self._write_batch() as collection:
            if ids is None:
                collection.delete(**kwargs)
                return
            for some in split_ids(ids):
                collection.delete(ids=some, **kwargs)

    def delete_collection(self) -> None:
        """Deletes the collection with all rows; `reset_collection` makes it again.

        Raises:
            StoreError: if somebody else is writing.
        """
        with self._write():
            if self._shared is None:
                super().delete_collection()
            else:
                self._shared.drop()
                self._take_shared()

    def reset_collection(self) -> None:
        """Deletes the collection with all rows, and makes an empty one.

        Raises:
            StoreError: if somebody else is writing.
        """
        if self._shared is not None:
            self._shared.reset()
            self._take_shared()
            return
        with self._writing:
            if self._chroma_collection is not None:
                super().delete_collection()
            self._chroma_collection = self._client.get_or_create_collection(
                name=self._collection_name,
                embedding_function=None,
                metadata=cast("dict[str, Any] | None", self._collection_metadata),
                configuration=self._collection_configuration,
            )

    @staticmethod
    def repair(persist_directory: str | Path, *, lock_timeout_seconds: float = 10.0) -> list[RepairedRow]:
        """Makes a folder usable again whose log Chroma cannot read, because a list among the metadata held a NaN.

        The rows stay, without that list, and so does everything else. Such a list is refused here, and plain Chroma
        takes it. Let no other process have the folder open meanwhile. `qwen3vl repair` does the same.

        Args:
            persist_directory: The folder.
            lock_timeout_seconds: How long to wait for another process to finish writing.

        Returns:
            The rows that lost something.

        Raises:
            StoreError: if somebody else is writing, or it is no folder of Chroma.
        """
        return ChromaDirectory(persist_directory, lock_timeout_seconds=lock_timeout_seconds).repair()

    @property
    def _collection(self) -> Collection:
        """The collection as it is on the disk now; the methods of the base class come here for each query."""
        if self._shared is not None:
            self._shared.refresh()
            self._take_shared()
        return super()._collection

    def _take_shared(self) -> None:
        if self._shared is not None:
            self._client, self._chroma_collection = self._shared.client, self._shared.collection

    @contextmanager
    def _write(self) -> Generator[Collection, None, None]:
        """Holds the store for writing; threads of this object wait for each other.

        Raises:
            StoreError: if another process, or another object of this one, goes on writing.
        """
        with self._writing if self._shared is None else self._shared.write():
            yield self._collection

    @contextmanager
    def _write_batch(self) -> Generator[Collection, None, None]:
        """Holds the store while rows are written at once, which readers see afterwards."""
        with self._writing if self._shared is None else self._shared.write_batch():
            yield self._collection

    @property
    def _media_dir(self) -> Path | None:
        return None if self._shared is None else self._shared.directory.folder / "media"

    def _add(
        self,
        documents: Iterable[Document | InputError],
        ids: Sequence[str | None] | None,
        *,
        batch_size: int,
        on_error: OnError,
    ) -> list[str]:
        intake = DocumentIntake(on_error=on_error)
        try:
            with self._write():
                size = min(batch_size, self._client.get_max_batch_size())
                return intake.store(documents, ids, batch_size=size, write=partial(self._write_entries, intake))
        finally:
            self.failures = tuple(intake.failures)

    def _write_entries(self, intake: DocumentIntake, entries: Sequence[Entry]) -> None:
        """Embeds what is new or changed, and writes it."""
        embeddings = self._find_embeddings()
        rows = self._build_rows(intake, entries, embeddings)
        if not rows:
            return
        collection = self._collection
        changes = compare_rows(collection, rows)
        entry_by_id = {entry.id: entry for entry in entries}
        vectors = intake.embed(embeddings, [entry_by_id[row.id] for row in changes.embedded])
        vectors |= read_vectors(collection, changes.relabelled)
        written = [row for row in (*changes.embedded, *changes.relabelled) if row.id in vectors]
        if written:
            with self._write_batch() as collection:
                write_rows(collection, written, vectors, changes.known)

    def _build_rows(self, intake: DocumentIntake, entries: Sequence[Entry], embeddings: Embeddings) -> list[Row]:
        rows: list[Row] = []
        for entry in entries:
            try:
                row = build_row(
                    entry.document,
                    entry.id,
                    is_hashed=self._fingerprint is not None,
                    media_key=getattr(embeddings, "media_key", None),
                    media_policy=getattr(embeddings, "media_policy", None),
                )
            except InputError as error:
                intake.refuse(entry.place, entry.document, error)
            else:
                rows.append(row)
        return rows

    def _find_embeddings(self) -> Embeddings:
        if self._embedding_function is None:
            raise StoreError("the store was opened without embeddings; give embedding_function=Qwen3VLEmbeddings(…)")
        return self._embedding_function

    def _embed_image(self, uri: str | Path | bytes | Image.Image) -> list[float]:
        embeddings = self._find_embeddings()
        if isinstance(embeddings, Qwen3VLEmbeddings):
            return embeddings.embed_query({"image": uri})
        if isinstance(embeddings, _ImageEmbeddings):
            return list(embeddings.embed_image(uris=[uri])[0])
        raise StoreError(f"{type(embeddings).__name__} embeds texts alone; use Qwen3VLEmbeddings")


def _build_document(row_id: str, text: str | None, metadata: dict[str, Any] | None) -> Document:
    # Rows of other programs may have neither.
    return Document(page_content="" if text is None else text, metadata={} if metadata is None else metadata, id=row_id)


def _read_rows(found: Any) -> Iterable[tuple[Document, Any]]:
    """The documents of the first query, with their vectors."""
    columns = (found[name][0] for name in ("ids", "documents", "metadatas", "embeddings"))
    for row_id, text, metadata, vector in zip(*columns, strict=True):
        yield _build_document(row_id, text, metadata), vector


def _fill_metadata(metadatas: Sequence[Mapping[str, Any] | None] | None, count: int) -> list[Mapping[str, Any]]:
    given: list[Mapping[str, Any]] = [
        {} if metadata is None else metadata for metadata in (() if metadatas is None else metadatas)
    ]
    if len(given) > count:
        raise ValueError(f"{len(given)} metadatas were given for {count} items; give one for each")
    return [*given, *({} for _ in range(count - len(given)))]


def _fill_texts(texts: Sequence[str] | None, count: int) -> Sequence[str]:
    if texts is None:
        return [""] * count
    if len(texts) != count:
        raise ValueError(f"{len(texts)} texts were given for {count} items; give one for each")
    return texts


def _make(make: Callable[..., Document], source: object, **options: Any) -> Document | InputError:
    """What `make` returns, or why it does not: a generator that raises has no next document."""
    try:
        return make(source, **options)
    except InputError as error:
        return error
