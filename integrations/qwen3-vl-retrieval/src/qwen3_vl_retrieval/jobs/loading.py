"""The parts of a run loaded into a store: what is new is entered, what is gone removed, and everything is counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.errors import StoreError, quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.store.parquet import ExportBatch
from qwen3_vl_retrieval.jobs.job import RESULT
from qwen3_vl_retrieval.jobs.parts import pick_rows, read_rows
from qwen3_vl_retrieval.jobs.run_folder import RunFolder
from qwen3_vl_retrieval.jobs.sink import Sink, hash_rows
from qwen3_vl_retrieval.outputs.vectors import check_dimensions, truncate_dimensions

__all__ = ["LoadReport", "load_run", "read_result"]

_COMPARED_ROWS = 16
"""Rows of each batch whose vectors are asked for again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What came of a loading.

    Attributes:
        units: Units that the store holds now.
        entered_units: Those that were entered, new ones and changed ones.
        removed_units: Units that the run no longer has.
        compared_units: Entered units whose vectors were asked for again, and were the same.
        seconds: How long it took.
    """

    units: int
    entered_units: int
    removed_units: int
    compared_units: int
    seconds: float


def load_run(
    run: str | Path,
    sink: Sink,
    *,
    dimensions: int | None = None,
    batch_rows: int = 500,
    storage_options: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> LoadReport:
    """Makes a store hold the units of a run, and returns what was done.

    Called again after it was interrupted, or after the run was brought up to date, only what is missing or changed is
    entered. A call that changes nothing writes nothing.

    Args:
        run: The folder of the run, or its URL.
        sink: The store. It is closed at the end.
        dimensions: Length of the vectors in the store: they are cut, scaled to unit length again, and the fingerprint
            says so. `None` leaves them as they are.
        batch_rows: Rows that are sent together.
        storage_options: Options of the file system of a URL.
        on_progress: Called with the number of units that are done, and of all.

    Raises:
        StoreError: The run is not complete, the store cannot be reached, holds something else, or gives back other
            vectors or another number of units than were sent.
        FingerprintMismatchError: The store holds vectors of another space.
        ValueError: `batch_rows` is not positive, or `dimensions` is not between 32 and those of the run.
    """
    if batch_rows < 1:
        raise ValueError(f"batch_rows={batch_rows} must be at least 1")
    begun = perf_counter()
    folder = RunFolder(run, storage_options)
    stored, parts = read_result(folder)
    length = check_dimensions(dimensions, hidden_size=stored.dimensions)
    fingerprint = replace(stored, dimensions=length)
    total = sum(parts.values())
    entered = compared = 0
    wanted: list[npt.NDArray[np.bytes_]] = []
    with closing(sink):
        sink.open(fingerprint)
        done = 0
        for batch in _iterate_batches(folder, stored, parts, batch_rows):
            wanted.append(np.array(batch.ids, dtype=np.bytes_))
            fresh = _enter(sink, batch if length == stored.dimensions else _cut(batch, length))
            entered += fresh
            compared += min(fresh, _COMPARED_ROWS)
            done += len(batch.ids)
            if on_progress is not None:
                on_progress(done, total)
        removed = _remove_others(sink, np.sort(np.concatenate(wanted)) if wanted else np.array([], dtype=np.bytes_))
        sink.finish()
        units = sink.count()
    if units != total:
        raise StoreError(
            f"the store holds {units:,} units, and the run {quote(folder.location)} has {total:,}; somebody else "
            "writes to it, or it lost some: load again"
        )
    return LoadReport(
        units=units,
        entered_units=entered,
        removed_units=removed,
        compared_units=compared,
        seconds=perf_counter() - begun,
    )


def read_result(folder: RunFolder) -> tuple[Fingerprint, Mapping[str, int]]:
    """Returns what a complete run holds: the kind of its vectors, and its parts with their numbers of units.

    Raises:
        StoreError: There is no run, or it is not complete.
    """
    if not folder.has(RESULT):
        raise StoreError(f"there is no finished run in {quote(folder.location)}; run qwen3vl embed to its end first")
    result = json.loads(folder.read(RESULT))
    if not result["is_complete"]:
        raise StoreError(
            f"the run {quote(folder.location)} is not complete: {len(result['missing']):,} files are missing; run "
            "qwen3vl embed again first"
        )
    return Fingerprint.from_dict(result["fingerprint"]), result["parts"]


def _iterate_batches(
    folder: RunFolder, fingerprint: Fingerprint, parts: Mapping[str, int], batch_rows: int
) -> Iterator[ExportBatch]:
    for part in parts:
        for rows in read_rows(folder, part, fingerprint):
            for first in range(0, len(rows.ids), batch_rows):
                yield pick_rows(rows, range(first, min(first + batch_rows, len(rows.ids))))


def _cut(batch: ExportBatch, dimensions: int) -> ExportBatch:
    vectors = batch.vectors[:, :dimensions].astype(np.float32)
    return replace(batch, vectors=truncate_dimensions(vectors, dimensions, normalize=True))


def _enter(sink: Sink, batch: ExportBatch) -> int:
    """The number of rows that were new or others than the store held."""
    hashes = hash_rows(batch.metadata, batch.texts, batch.sources)
    held = sink.find_hashes(batch.ids)
    places = [place for place, unit_id in enumerate(batch.ids) if held.get(unit_id) != hashes[place]]
    if not places:
        return 0
    fresh = pick_rows(batch, places)
    sink.upsert(fresh, [hashes[place] for place in places])
    sent = dict(zip(fresh.ids[:_COMPARED_ROWS], fresh.vectors[:_COMPARED_ROWS], strict=True))
    returned = sink.fetch_vectors(list(sent))
    for unit_id, vector in sent.items():
        if unit_id not in returned:
            raise StoreError(f"the store does not give back the unit {unit_id!r}, which was just entered; load again")
        difference = float(np.abs(np.asarray(returned[unit_id], np.float32) - vector.astype(np.float32)).max())
        if difference > sink.vector_tolerance:
            raise StoreError(
                f"the store gives back another vector of {unit_id!r} than was sent: a component differs by "
                f"{difference:.2g}, and its number format explains {sink.vector_tolerance:.2g}"
            )
    return len(places)


def _remove_others(sink: Sink, wanted: npt.NDArray[np.bytes_]) -> int:
    """Removes what the run does not have, and returns how many rows that were."""
    gone: list[str] = []
    for ids in sink.iterate_ids():
        if not ids:
            continue
        is_wanted = np.isin(np.array(ids, dtype=np.bytes_), wanted)
        gone += [unit_id for unit_id, keep in zip(ids, is_wanted.tolist(), strict=True) if not keep]
    if gone:
        sink.delete(gone)
    return len(gone)
