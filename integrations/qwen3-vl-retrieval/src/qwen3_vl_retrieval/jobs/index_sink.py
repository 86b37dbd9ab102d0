"""An index on disk as the target of a loading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy.typing as npt

from qwen3_vl_retrieval.documents.media_store import find_local_file
from qwen3_vl_retrieval.errors import StoreError, quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.store.filters import compile_filter
from qwen3_vl_retrieval.index.store.layout import SidecarPrecision
from qwen3_vl_retrieval.index.store.parquet import ExportBatch, build_batch
from qwen3_vl_retrieval.index.store.store import Store
from qwen3_vl_retrieval.jobs.sink import TOLERANCES, Sink, SinkPrecision, hash_rows, require_precision

__all__ = ["IndexSink"]

_SHORT_DIMENSIONS = 256

_GROUP_ROWS = 500

_STAMP = "loaded_from_run"
"""Setting of the catalog of an index that holds the units of a run and nothing else."""

_COARSE_TOLERANCE = 1e-2
"""Of an index that was made with a coarser number format, before there was a run."""


class IndexSink(Sink):
    """Enters units in the store of a `MultimodalIndex`, which is made if there is none.

    Args:
        folder: The folder of the index.
        precision: Number format of its full vectors, if it is made: `"float32"` or `"float16"`.
    """

    def __init__(self, folder: str | Path, *, precision: SinkPrecision | None = None) -> None:
        require_precision(precision, ("float32", "float16"), "an index")
        self._folder = Path(folder)
        self._precision: SidecarPrecision = "float32" if precision == "float32" else "float16"
        self._opened = ExitStack()
        self._store: Store | None = None

    @property
    def vector_tolerance(self) -> float:
        """What rounding to the number format of the index leaves."""
        return TOLERANCES.get(self._open.head.precision, _COARSE_TOLERANCE)

    def open(self, fingerprint: Fingerprint) -> None:
        """Opens the index for writing, or makes it."""
        store = Store.find(self._folder)
        if store is None:
            short = min(_SHORT_DIMENSIONS, fingerprint.dimensions)
            store = Store.create(self._folder, fingerprint, short_dimensions=short, precision=self._precision)
        self._store = self._opened.enter_context(store)
        fingerprint.require_match(store.head.fingerprint)
        self._opened.enter_context(store.write())
        if store.catalog.count_units() and _STAMP not in store.catalog.read_settings():
            # What a run does not have would be removed.
            raise StoreError(
                f"the index {quote(str(self._folder))} holds units that were not loaded from a run; give another folder"
            )
        with store.catalog.write():
            store.catalog.write_setting(_STAMP, "1")

    def find_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Returns the row hashes of those of `ids` that the index holds."""
        rows = self._open.catalog.find_rows(ids)
        units = self._open.catalog.load_units(list(rows.values()))
        held = list(units.values())
        hashes = hash_rows(
            [unit.describe() for unit in held],
            [unit.record.unit.text for unit in held],
            [unit.sources for unit in held],
        )
        return {unit.record.id: one for unit, one in zip(held, hashes, strict=True)}

    def upsert(self, batch: ExportBatch, hashes: Sequence[str]) -> None:  # noqa: ARG002 - of the contract
        """Enters units, and forgets where others of the same id were found."""
        _require_files(batch.sources)
        known = list(self._open.catalog.find_rows(batch.ids))
        if known:
            self.delete(known)
        self._open.add_batch(build_batch(batch))

    def fetch_vectors(self, ids: Sequence[str]) -> Mapping[str, npt.NDArray[Any]]:
        """Returns the full vectors of `ids`."""
        by_row = {row: unit_id for unit_id, row in self._open.catalog.find_rows(ids).items()}
        rows, vectors = self._open.read_vectors(sorted(by_row))
        return {by_row[row]: vector for row, vector in zip(rows, vectors, strict=True)}

    def iterate_ids(self) -> Iterator[Sequence[str]]:
        """Yields the ids of all units."""
        rows = self._open.catalog.list_rows()
        for first in range(0, len(rows), _GROUP_ROWS):
            yield self._open.catalog.list_ids(rows[first : first + _GROUP_ROWS])

    def delete(self, ids: Sequence[str]) -> None:
        """Removes units."""
        for first in range(0, len(ids), _GROUP_ROWS):
            self._open.remove_where(compile_filter({"id": {"$in": list(ids[first : first + _GROUP_ROWS])}}))

    def count(self) -> int:
        """Returns the number of units."""
        return self._open.catalog.count_units()

    def finish(self) -> None:
        """Does nothing: an index can be searched at any time."""

    def close(self) -> None:
        """Lets go of the index."""
        self._opened.close()
        self._store = None

    @property
    def _open(self) -> Store:
        if self._store is None:
            raise StoreError(f"the index {quote(str(self._folder))} is not open")
        return self._store


def _require_files(sources: Sequence[Sequence[str]]) -> None:
    """Raises `StoreError` for what is no file: an index keeps paths, and opens them for previews and the reranker."""
    elsewhere = next((name for names in sources for name in names if find_local_file(name) is None), None)
    if elsewhere is not None:
        raise StoreError(
            f"the run has units of {quote(elsewhere)}, and an index holds files of this machine; load the run into "
            "another store, or embed copies of its files"
        )
