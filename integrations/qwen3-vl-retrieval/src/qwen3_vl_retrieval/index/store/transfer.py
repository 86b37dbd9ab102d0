"""A store taken elsewhere and back: ids, metadata, texts and full vectors, as a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.index.store.batches import Batch
from qwen3_vl_retrieval.index.store.catalog import ITEM_PREFIX
from qwen3_vl_retrieval.index.store.parquet import ExportBatch, read_parquet, write_parquet
from qwen3_vl_retrieval.index.store.records import RESERVED_NAMES, Place, Record
from qwen3_vl_retrieval.index.store.store import Store

__all__ = ["export_store", "import_store"]

_BATCH_ROWS = 4096


def export_store(store: Store, path: Path) -> int:
    """Writes all units of `store` to a Parquet file, with their full vectors, and returns how many there are.

    Vectors are those of the store: float16 keeps three decimals of a cosine, int8 and binary less.

    Raises:
        StoreError: pyarrow is not installed, or the store is torn, or the file cannot be written.
    """
    try:
        return write_parquet(path, store.head.fingerprint, _iterate_batches(store))
    except OSError as error:
        raise StoreError(
            f"{str(path)!r} cannot be written ({error}); give a file in a folder where you may write, on a disk with "
            "room for it"
        ) from error


def import_store(path: Path, folder: Path, *, short_dimensions: int, precision: Any = "float16") -> int:
    """Makes a new store in `folder` of a Parquet file that `export_store` wrote, and returns the number of units.

    Pictures that were given in memory are not in the file: units with them are found, and cannot be opened.

    Raises:
        StoreError: The folder is not empty, or the file is not an export.
    """
    fingerprint, batches = read_parquet(path)
    count = 0
    with Store.create(folder, fingerprint, short_dimensions=short_dimensions, precision=precision) as store:
        for exported in batches:
            with store.write():
                store.add_batch(_build_batch(exported))
            count += len(exported.ids)
    return count


def _iterate_batches(store: Store) -> Iterator[ExportBatch]:
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


def _build_batch(exported: ExportBatch) -> Batch:
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
