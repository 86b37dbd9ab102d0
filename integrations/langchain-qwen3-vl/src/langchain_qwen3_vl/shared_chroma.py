"""A Chroma that several processes may share: one vector space, one writer at a time, and readers that keep up."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self, cast

from chromadb import Collection
from chromadb.api import ClientAPI
from chromadb.api.collection_configuration import CreateCollectionConfiguration
from chromadb.api.types import Where, WhereDocument
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings
from chromadb.errors import ChromaError
from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings

from langchain_qwen3_vl.chroma_directories import ChromaDirectory, close_client
from langchain_qwen3_vl.chroma_rows import split_ids
from langchain_qwen3_vl.chroma_stamps import check_stamp, stamp_metadata
from langchain_qwen3_vl.document_vectors import find_fingerprint
from qwen3_vl_retrieval import StoreError
from qwen3_vl_retrieval.errors import explain, quote
from qwen3_vl_retrieval.index import RepairedRow

__all__ = ["SharedChroma"]

_COLUMNS = ("ids", "embeddings", "metadatas", "documents", "uris", "data")
"""Of what Chroma finds: each has an entry per row, or is `None`."""

_GONE = -1
"""Rows of a collection that was deleted."""


class SharedChroma(Chroma):
    """What `MultimodalChroma` is beside its media.

    Args:
        collection_name: As in `Chroma`, like the rest up to `ssl`.
        embedding_function: Its fingerprint is written into a new collection, and must be that of an existing one. If
            it is `None`, the store can be read by id and by vector.
        persist_directory: Folder of an embedded Chroma.
        host: Of a server.
        port: Of a server.
        headers: For a server.
        chroma_cloud_api_key: For Chroma Cloud.
        tenant: Of the client.
        database: Of the client.
        client_settings: Of the client; of a `persist_directory` without any, telemetry is off.
        collection_metadata: Of a new collection.
        collection_configuration: Of a new collection; vectors are compared by cosine if it does not say otherwise.
        client: A ready client, instead of the above. Its store is neither locked nor opened afresh.
        relevance_score_fn: Turns distances into relevance.
        create_collection_if_not_exists: Whether a collection may be made.
        ssl: Whether a server is asked by TLS.
        lock_timeout_seconds: How long a writer waits for another process that writes into `persist_directory`.

    Raises:
        FingerprintMismatchError: The collection holds vectors of another space.
        StoreError: The folder cannot be opened.
        ValueError: Arguments exclude each other.
    """

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
        self._writing, self._opening = threading.RLock(), threading.RLock()
        self._is_writing = False
        self._fingerprint = find_fingerprint(embedding_function)
        self._directory: ChromaDirectory | None = None
        if persist_directory is not None and client is None and host is None and chroma_cloud_api_key is None:
            self._directory = ChromaDirectory(
                Path(persist_directory).absolute(),
                Settings(anonymized_telemetry=False) if client_settings is None else client_settings,
                tenant=DEFAULT_TENANT if tenant is None else tenant,
                database=DEFAULT_DATABASE if database is None else database,
                lock_timeout_seconds=lock_timeout_seconds,
            )
            persist_directory = None
        is_space_chosen = collection_metadata is not None and "hnsw:space" in collection_metadata
        if collection_configuration is None and not is_space_chosen:
            collection_configuration = {"hnsw": {"space": "cosine"}}
        with self._hold_clients():
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
                collection_metadata=stamp_metadata(collection_metadata, self._fingerprint),
                collection_configuration=collection_configuration,
                client=client if self._directory is None else self._directory.open_client(),
                relevance_score_fn=relevance_score_fn,
                create_collection_if_not_exists=create_collection_if_not_exists,
                ssl=ssl,
            )
            self._adopt()

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
        settings = Settings(anonymized_telemetry=False)
        folder = Path(persist_directory).absolute()
        return ChromaDirectory(folder, settings, lock_timeout_seconds=lock_timeout_seconds).repair()

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

    @property
    def _collection(self) -> Collection:
        """The collection as it is on the disk now; the methods of the base class come here for each query."""
        if self._directory is not None:
            self._directory.require_process()
        if self._chroma_collection is not None:
            self._refresh()
        return super()._collection

    @contextmanager
    def _write(self) -> Generator[Collection, None, None]:
        """Holds the store for writing; threads of this object wait for each other.

        Raises:
            StoreError: Another process, or another object of this one, goes on writing.
        """
        if self._directory is not None:
            self._directory.require_process()
        with self._writing:
            if self._is_writing:
                yield super()._collection
                return
            with nullcontext() if self._directory is None else self._directory.hold_writer():
                with self._opening:
                    self._refresh()
                    self._is_writing = True
                try:
                    yield super()._collection
                finally:
                    self._see(None if self._directory is None else self._directory.leave_mark())
                    self._is_writing = False

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
        found = [super(SharedChroma, self).get(ids=some, **conditions) for some in groups]
        first = 0 if offset is None else offset
        last = None if limit is None else first + limit
        merged = dict(found[0])
        for name in _COLUMNS:
            columns = [rows[name] for rows in found if rows.get(name) is not None]
            if columns:
                merged[name] = [value for column in columns for value in column][first:last]
        return merged

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> None:
        """Deletes rows.

        Args:
            ids: Of the rows; what does not exist is no error.
            kwargs: `where` and `where_document` of Chroma's `Collection.delete`, instead of or beside `ids`.

        Raises:
            StoreError: Somebody else is writing.
        """
        with self._write() as collection:
            if ids is None:
                collection.delete(**kwargs)
                return
            for some in split_ids(ids):
                collection.delete(ids=some, **kwargs)

    def delete_collection(self) -> None:
        """Deletes the collection with all rows; `reset_collection` makes it again.

        Raises:
            StoreError: Somebody else is writing.
        """
        with self._write():
            super().delete_collection()

    def reset_collection(self) -> None:
        """Deletes the collection with all rows, and makes an empty one.

        Raises:
            StoreError: Somebody else is writing.
        """
        with self._writing if self._chroma_collection is None else self._write():
            if self._chroma_collection is not None:
                super().delete_collection()
            self._chroma_collection = self._client.get_or_create_collection(
                name=self._collection_name,
                embedding_function=None,
                metadata=cast("dict[str, Any] | None", self._collection_metadata),
                configuration=self._collection_configuration,
            )
            if self._directory is not None:
                self._reopen(self._directory)

    def _hold_clients(self) -> AbstractContextManager[None]:
        return nullcontext() if self._directory is None else self._directory.hold_clients()

    def _refresh(self) -> None:
        """Opens the folder afresh if somebody else has written to it."""
        # While this object writes, nobody else does.
        if self._directory is None or self._is_writing or not self._is_stale(self._directory):
            return
        with self._opening:
            if not self._is_writing and self._is_stale(self._directory):
                self._reopen(self._directory)

    def _is_stale(self, directory: ChromaDirectory) -> bool:
        mark, rows = self._seen
        # Other programs leave no mark, but most of what they do changes the number of rows.
        return directory.read_mark() != mark or super()._collection.count() != rows

    def _reopen(self, directory: ChromaDirectory) -> None:
        with directory.hold_clients():
            mark = directory.read_mark()
            client = directory.open_client()
            collection = client.get_collection(self._collection_name, embedding_function=None)
            self._client, self._chroma_collection = client, collection
            self._adopt(mark)

    def _adopt(self, mark: str | None = None) -> None:
        """Takes what was just opened for what is to be asked."""
        collection = super()._collection
        if self._directory is not None:
            # Not before the last query that runs on it has returned.
            weakref.finalize(collection, close_client, self._client).atexit = False
            # A deleted collection must not take the client along.
            self._kept = collection
        self._see(mark)
        if self._embedding_function is not None:
            check_stamp(collection, self._fingerprint)

    def _see(self, mark: str | None) -> None:
        if self._directory is None:
            return
        rows = _GONE if self._chroma_collection is None else _count_rows(self._chroma_collection, self._directory)
        self._seen = (self._directory.read_mark() if mark is None else mark, rows)


def _count_rows(collection: Collection, directory: ChromaDirectory) -> int:
    try:
        return collection.count()
    except ChromaError as error:
        raise StoreError(
            f"Chroma cannot read the collection {quote(collection.name)} in {quote(directory.folder)}: "
            f"{explain(error)}. If its log is unreadable, MultimodalChroma.repair (or qwen3vl repair) mends it"
        ) from error
