"""A table of LanceDB as the target of a loading."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.store.parquet import (
    FLAT_COLUMNS,
    ExportBatch,
    build_table,
    import_pyarrow,
    read_fingerprint,
)
from qwen3_vl_retrieval.jobs.filesystems import explain_storage_errors
from qwen3_vl_retrieval.jobs.sink import TOLERANCES, Sink, SinkPrecision, require_precision
from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["LanceDbSink"]

_GROUP_ROWS = 10_000

_MEDIA_NAMES = ("image", "video")
"""Metadata of an image or a video that name its source."""

_TYPES: Mapping[SinkPrecision, npt.DTypeLike] = {"float32": np.float32, "float16": np.float16}


class LanceDbSink(Sink):
    """Enters units in a table, which is made if there is none.

    Columns are those of a part and `row_hash`. What a part has as JSON in `metadata` is in `own_metadata`, and
    `metadata` is a record of the flat metadata, where LlamaIndex reads them. The text of what has none is empty. The
    fingerprint is in the metadata of the schema.

    Args:
        path: Folder of the database, or a URL that LanceDB knows (`s3://…`).
        table: Name of the table.
        precision: Number format of a table that is made: `"float32"`, the default, or `"float16"`.
    """

    def __init__(self, path: str, *, table: str, precision: SinkPrecision | None = None) -> None:
        require_precision(precision, tuple(_TYPES), "LanceDB")
        self._precision: SinkPrecision = "float32" if precision is None else precision
        self._path = path
        self._name = table
        self._table: Any = None
        self._schema: Any = None

    @property
    def vector_tolerance(self) -> float:
        """What rounding to halves leaves, if they are halves."""
        return TOLERANCES[self._precision]

    def open(self, fingerprint: Fingerprint) -> None:
        """Opens the table, or makes it."""
        lancedb = import_extra("lancedb", purpose="tables of LanceDB", extra="lancedb")
        pyarrow = import_pyarrow()
        with self._explain():
            database = lancedb.connect(self._path)
            self._table = _find_table(database, self._name)
        if self._table is not None:
            self._schema = self._table.schema
            fingerprint.require_match(read_fingerprint(self._schema, f"the table {self._name!r}"))
            is_half = self._schema.field("vector").type.value_type == pyarrow.float16()
            self._precision = "float16" if is_half else "float32"
            return
        self._schema = _build_rows(fingerprint, self._make_empty(fingerprint), ()).schema
        with self._explain():
            self._table = database.create_table(self._name, schema=self._schema)

    def find_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Returns the row hashes of those of `ids` that the table holds."""
        found = self._find(ids, ["id", "row_hash"])
        return dict(zip(found.column("id").to_pylist(), found.column("row_hash").to_pylist(), strict=True))

    def upsert(self, batch: ExportBatch, hashes: Sequence[str]) -> None:
        """Enters rows in one version of the table."""
        texts = ["" if text is None else text for text in batch.texts]
        rows = replace(batch, texts=texts, vectors=batch.vectors.astype(_TYPES[self._precision]))
        table = _build_rows(read_fingerprint(self._schema, self._name), rows, hashes)
        is_new = not self.find_hashes(batch.ids)
        with self._explain():
            if is_new:
                # What a merge needs grows with the table (benchmarks/LOG.md, memory of `load`).
                self._table.add(table)
            else:
                self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(table)

    def fetch_vectors(self, ids: Sequence[str]) -> Mapping[str, npt.NDArray[Any]]:
        """Returns the vectors of `ids`."""
        found = self._find(ids, ["id", "vector"])
        vectors = [np.asarray(vector, dtype=np.float32) for vector in found.column("vector").to_pylist()]
        return dict(zip(found.column("id").to_pylist(), vectors, strict=True))

    def iterate_ids(self) -> Iterator[Sequence[str]]:
        """Yields the ids of all rows."""
        total = self.count()
        for first in range(0, total, _GROUP_ROWS):
            with self._explain():
                found = self._table.search().select(["id"]).offset(first).limit(_GROUP_ROWS).to_arrow()
            yield found.column("id").to_pylist()

    def delete(self, ids: Sequence[str]) -> None:
        """Removes rows."""
        with self._explain():
            for first in range(0, len(ids), _GROUP_ROWS):
                self._table.delete(_name_ids(ids[first : first + _GROUP_ROWS]))

    def count(self) -> int:
        """Returns the number of rows."""
        with self._explain():
            return int(self._table.count_rows())

    def finish(self) -> None:
        """Joins the small files of many batches."""
        with self._explain():
            self._table.optimize()

    def close(self) -> None:
        """Lets go of the table."""
        self._table = None

    def _make_empty(self, fingerprint: Fingerprint) -> ExportBatch:
        vectors = np.empty((0, fingerprint.dimensions), dtype=_TYPES[self._precision])
        return ExportBatch(ids=(), metadata=(), texts=(), contents=(), sources=(), vectors=vectors)

    def _find(self, ids: Sequence[str], columns: list[str]) -> Any:
        with self._explain():
            return self._table.search().where(_name_ids(ids)).select(columns).limit(len(ids)).to_arrow()

    def _explain(self) -> AbstractContextManager[None]:
        return explain_storage_errors(f"LanceDB refuses the table {quote(self._name)}")


def _find_table(database: Any, name: str) -> Any:
    """The table; `None` if there is none."""
    try:
        return database.open_table(name)
    except ValueError as error:
        if "was not found" in str(error):
            return None
        raise


def _build_rows(fingerprint: Fingerprint, batch: ExportBatch, hashes: Sequence[str]) -> Any:
    """The rows of a batch as a table of Arrow."""
    pyarrow = import_pyarrow()
    table = build_table(fingerprint, batch)
    texts = pyarrow.string()
    columns = {name: table.column(name).combine_chunks() for name in FLAT_COLUMNS}
    for name in _MEDIA_NAMES:
        columns[name] = pyarrow.array([metadata.get(name) for metadata in batch.metadata], texts)
    record = pyarrow.StructArray.from_arrays([*columns.values()], [*columns])
    names = ["own_metadata" if name == "metadata" else name for name in table.column_names]
    row_hash = pyarrow.field("row_hash", texts, nullable=False)
    rows = table.rename_columns(names).append_column("metadata", record)
    rows = rows.append_column(row_hash, pyarrow.array(list(hashes), texts))
    # Renaming forgets the fingerprint.
    return rows.replace_schema_metadata(table.schema.metadata)


def _name_ids(ids: Sequence[str]) -> str:
    return f"id IN ({', '.join(json.dumps(unit_id).replace(chr(34), chr(39)) for unit_id in ids)})"
