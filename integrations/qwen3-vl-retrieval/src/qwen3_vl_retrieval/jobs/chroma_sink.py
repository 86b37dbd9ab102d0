"""A collection of a Chroma server as the target of a loading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.chroma import STAMP, stamp_metadata
from qwen3_vl_retrieval.chroma.collection import GRAPH_SETTINGS
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.store.parquet import ExportBatch
from qwen3_vl_retrieval.jobs.filesystems import explain_storage_errors
from qwen3_vl_retrieval.jobs.sink import (
    TOLERANCES,
    Sink,
    SinkPrecision,
    describe_rows,
    require_precision,
    require_stamp,
)
from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["ChromaSink", "close_client"]

_PURPOSE, _EXTRA = "collections of Chroma", "chroma"

_PORT = 8000
"""Where `chroma run` listens."""

_GROUP_ROWS = 1_000


class ChromaSink(Sink):
    """Enters units in a collection of a Chroma server, which is made if there is none, by cosine.

    The text is the document, all else flat metadata; the fingerprint is in the metadata of the collection, where
    `Qwen3VLEmbeddingFunction` and the adapters look for it.

    Args:
        url: `chroma://host:port` or `http(s)://host:port` of the server.
        collection: Name of the collection.
        precision: `"float32"`: Chroma has no other.
    """

    def __init__(self, url: str, *, collection: str, precision: SinkPrecision | None = None) -> None:
        require_precision(precision, ("float32",), "Chroma")
        self._url, self._name = url, collection
        self._client: Any = None
        self._collection: Any = None

    @property
    def vector_tolerance(self) -> float:
        """Nothing is rounded."""
        return TOLERANCES["float32"]

    def open(self, fingerprint: Fingerprint) -> None:
        """Opens the collection, or makes it."""
        chromadb = import_extra("chromadb", purpose=_PURPOSE, extra=_EXTRA)
        config = import_extra("chromadb.config", purpose=_PURPOSE, extra=_EXTRA)
        errors = import_extra("chromadb.errors", purpose=_PURPOSE, extra=_EXTRA)
        address = urlsplit(self._url)
        with explain_storage_errors(f"Chroma at {quote(self._url)} cannot be reached"):
            self._client = chromadb.HttpClient(
                host=address.hostname,
                port=_PORT if address.port is None else address.port,
                ssl=address.scheme == "https",
                settings=config.Settings(anonymized_telemetry=False),
            )
        with self._explain():
            try:
                self._collection = self._client.get_collection(self._name, embedding_function=None)
            except errors.NotFoundError:
                self._collection = self._client.create_collection(
                    self._name,
                    configuration={"hnsw": dict(GRAPH_SETTINGS)},
                    metadata=stamp_metadata(None, fingerprint),
                    embedding_function=None,
                )
        metadata: Mapping[str, Any] | None = self._collection.metadata
        stamp = None if metadata is None else metadata.get(STAMP)
        require_stamp(stamp, fingerprint, f"the collection {quote(self._name)}")

    def find_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Returns the row hashes of those of `ids` that the collection holds."""
        found = self._get(ids, "metadatas")
        # Another client may have entered rows without one.
        return {unit_id: metadata.get("row_hash", "") for unit_id, metadata in found.items()}

    def upsert(self, batch: ExportBatch, hashes: Sequence[str]) -> None:
        """Enters rows, as many at a time as the server takes."""
        metadata = describe_rows(batch, hashes)
        vectors = batch.vectors.astype(np.float32)
        with self._explain():
            size = int(self._client.get_max_batch_size())
            for first in range(0, len(batch.ids), size):
                part = slice(first, first + size)
                self._collection.upsert(
                    ids=list(batch.ids[part]),
                    embeddings=vectors[part],
                    metadatas=metadata[part],
                    documents=["" if text is None else text for text in batch.texts[part]],
                )

    def fetch_vectors(self, ids: Sequence[str]) -> Mapping[str, npt.NDArray[Any]]:
        """Returns the vectors of `ids`."""
        found = self._get(ids, "embeddings")
        return {unit_id: np.asarray(vector, dtype=np.float32) for unit_id, vector in found.items()}

    def iterate_ids(self) -> Iterator[Sequence[str]]:
        """Yields the ids of all rows."""
        for first in range(0, self.count(), _GROUP_ROWS):
            with self._explain():
                yield self._collection.get(limit=_GROUP_ROWS, offset=first, include=[])["ids"]

    def delete(self, ids: Sequence[str]) -> None:
        """Removes rows."""
        with self._explain():
            for first in range(0, len(ids), _GROUP_ROWS):
                self._collection.delete(ids=list(ids[first : first + _GROUP_ROWS]))

    def count(self) -> int:
        """Returns the number of rows."""
        with self._explain():
            return int(self._collection.count())

    def finish(self) -> None:
        """Does nothing: Chroma builds its index by itself."""

    def close(self) -> None:
        """Closes the connection."""
        if self._client is not None:
            close_client(self._client)
            self._client = self._collection = None

    def _get(self, ids: Sequence[str], what: str) -> dict[str, Any]:
        with self._explain():
            found = self._collection.get(ids=list(ids), include=[what])
        return dict(zip(found["ids"], found[what], strict=True))

    def _explain(self) -> AbstractContextManager[None]:
        return explain_storage_errors(f"Chroma refuses the collection {quote(self._name)}")


def close_client(client: Any) -> None:
    """Closes a client of a server, and its connections, which chromadb 1.5.9 leaves open."""
    sessions: list[Any] = []
    # Under names of its own: when these change, connections are closed with the process, as they are by chromadb.
    with suppress(AttributeError):
        sessions = [part._server._session for part in (client, client._admin_client)]
    client.close()
    for session in sessions:
        session.close()
