"""Chroma for images, pages, videos and mixtures: what a document shows is embedded, and only where it is, is kept."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
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

from langchain_qwen3_vl.contents import LangChainItem, coerce_item
from langchain_qwen3_vl.documents import image_document, video_document
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.ingestion import BATCH_DOCUMENTS, DocumentIntake, Entry, FailedDocument, OnError
from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy, StoreError
from qwen3_vl_retrieval.chroma import ChromaDirectory, RepairedRow, SharedCollection, check_stamp, stamp_metadata
from qwen3_vl_retrieval.index import find_local_file, hash_file
from qwen3_vl_retrieval.items import check_text
from qwen3_vl_retrieval.metadata import check_metadata
from qwen3_vl_retrieval.paths import encode_name, encode_path

__all__ = ["MultimodalChroma"]

_COLUMNS = ("ids", "embeddings", "metadatas", "documents", "uris", "data")
"""Fields of what Chroma finds: each has an entry per row, or is `None`."""

Condition: TypeAlias = "dict[str, Any] | None"
"""On metadata or texts, in Chroma's language; `None` is none."""


_CONTENT = "urn:sha256:"
"""Begins the `uri` of a row, where Chroma keeps what belongs to a record and is no metadata of the caller's."""

_ROWS_AT_ONCE = 5_000
"""Chroma takes 5,461 rows at once (`get_max_batch_size` of chromadb 1.5.9), and its SQLite 32,766 values."""


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
        collection_name: As in `Chroma`, like all arguments that are not described here.
        embedding_function: Its fingerprint is written into a new collection, and must be that of an existing one. If
            it is `None`, the store can be read by id and by vector.
        persist_directory: Folder of an embedded Chroma.
        client_settings: Settings of the client; without any, a `persist_directory` is opened with telemetry off.
        collection_configuration: Configuration of a new collection; vectors are compared by cosine if it does not say
            otherwise.
        client: A ready client. Its store is neither locked nor opened afresh.
        lock_timeout_seconds: How long a writer waits for another process that writes into `persist_directory`.

    Raises:
        FingerprintMismatchError: The collection holds vectors of another space.
        StoreError: The folder cannot be opened.
        ValueError: Arguments exclude each other.

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
            InputError: A document cannot be embedded or kept; the message begins with its position. The batches
                before it are kept.
            StoreError: Somebody else is writing, or the store has no embeddings.
            ValueError: There are not as many ids as documents, `batch_size` is below 1, or `on_error` is unknown.
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
            InputError: As in `add_documents`.
            StoreError: As in `add_documents`.
            ValueError: There are more metadata than texts, or as in `add_documents`.
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
            InputError: An image cannot be read; the message begins with its position.
            StoreError: As in `add_documents`.
            ValueError: The lists are not of one length.
        """
        return self._add_media(image_document, uris, metadatas, ids, texts, batch_size=batch_size, on_error=on_error)

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
        return self._add_media(_make_video, uris, metadatas, ids, texts, batch_size=batch_size, on_error=on_error)

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
            InputError: The image cannot be read.
            StoreError: The store has no embeddings that see images.
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
            embedding: Embedding of the query.
            k: Documents at most.
            fetch_k: Nearest documents among which they are chosen; `k` if that is more.
            lambda_mult: 1 is for nearness alone, 0 for variety.
            filter: Condition on metadata.
            where_document: Condition on texts.
            kwargs: Options of Chroma's `Collection.query`.
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
        groups = [] if not isinstance(ids, list) else list(_split_ids(ids))
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
            StoreError: Somebody else is writing.
        """
        with self._write_batch() as collection:
            if ids is None:
                collection.delete(**kwargs)
                return
            for some in _split_ids(ids):
                collection.delete(ids=some, **kwargs)

    def delete_collection(self) -> None:
        """Deletes the collection with all rows; `reset_collection` makes it again.

        Raises:
            StoreError: Somebody else is writing.
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
            StoreError: Somebody else is writing.
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
            StoreError: Somebody else is writing, or it is no folder of Chroma.
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
            StoreError: Another process, or another object of this one, goes on writing.
        """
        with self._writing if self._shared is None else self._shared.write():
            yield self._collection

    @contextmanager
    def _write_batch(self) -> Generator[Collection, None, None]:
        """Holds the store while rows are written at once, which readers see afterwards."""
        with self._writing if self._shared is None else self._shared.write_batch():
            yield self._collection

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

    def _add_media(
        self,
        make: Callable[..., Document],
        uris: Iterable[Any],
        metadatas: Sequence[Mapping[str, Any] | None] | None,
        ids: Sequence[str | None] | None,
        texts: Sequence[str] | None,
        **options: Any,
    ) -> list[str]:
        sources = list(uris)
        captions = [""] * len(sources) if texts is None else texts
        if len(captions) != len(sources):
            raise ValueError(f"{len(captions)} texts were given for {len(sources)} items; give one for each")
        rows = zip(sources, _fill_metadata(metadatas, len(sources)), captions, strict=True)
        media_dir = None if self._shared is None else self._shared.directory.folder / "media"
        made = (_make(make, source, text=text, metadata=known, media_dir=media_dir) for source, known, text in rows)
        return self._add(made, ids, **options)

    def _write_entries(self, intake: DocumentIntake, entries: Sequence[Entry]) -> None:
        """Embeds what is new or changed, and writes it."""
        embeddings = self._find_embeddings()
        rows = self._build_rows(intake, entries, embeddings)
        if not rows:
            return
        collection = self._collection
        changes = _compare_rows(collection, rows)
        entry_by_id = {entry.id: entry for entry in entries}
        vectors = intake.embed(embeddings, [entry_by_id[row.id] for row in changes.embedded])
        vectors |= _read_vectors(collection, changes.relabelled)
        written = [row for row in (*changes.embedded, *changes.relabelled) if row.id in vectors]
        if written:
            with self._write_batch() as collection:
                _write_rows(collection, written, vectors, changes.known)

    def _build_rows(self, intake: DocumentIntake, entries: Sequence[Entry], embeddings: Embeddings) -> list[_Row]:
        rows: list[_Row] = []
        for entry in entries:
            try:
                rows.append(_build_row(entry.document, entry.id, embeddings))
            except InputError as error:
                intake.refuse(entry.place, entry.document, error)
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


def _make_video(source: Any, *, metadata: Mapping[str, Any], **options: Any) -> Document:
    start, end = metadata.get("start"), metadata.get("end")
    return video_document(source, start=start, end=end, metadata=metadata, **options)


def _make(make: Callable[..., Document], source: object, **options: Any) -> Document | InputError:
    """What `make` returns, or why it does not: a generator that raises has no next document."""
    try:
        return make(source, **options)
    except InputError as error:
        return error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A document as it is kept.

    Attributes:
        id: Id of the row.
        document: The document.
        metadata: Its metadata as Chroma keeps them; `None` if there are none.
        content: Names what the model sees of it; `None` if that is not known, and it is embedded each time.
    """

    id: str
    document: Document
    metadata: dict[str, Any] | None
    content: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowChanges:
    """What has to be done so that a collection holds some rows.

    Attributes:
        embedded: Rows that are new, or whose vector would be another one.
        relabelled: Rows whose vector stays, and whose text or metadata are others.
        known: Ids of given rows that the collection holds already.
    """

    embedded: tuple[_Row, ...]
    relabelled: tuple[_Row, ...]
    known: frozenset[str]


def _split_ids(ids: Sequence[str]) -> Iterator[list[str]]:
    """Yields ids in groups that Chroma takes at once."""
    for first in range(0, len(ids), _ROWS_AT_ONCE):
        yield list(ids[first : first + _ROWS_AT_ONCE])


def _build_row(document: Document, row_id: str, embeddings: Embeddings) -> _Row:
    """Returns the row of a document.

    Raises:
        InputError: The document is not understood, or Chroma cannot keep its id or metadata.
    """
    if not check_text(row_id, "the id"):
        raise InputError("the id is empty; give one with a character at least, or none")
    check_text(document.page_content, "the text")
    metadata = check_metadata(document.metadata, allow_lists=True)
    content = None
    # Of other embeddings it is not known whether a vector would be the same again.
    if isinstance(embeddings, Qwen3VLEmbeddings):
        content = _CONTENT + _hash_content(
            document, media_key=embeddings.media_key, media_policy=embeddings.media_policy
        )
    return _Row(id=row_id, document=document, metadata=metadata if metadata else None, content=content)


def _compare_rows(collection: Collection, rows: Sequence[_Row]) -> _RowChanges:
    """Returns what differs between rows and those of the same ids in the collection."""
    found = collection.get(ids=[row.id for row in rows], include=["metadatas", "documents", "uris"])  # pyright: ignore[reportArgumentType] - "uris" is missing in Chroma's type
    texts = cast("Sequence[str | None]", found["documents"])
    metadatas = cast("Sequence[Mapping[str, Any] | None]", found["metadatas"])
    contents = cast("Sequence[str | None]", found["uris"])
    stored = {
        row_id: (content, text, dict(metadata) if metadata else None)
        for row_id, content, text, metadata in zip(found["ids"], contents, texts, metadatas, strict=True)
    }
    embedded: list[_Row] = []
    relabelled: list[_Row] = []
    for row in rows:
        was = stored.get(row.id)
        if was is None or row.content is None or was[0] != row.content:
            embedded.append(row)
        elif was[1:] != (row.document.page_content, row.metadata):
            relabelled.append(row)
    return _RowChanges(embedded=tuple(embedded), relabelled=tuple(relabelled), known=frozenset(stored))


def _read_vectors(collection: Collection, rows: Sequence[_Row]) -> dict[str, npt.NDArray[np.float32]]:
    """Returns the stored vectors of rows by id."""
    if not rows:
        return {}
    found = collection.get(ids=[row.id for row in rows], include=["embeddings"])
    vectors = zip(found["ids"], cast("Iterable[Any]", found["embeddings"]), strict=True)
    return {row_id: np.asarray(vector, dtype=np.float32) for row_id, vector in vectors}


def _write_rows(
    collection: Collection, rows: Sequence[_Row], vectors: Mapping[str, npt.NDArray[np.float32]], known: Set[str]
) -> None:
    """Writes rows with their vectors, which are found by id.

    Those among the `known` ids are deleted first: changing a row takes Chroma five to twenty times as long.
    """
    replaced = [row.id for row in rows if row.id in known]
    if replaced:
        collection.delete(ids=replaced)
    has_contents = all(row.content is not None for row in rows)
    collection.add(
        ids=[row.id for row in rows],
        embeddings=[vectors[row.id] for row in rows],
        # Chroma's type knows no rows without metadata; its code does.
        metadatas=cast("Any", [row.metadata for row in rows]),
        documents=[row.document.page_content for row in rows],
        uris=cast("list[str]", [row.content for row in rows]) if has_contents else None,
    )


def _hash_content(document: Document, *, media_key: str | None, media_policy: MediaPolicy | None) -> str:
    """The SHA-256 of what the model sees of a document: whether it would still have the vector that is stored for it.

    Texts count where they are embedded, files by their bytes, and names of files not at all. So an image that is
    replaced behind the same name is embedded again, and one that is renamed, or has another caption, is not. URLs count
    by their names: what they lead to now is not known without asking. Files that the policy refuses are not hashed:
    embedding them is refused anyway.
    """
    metadata = document.metadata
    if metadata.get("media_type") == "page" and media_key is None and metadata.get("image") is None:
        # Rendered when it is embedded, not twice.
        content = ["page", _name_content(metadata.get("source"), media_policy), metadata.get("page")]
    else:
        item = coerce_item(document, media_key=media_key, media_policy=media_policy)
        content = item if isinstance(item, str) else _name_content(item, media_policy)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _name_content(value: Any, media_policy: MediaPolicy | None) -> Any:
    """The item of a document with hashes in place of images and videos."""
    match value:
        case Mapping():
            item = cast("Mapping[str, Any]", value)
            return {
                name: _name_content(inner, media_policy) if name in ("image", "video") else inner
                for name, inner in item.items()
            }
        case list() | tuple():
            return [_name_content(inner, media_policy) for inner in cast("Sequence[Any]", value)]
        case str() | Path():
            return _hash_source(value, media_policy)
        case _:
            return repr(value)


def _hash_source(source: str | Path, media_policy: MediaPolicy | None) -> str:
    name = encode_path(source) if isinstance(source, Path) else encode_name(source)
    path = find_local_file(name)
    if path is None:
        return name
    try:
        return hash_file(path, media_policy)
    except MediaError:
        # Missing, refused, a folder or a device: reading it for the model says what is wrong.
        return f"unread {name}"
