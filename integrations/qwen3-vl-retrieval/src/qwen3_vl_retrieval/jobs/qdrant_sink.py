"""A collection of Qdrant as the target of a loading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.chroma import STAMP, stamp_metadata
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

__all__ = ["QdrantSink"]

_PURPOSE, _EXTRA = "collections of Qdrant", "qdrant"

_TIMEOUT_SECONDS = 60

_SENT_ROWS = 100
"""Qdrant takes requests of 32 MB (`max_request_size_mb` of its config/config.yaml); 4,096 numbers as JSON are some
90 kB."""

_GROUP_ROWS = 1_000

_NEIGHBORS, _CANDIDATES = 32, 200
"""Twice Qdrant's own: more of the nearest are found at 2,048 dimensions."""

_FILTERED = ("metadata.media_type", "metadata.source")


class QdrantSink(Sink):
    """Enters units in a collection, which is made if there is none, by cosine.

    The payload is what `QdrantVectorStore` of langchain-qdrant reads: the text is `page_content`, all else is in
    `metadata`. An id is the UUID of the first 32 digits of the unit's, which is whole in `metadata.id`. The fingerprint
    is in the metadata of the collection (Qdrant 1.16).

    Args:
        url: `qdrant://host:port` or `http(s)://…` of a server; any other is the folder of Qdrant's local mode, which
            compares with each vector and is for some 20,000 of them.
        collection: Name of the collection.
        precision: Number format of a collection that is made: `"float32"`, `"float16"`, or float16 on the disk with
            copies in memory as `"int8"` or `"binary"`. The local mode has float32 only.
        api_key: The key that the server asks for.
    """

    def __init__(
        self, url: str, *, collection: str, precision: SinkPrecision | None = None, api_key: str | None = None
    ) -> None:
        self._server = _find_server(url)
        if self._server is None:
            require_precision(precision, ("float32",), "the local mode of Qdrant")
        require_precision(precision, ("float32", "float16", "int8", "binary"), "Qdrant")
        self._url, self._name, self._api_key = url, collection, api_key
        self._precision: SinkPrecision = "float32" if precision is None else precision
        self._client: Any = None
        self._tolerance = TOLERANCES["float32"]

    @property
    def vector_tolerance(self) -> float:
        """What rounding to halves leaves, if they are halves."""
        return self._tolerance

    def open(self, fingerprint: Fingerprint) -> None:
        """Opens the collection, or makes it."""
        qdrant = import_extra("qdrant_client", purpose=_PURPOSE, extra=_EXTRA)
        with explain_storage_errors(f"Qdrant at {quote(self._url)} cannot be opened"):
            if self._server is None:
                self._client = qdrant.QdrantClient(path=str(Path(self._url)))
            else:
                self._client = qdrant.QdrantClient(
                    url=self._server, api_key=self._api_key, timeout=_TIMEOUT_SECONDS, check_compatibility=False
                )
        with self._explain():
            if not self._client.collection_exists(self._name):
                self._create(qdrant.models, fingerprint)
            config = self._client.get_collection(self._name).config
        metadata: Mapping[str, Any] | None = config.metadata
        stamp = None if metadata is None else metadata.get(STAMP)
        require_stamp(stamp, fingerprint, f"the collection {quote(self._name)}")
        is_half = config.params.vectors.datatype == qdrant.models.Datatype.FLOAT16
        self._tolerance = TOLERANCES["float16" if is_half else "float32"]

    def find_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Returns the row hashes of those of `ids` that the collection holds."""
        found = self._retrieve(ids, ["metadata.id", "metadata.row_hash"], with_vectors=False)
        return {_read_id(point): point.payload["metadata"]["row_hash"] for point in found}

    def upsert(self, batch: ExportBatch, hashes: Sequence[str]) -> None:
        """Enters rows, a request for each hundred."""
        models = import_extra("qdrant_client.models", purpose=_PURPOSE, extra=_EXTRA)
        rows = zip(batch.ids, batch.vectors, batch.texts, describe_rows(batch, hashes), strict=True)
        points = (
            models.PointStruct(
                id=_make_uuid(unit_id),
                vector=vector.astype(np.float32).tolist(),
                payload={"page_content": "" if text is None else text, "metadata": metadata},
            )
            for unit_id, vector, text, metadata in rows
        )
        with self._explain():
            self._client.upload_points(self._name, points, batch_size=_SENT_ROWS, wait=True)

    def fetch_vectors(self, ids: Sequence[str]) -> Mapping[str, npt.NDArray[Any]]:
        """Returns the vectors of `ids`."""
        found = self._retrieve(ids, ["metadata.id"], with_vectors=True)
        return {_read_id(point): np.array(point.vector, dtype=np.float32) for point in found}

    def iterate_ids(self) -> Iterator[Sequence[str]]:
        """Yields the ids of all rows."""
        offset: Any = None
        while True:
            with self._explain():
                points, offset = self._client.scroll(
                    self._name, limit=_GROUP_ROWS, offset=offset, with_payload=["metadata.id"], with_vectors=False
                )
            yield [_read_id(point) for point in points]
            if offset is None:
                return

    def delete(self, ids: Sequence[str]) -> None:
        """Removes rows."""
        with self._explain():
            for first in range(0, len(ids), _GROUP_ROWS):
                some = [_make_uuid(unit_id) for unit_id in ids[first : first + _GROUP_ROWS]]
                self._client.delete(self._name, points_selector=some, wait=True)

    def count(self) -> int:
        """Returns the number of rows."""
        with self._explain():
            return int(self._client.count(self._name, exact=True).count)

    def finish(self) -> None:
        """Does nothing: Qdrant builds its index by itself."""

    def close(self) -> None:
        """Closes the connection, or the folder."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _create(self, models: Any, fingerprint: Fingerprint) -> None:
        is_whole = self._precision == "float32"
        self._client.create_collection(
            self._name,
            vectors_config=models.VectorParams(
                size=fingerprint.dimensions,
                distance=models.Distance.COSINE,
                datatype=models.Datatype.FLOAT32 if is_whole else models.Datatype.FLOAT16,
                # Copies in memory are looked at first, and the originals read for the best of them.
                on_disk=self._precision in ("int8", "binary"),
            ),
            hnsw_config=models.HnswConfigDiff(m=_NEIGHBORS, ef_construct=_CANDIDATES),
            quantization_config=_build_quantization(models, self._precision),
            metadata=stamp_metadata(None, fingerprint),
        )
        if self._server is not None:
            # Before rows are there: the graph gets links for filters only while it is built. The local mode has none.
            for name in _FILTERED:
                self._client.create_payload_index(self._name, name, models.PayloadSchemaType.KEYWORD, wait=True)

    def _retrieve(self, ids: Sequence[str], fields: list[str], *, with_vectors: bool) -> list[Any]:
        with self._explain():
            return self._client.retrieve(
                self._name,
                ids=[_make_uuid(unit_id) for unit_id in ids],
                with_payload=fields,
                with_vectors=with_vectors,
            )

    def _explain(self) -> AbstractContextManager[None]:
        return explain_storage_errors(f"Qdrant refuses the collection {quote(self._name)}")


def _find_server(url: str) -> str | None:
    """The URL that the client wants; `None` for a folder."""
    if url.startswith("qdrant://"):
        return f"http://{url.removeprefix('qdrant://')}"
    return url if url.startswith(("http://", "https://")) else None


def _build_quantization(models: Any, precision: SinkPrecision) -> Any:
    match precision:
        case "int8":
            # The outermost hundredth would make the steps of all others wider.
            scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
            return models.ScalarQuantization(scalar=scalar)
        case "binary":
            return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
        case _:
            return None


def _make_uuid(unit_id: str) -> str:
    # Qdrant's ids are UUIDs or whole numbers; a unit's is a hash of 40 hexadecimal digits.
    return str(UUID(unit_id[:32]))


def _read_id(point: Any) -> str:
    return point.payload["metadata"]["id"]
