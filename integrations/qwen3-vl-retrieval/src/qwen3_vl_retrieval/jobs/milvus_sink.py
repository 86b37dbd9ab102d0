"""A collection of Milvus, or of Milvus Lite in a file, as the target of a loading."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from typing import Any

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.chroma import STAMP
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

__all__ = ["MilvusSink"]

_PURPOSE, _EXTRA = "collections of Milvus", "milvus"

_TEXT_BYTES = 65_535
"""What a VARCHAR holds (https://milvus.io/docs/limitations.md)."""

_SOURCES_BYTES = 48 * 1024
"""The dynamic fields of a row have 64 kB together (https://milvus.io/docs/enable-dynamic-field.md)."""

_ID_CHARACTERS = 64

_SENT_ROWS = 200
"""A request has 64 MB at most: here 30 MB of the longest texts and vectors."""

_GROUP_ROWS = 1_000

_GRAPH = {"M": 32, "efConstruction": 200}

_INDEXES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "float32": ("HNSW", _GRAPH),
    "int8": ("HNSW_SQ", {**_GRAPH, "sq_type": "SQ8", "refine": True, "refine_type": "FP16"}),
}
"""Type and settings of the index by number format: eight bits are looked at first, and the best scored again."""


class MilvusSink(Sink):
    """Enters units in a collection, which is made if there is none, with an index by cosine.

    Fields are `id`, `text` and `vector`; the flat metadata, `sources` and `row_hash` are dynamic fields. A text is cut
    to the 65,535 bytes of a VARCHAR. The fingerprint is the description of the collection, and in a file of Milvus
    Lite, which keeps no descriptions, a property of it.

    Args:
        url: `milvus://host:port` or `http(s)://…` of a server; any other is a file of Milvus Lite, `NAME.db`.
        collection: Name of the collection: letters, digits and underscores.
        precision: Number format of a collection that is made: `"float32"`, or `"int8"` for the copies in its index.
        api_key: The token that the server asks for.
    """

    def __init__(
        self, url: str, *, collection: str, precision: SinkPrecision | None = None, api_key: str | None = None
    ) -> None:
        require_precision(precision, tuple(_INDEXES), "Milvus")
        self._address = f"http://{url.removeprefix('milvus://')}" if url.startswith("milvus://") else url
        self._is_file = "://" not in self._address
        if self._is_file and not self._address.endswith(".db"):
            raise ValueError(f"url={quote(url)} is neither a server nor a file of Milvus Lite; its name ends in .db")
        self._name = collection
        self._index, self._settings = _INDEXES["float32" if precision is None else precision]
        self._token = "" if api_key is None else api_key
        self._client: Any = None

    @property
    def vector_tolerance(self) -> float:
        """Nothing is rounded."""
        return TOLERANCES["float32"]

    def open(self, fingerprint: Fingerprint) -> None:
        """Opens the collection, or makes it."""
        pymilvus = import_extra("pymilvus", purpose=_PURPOSE, extra=_EXTRA)
        with explain_storage_errors(f"Milvus at {quote(self._address)} cannot be reached"):
            self._client = pymilvus.MilvusClient(uri=self._address, token=self._token)
        with self._explain():
            if not self._client.has_collection(self._name):
                self._create(pymilvus.DataType, fingerprint)
            described = self._client.describe_collection(self._name)
            self._client.load_collection(self._name)
        stamp = described["properties"].get(STAMP, described["description"])
        require_stamp(stamp, fingerprint, f"the collection {quote(self._name)}")

    def find_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Returns the row hashes of those of `ids` that the collection holds."""
        # Another client may have entered rows without one.
        return {row["id"]: row.get("row_hash", "") for row in self._get(ids, "row_hash")}

    def upsert(self, batch: ExportBatch, hashes: Sequence[str]) -> None:
        """Enters rows, a request for each two hundred."""
        rows = [
            {
                **metadata,
                "sources": _keep_sources(metadata["sources"]),
                "text": _cut_text(text),
                "vector": vector.astype(np.float32),
            }
            for metadata, text, vector in zip(describe_rows(batch, hashes), batch.texts, batch.vectors, strict=True)
        ]
        with self._explain():
            for first in range(0, len(rows), _SENT_ROWS):
                self._client.upsert(self._name, rows[first : first + _SENT_ROWS])

    def fetch_vectors(self, ids: Sequence[str]) -> Mapping[str, npt.NDArray[Any]]:
        """Returns the vectors of `ids`."""
        return {row["id"]: np.asarray(row["vector"], dtype=np.float32) for row in self._get(ids, "vector")}

    def iterate_ids(self) -> Iterator[Sequence[str]]:
        """Yields the ids of all rows."""
        if self._is_file:
            # Milvus Lite has everything in memory, and no timestamps, without which an iterator warns.
            with self._explain():
                rows = self._client.query(self._name, filter='id != ""', output_fields=["id"])
            yield [row["id"] for row in rows]
            return
        with self._explain():
            iterator = self._client.query_iterator(
                self._name, batch_size=_GROUP_ROWS, output_fields=["id"], consistency_level="Strong"
            )
        with closing(iterator):
            while True:
                with self._explain():
                    rows = iterator.next()
                if not rows:
                    return
                yield [row["id"] for row in rows]

    def delete(self, ids: Sequence[str]) -> None:
        """Removes rows."""
        with self._explain():
            for first in range(0, len(ids), _GROUP_ROWS):
                self._client.delete(self._name, ids=list(ids[first : first + _GROUP_ROWS]))

    def count(self) -> int:
        """Returns the number of rows."""
        with self._explain():
            (row,) = self._client.query(self._name, output_fields=["count(*)"], consistency_level="Strong")
        return int(row["count(*)"])

    def finish(self) -> None:
        """Writes what is in memory to segments, of which indexes are built."""
        with self._explain():
            self._client.flush(self._name)

    def close(self) -> None:
        """Closes the connection, or the file."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _create(self, types: Any, fingerprint: Fingerprint) -> None:
        stamp = json.dumps(fingerprint.to_dict())
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=True, description=stamp)
        schema.add_field("id", types.VARCHAR, is_primary=True, max_length=_ID_CHARACTERS)
        schema.add_field("text", types.VARCHAR, max_length=_TEXT_BYTES)
        schema.add_field("vector", types.FLOAT_VECTOR, dim=fingerprint.dimensions)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type=self._index, metric_type="COSINE", params=dict(self._settings))
        properties = {"properties": {STAMP: stamp}} if self._is_file else {}
        self._client.create_collection(self._name, schema=schema, index_params=index, **properties)

    def _get(self, ids: Sequence[str], field: str) -> list[Any]:
        with self._explain():
            return self._client.query(
                self._name, ids=list(ids), output_fields=["id", field], consistency_level="Strong"
            )

    def _explain(self) -> AbstractContextManager[None]:
        return explain_storage_errors(f"Milvus refuses the collection {quote(self._name)}")


def _cut_text(text: str | None) -> str:
    return "" if text is None else text.encode()[:_TEXT_BYTES].decode(errors="ignore")


def _keep_sources(sources: Sequence[str]) -> list[str]:
    """As many of the files that hold a unit as there is room for."""
    kept: list[str] = []
    room = _SOURCES_BYTES
    for source in sources:
        room -= len(json.dumps(source))
        if kept and room < 0:
            break
        kept.append(source)
    return kept
