"""A store as one Parquet file, which every data tool reads: ids, metadata, texts and vectors; and back again.

Every row is a unit. Metadata that stores filter by have columns of their own (`media_type`, `source`, `page`, `start`,
`end`, `width`, `height`, `mime_type`, `sha256`), the rest is one JSON object in `metadata`; beside them are `id`,
`sources`, `text`, `content` and `vector`, a list of fixed length.

Halves stay halves: the file is half as large, and pyarrow, pandas, DuckDB and Polars read them (`FLOAT16` is a type of
Parquet since 2.10 of its format, of 2023). The fingerprint of the vectors is in the key-value metadata of the file, as
JSON under `qwen3_vl_retrieval.fingerprint`.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import numpy as np
from jaxtyping import Float

from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.store.catalog import ITEM_PREFIX, RESERVED_NAMES, Place, Record
from qwen3_vl_retrieval.index.store.store import Batch, Store

__all__ = [
    "FLAT_COLUMNS",
    "ROW_GROUP_ROWS",
    "ExportBatch",
    "build_batch",
    "build_table",
    "export_store",
    "import_pyarrow",
    "import_store",
    "read_fingerprint",
    "read_parquet",
    "write_parquet",
]

_BATCH_ROWS = 4096

ROW_GROUP_ROWS = 4096
"""Rows that are in memory at a time, and that a reader can skip together: 34 MB of float32 at 2,048 dimensions."""

_FINGERPRINT_KEY, _VERSION_KEY = "qwen3_vl_retrieval.fingerprint", "qwen3_vl_retrieval.export_version"

_VERSION = "1"

_REQUIRED_COLUMNS = ("id", "sources", "metadata", "vector")

FLAT_COLUMNS: Mapping[str, type[str | int | float]] = {
    "media_type": str,
    "source": str,
    "page": int,
    "start": float,
    "end": float,
    "width": int,
    "height": int,
    "mime_type": str,
    "sha256": str,
}
"""Metadata with a column of their own, so that any tool can filter by them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExportBatch:
    """Units in the order of their vectors; everything has one entry per row.

    Attributes:
        ids: Ids of the units.
        metadata: Flat scalars that travel with a unit, the caller's own among them.
        texts: Chunk or text layer; `None` if there is none.
        contents: Items that were given in memory, as the store encodes them; `None` for units of files.
        sources: The files that hold each unit.
        vectors: float32 or float16.
    """

    ids: Sequence[str]
    metadata: Sequence[Mapping[str, Any]]
    texts: Sequence[str | None]
    contents: Sequence[str | None]
    sources: Sequence[Sequence[str]]
    vectors: Float[np.ndarray, "n dimensions"]

    def __post_init__(self) -> None:
        """Raises `ValueError` if not everything has one entry per row."""
        lengths = {name: len(getattr(self, name)) for name in self.__slots__}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"everything in a batch must have one entry per row, got {lengths}")


def write_parquet(
    path: str | Path,
    fingerprint: Fingerprint,
    batches: Iterable[ExportBatch],
    *,
    notes: Mapping[str, str] | None = None,
) -> int:
    """Returns the number of rows written to `path`, which appears there, or is replaced, when it is whole.

    No more than a batch and a row group are in memory. Whatever fails, nothing half-written is left behind.

    Args:
        path: The file; its folder must exist.
        fingerprint: Identity of the vectors.
        batches: All of one dtype, float32 or float16; none at all make an empty file.
        notes: More key-value metadata of the file.

    Raises:
        StoreError: The file cannot be written, a vector is not finite or not of the fingerprint's length, metadata
            are not JSON, or pyarrow is not installed.
    """
    pyarrow, parquet = _import_pyarrow()
    remaining = iter(batches)
    first = next(remaining, None)
    schema = _build_schema(pyarrow, fingerprint, np.dtype(np.float32) if first is None else first.vectors.dtype)
    if notes is not None:
        schema = schema.with_metadata({**schema.metadata, **notes})
    everything = remaining if first is None else chain([first], remaining)
    rows = 0
    with _Target(Path(path), pyarrow, parquet, schema) as target:
        for group in _regroup(pyarrow, (_build_table(pyarrow, schema, batch) for batch in everything)):
            target.write(group)
            rows += group.num_rows
        target.finish()
    return rows


def read_parquet(path: str | Path) -> tuple[Fingerprint, Iterator[ExportBatch]]:
    """Returns the fingerprint of a file that `write_parquet` wrote, and its rows, at most `ROW_GROUP_ROWS` at a time.

    Metadata come back as they were given, with `source` added where it was only among the sources. The vectors are
    read-only. The file is open until the last batch has been taken.

    Raises:
        StoreError: The file cannot be read, is damaged, was not written by `write_parquet`, or pyarrow is not
            installed; also while iterating.
        FingerprintMismatchError: The fingerprint is of another version of this package.
    """
    pyarrow, parquet = _import_pyarrow()
    shown = str(path)
    with _explain_failure(pyarrow, f"{shown!r} cannot be read; give a file that write_parquet wrote"):
        file = parquet.ParquetFile(shown)
    try:
        fingerprint = _read_head(pyarrow, file.schema_arrow, shown)
    except BaseException:
        file.close()
        raise
    return fingerprint, _iterate_batches(pyarrow, file, shown)


def import_pyarrow() -> Any:
    """Returns pyarrow, untyped.

    Raises:
        StoreError: It is not installed.
    """
    return _import_pyarrow()[0]


def build_table(fingerprint: Fingerprint, batch: ExportBatch) -> Any:
    """Returns a batch as a table of Arrow, with the fingerprint in the metadata of its schema.

    Raises:
        StoreError: A vector is not finite or not of the fingerprint's length, or pyarrow is not installed.
    """
    pyarrow = import_pyarrow()
    return _build_table(pyarrow, _build_schema(pyarrow, fingerprint, batch.vectors.dtype), batch)


def read_fingerprint(schema: Any, shown: str) -> Fingerprint:
    """Returns the fingerprint in the metadata of a schema; `shown` names what it belongs to.

    Raises:
        StoreError: There is none.
        FingerprintMismatchError: It is of another version of this package.
    """
    stored: Mapping[bytes, bytes] = {} if schema.metadata is None else schema.metadata
    if _FINGERPRINT_KEY.encode() not in stored:
        raise StoreError(f"{shown} does not say where its vectors come from; give another")
    return Fingerprint.from_dict(json.loads(stored[_FINGERPRINT_KEY.encode()]))


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        return cast("Any", importlib.import_module("pyarrow")), cast("Any", importlib.import_module("pyarrow.parquet"))
    except ImportError as error:
        raise StoreError('Parquet files need pyarrow: pip install "qwen3-vl-retrieval[parquet]"') from error


@contextmanager
def _explain_failure(pyarrow: Any, what: str) -> Generator[None, None, None]:
    # Besides its own, pyarrow raises what Python has for a file, a value or a type that will not do.
    try:
        yield
    except (OSError, ValueError, TypeError, pyarrow.ArrowException) as error:
        raise StoreError(f"{what} ({type(error).__name__}: {error})") from error


def _build_schema(pyarrow: Any, fingerprint: Fingerprint, dtype: np.dtype[Any]) -> Any:
    if dtype.name not in ("float32", "float16"):
        raise StoreError(f"the vectors are {dtype}; allowed are float32 and float16: convert them first")
    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    # The elements of lists are named as the format prescribes, or writing would rename them.
    value = pyarrow.field("element", pyarrow.from_numpy_dtype(dtype))
    types: dict[str, Any] = {
        "id": pyarrow.string(),
        **{name: kinds[kind] for name, kind in FLAT_COLUMNS.items()},
        "sources": pyarrow.list_(pyarrow.field("element", pyarrow.string())),
        **dict.fromkeys(("text", "content", "metadata"), pyarrow.string()),
        "vector": pyarrow.list_(value, fingerprint.dimensions),
    }
    fields = [pyarrow.field(name, types[name], nullable=name not in _REQUIRED_COLUMNS) for name in types]
    stamp = json.dumps(fingerprint.to_dict())
    return pyarrow.schema(fields, metadata={_FINGERPRINT_KEY: stamp, _VERSION_KEY: _VERSION})


def _build_table(pyarrow: Any, schema: Any, batch: ExportBatch) -> Any:
    kind = schema.field("vector").type
    # Not `to_pandas_dtype`, which asks for pandas in older versions of pyarrow.
    dtype = np.dtype(np.float16 if kind.value_type == pyarrow.float16() else np.float32)
    _check_vectors(batch, dimensions=kind.list_size, dtype=dtype)
    with _explain_failure(pyarrow, "rows cannot be written; texts must be characters, metadata text and numbers"):
        split = [_split_metadata(*row) for row in zip(batch.metadata, batch.sources, strict=True)]
        columns: dict[str, Any] = {
            "id": batch.ids,
            **{name: [flat.get(name) for flat, _ in split] for name in FLAT_COLUMNS},
            "sources": batch.sources,
            "text": batch.texts,
            "content": batch.contents,
            "metadata": [own for _, own in split],
        }
        arrays = [pyarrow.array(values, schema.field(name).type) for name, values in columns.items()]
        values = pyarrow.array(np.ascontiguousarray(batch.vectors).reshape(-1))
        vectors = pyarrow.FixedSizeListArray.from_arrays(values, type=kind)
        return pyarrow.Table.from_arrays([*arrays, vectors], schema=schema)


def _check_vectors(batch: ExportBatch, *, dimensions: int, dtype: np.dtype[Any]) -> None:
    vectors = batch.vectors
    if vectors.dtype != dtype or vectors.shape[1] != dimensions:
        raise StoreError(
            f"vectors of {vectors.shape[1]} dimensions in {vectors.dtype} among those of {dimensions} in {dtype}, as "
            "the fingerprint and the first batch say; export vectors of one kind"
        )
    is_finite = np.isfinite(vectors).all(axis=1)
    if not is_finite.all():
        raise StoreError(f"the vector of {batch.ids[int(np.argmin(is_finite))]!r} is not finite; embed it again")


def _split_metadata(metadata: Mapping[str, Any], sources: Sequence[str]) -> tuple[dict[str, str | int | float], str]:
    """What has a column of its own, and the rest as JSON: other names, and values of another type than the column's."""
    flat = {name: value for name, value in metadata.items() if name in FLAT_COLUMNS and _fits(name, value)}
    own = {name: value for name, value in metadata.items() if name not in flat}
    if "source" not in metadata and sources:
        flat["source"] = sources[0]
    return flat, json.dumps(own, ensure_ascii=False, allow_nan=False)


def _fits(name: str, value: Any) -> bool:
    kind = FLAT_COLUMNS[name]
    if type(value) is int:
        # Up to here a double holds every whole number.
        return kind is not str and abs(value) <= 2**53
    return type(value) is kind and (kind is str or math.isfinite(cast("float", value)))


def _regroup(pyarrow: Any, tables: Iterable[Any]) -> Iterator[Any]:
    """The same rows, in tables of `ROW_GROUP_ROWS` and a last one of the rest."""
    pending: Any = None
    for table in tables:
        pending = table if pending is None else pyarrow.concat_tables([pending, table])
        while pending.num_rows >= ROW_GROUP_ROWS:
            yield pending.slice(0, ROW_GROUP_ROWS)
            pending = pending.slice(ROW_GROUP_ROWS)
    if pending is not None and pending.num_rows:
        yield pending


class _Target:
    """A file that gets its name when it is whole, and leaves nothing behind when it is not."""

    def __init__(self, path: Path, pyarrow: Any, parquet: Any, schema: Any) -> None:
        self._path, self._pyarrow, self._what = path, pyarrow, f"{str(path)!r} cannot be written"
        self._temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
        with _explain_failure(pyarrow, self._what):
            self._file = self._temporary.open("xb")
        # A dictionary helps where values repeat, and vectors do not.
        options: dict[str, Any] = {"compression": "zstd", "use_dictionary": ["media_type", "mime_type"]}
        self._writer = parquet.ParquetWriter(self._file, schema, **options)

    def write(self, table: Any) -> None:
        with _explain_failure(self._pyarrow, self._what):
            self._writer.write_table(table)

    def finish(self) -> None:
        with _explain_failure(self._pyarrow, self._what):
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self._path)

    def __enter__(self) -> _Target:
        return self

    def __exit__(self, *_: object) -> None:
        # Nothing is left to do after `finish`; after a failure, closing may fail for the reported reason.
        for open_one in (self._writer, self._file):
            with suppress(OSError, ValueError, self._pyarrow.ArrowException):
                open_one.close()
        self._temporary.unlink(missing_ok=True)


def _read_head(pyarrow: Any, schema: Any, shown: str) -> Fingerprint:
    head: Mapping[bytes, bytes] = {} if schema.metadata is None else schema.metadata
    version, stored = head.get(_VERSION_KEY.encode()), head.get(_FINGERPRINT_KEY.encode())
    if version is None or stored is None:
        raise StoreError(f"{shown!r} does not say where its vectors come from; give a file that write_parquet wrote")
    if version != _VERSION.encode():
        raise StoreError(f"{shown!r} is an export of version {version!r}, and this package reads {_VERSION}; update it")
    with _explain_failure(pyarrow, f"{shown!r} has a damaged fingerprint; export the store again"):
        fingerprint = Fingerprint.from_dict(json.loads(stored))
    schemas = [_build_schema(pyarrow, fingerprint, np.dtype(dtype)) for dtype in (np.float32, np.float16)]
    if not any(schema.equals(expected) for expected in schemas):
        raise StoreError(f"{shown!r} has other columns than an export: {schema.names}; export the store again")
    return fingerprint


def _iterate_batches(pyarrow: Any, file: Any, shown: str) -> Generator[ExportBatch, None, None]:
    with file:
        batches = map(_read_batch, file.iter_batches(batch_size=ROW_GROUP_ROWS))
        while True:
            with _explain_failure(pyarrow, f"{shown!r} is damaged; export the store again"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


def _read_batch(batch: Any) -> ExportBatch:
    columns: dict[str, list[Any]] = {name: batch.column(name).to_pylist() for name in batch.schema.names[:-1]}
    flat = [{name: columns[name][row] for name in FLAT_COLUMNS} for row in range(batch.num_rows)]
    given = [{name: value for name, value in row.items() if value is not None} for row in flat]
    vectors = batch.column("vector")
    return ExportBatch(
        ids=columns["id"],
        metadata=[row | json.loads(own) for row, own in zip(given, columns["metadata"], strict=True)],
        texts=columns["text"],
        contents=columns["content"],
        sources=columns["sources"],
        vectors=vectors.flatten().to_numpy().reshape(-1, vectors.type.list_size),
    )


def export_store(store: Store, path: Path) -> int:
    """Writes all units of `store` to a Parquet file, with their full vectors, and returns how many there are.

    Vectors are those of the store: float16 keeps three decimals of a cosine, int8 and binary less.

    Raises:
        StoreError: pyarrow is not installed, or the store is corrupt, or the file cannot be written.
    """
    try:
        return write_parquet(path, store.head.fingerprint, _iterate_store(store))
    except OSError as error:
        raise StoreError(
            f"{str(path)!r} cannot be written ({error}); give a file in a folder where you may write, on a disk with "
            "room for it"
        ) from error


def import_store(path: Path, folder: Path, *, short_dimensions: int, precision: Any = "float16") -> int:
    """Makes a new store in `folder` of a Parquet file that `export_store` wrote, and returns the number of units.

    Images that were given in memory are not in the file: units with them are found, and cannot be opened.

    Raises:
        StoreError: The folder is not empty, or the file is not an export.
    """
    fingerprint, batches = read_parquet(path)
    count = 0
    with Store.create(folder, fingerprint, short_dimensions=short_dimensions, precision=precision) as store:
        for exported in batches:
            with store.write():
                store.add_batch(build_batch(exported))
            count += len(exported.ids)
    return count


def _iterate_store(store: Store) -> Iterator[ExportBatch]:
    # Exact: they were rounded to float16 when they were stored.
    number_format = np.float16 if store.head.precision == "float16" else np.float32
    for rows in store.iterate_rows(batch_rows=_BATCH_ROWS):
        units = store.catalog.load_units(rows)
        known, vectors = store.read_vectors(sorted(units))
        yield ExportBatch(
            ids=[units[row].record.id for row in known],
            metadata=[units[row].describe() for row in known],
            texts=[units[row].record.unit.text for row in known],
            contents=[units[row].record.content for row in known],
            sources=[list(units[row].sources) for row in known],
            vectors=vectors.astype(number_format),
        )


def build_batch(exported: ExportBatch) -> Batch:
    """Returns what a store is given of exported units."""
    batch = Batch()
    rows = zip(
        exported.ids,
        exported.metadata,
        exported.texts,
        exported.contents,
        exported.sources,
        exported.vectors,
        strict=True,
    )
    for unit_id, described, text, content, sources, vector in rows:
        unit = Unit(
            media_type=described["media_type"],
            page=described.get("page"),
            start=described.get("start"),
            end=described.get("end"),
            width=described.get("width"),
            height=described.get("height"),
            text=text,
        )
        record = Record(
            id=unit_id,
            unit=unit,
            sha256=described["sha256"],
            mime_type=described.get("mime_type"),
            content=content,
        )
        own = {name: value for name, value in described.items() if name not in RESERVED_NAMES}
        batch.records.append(record)
        batch.vectors.append(np.asarray(vector, dtype=np.float32))
        homes: Sequence[str] = sources if sources else [f"{ITEM_PREFIX}{unit_id}"]
        batch.places += [Place(source=home, unit_id=unit_id, version=record.sha256, metadata=own) for home in homes]
    return batch
