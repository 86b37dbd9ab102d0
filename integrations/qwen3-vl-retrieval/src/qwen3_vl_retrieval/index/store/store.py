"""A store on disk: catalog, full vectors and collection kept in step, whenever the process ends. Knows no models.

The catalog decides. A batch is noted as unsettled, its vectors are written, the collection gets its rows, and then one
transaction enters it in the catalog. What a killed process leaves unsettled is put right before the next write; until
then it is never shown, because every result is looked up in the catalog.

A unit has a row, which no other unit ever has, and a slot in the file of vectors, which is used again when the unit is
gone. What is built anew is built beside the old: the catalog names the file of vectors and the folder of the
collection that count, and changes the names in the transaction that makes them true.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float32

from qwen3_vl_retrieval.chroma.collection import Collection
from qwen3_vl_retrieval.documents.kept_media import list_kept_files
from qwen3_vl_retrieval.errors import StoreError, explain_disk_errors, quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.forks import ForkSafeLock, renew_in_children
from qwen3_vl_retrieval.index.store.catalog import (
    ITEM_PREFIX,
    Attempt,
    Catalog,
    FileState,
    Metadata,
    Place,
    Record,
    StoredUnit,
    encode_metadata,
)
from qwen3_vl_retrieval.index.store.filters import SqlFilter
from qwen3_vl_retrieval.index.store.layout import SidecarPrecision, StoreHead, StoreLayout
from qwen3_vl_retrieval.index.store.locks import StoreLocks
from qwen3_vl_retrieval.outputs.vectors import decode_embeddings, quantize_embeddings

__all__ = [
    "Batch",
    "CompactReport",
    "IndexStatistics",
    "Sidecar",
    "Snapshot",
    "Store",
    "measure_store",
    "sync_folder",
]


_TYPES: dict[str, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "ubinary": np.uint8,
}

_CHUNK_SLOTS = 4096
"""Vectors that are converted at a time: 32 MiB at 2,048 dimensions."""

_SETTLED_ROWS = 1024
"""Rows that are taken from the catalog to the collection at a time."""

_SAME_COSINE = 0.999
"""What rounding leaves of a vector's cosine with itself."""

_MOST_READINGS = 8
"""Vectors that moved while they were read are read again; each `compact` moves them once."""


@dataclass(slots=True, kw_only=True)
class Batch:
    """What one transaction enters.

    Attributes:
        records: New units.
        vectors: Their full vectors.
        known: Units that were in the store when they were found, or retired; by id.
        places: Where units were found, new ones and known ones.
        finished: Files of which nothing is missing any more; places in other versions of them are struck out.
        lost: Files of which nothing holds any more.
        failures: What could not be read, by source: a `StoredFailure` for each part, or the values of one.
        attempts: Readings that failed and would fail again.
    """

    records: list[Record] = field(default_factory=list[Record])
    vectors: list[Float[np.ndarray, " dimensions"]] = field(default_factory=list[Any])
    known: dict[str, Record] = field(default_factory=dict[str, Record])
    places: list[Place] = field(default_factory=list[Place])
    finished: list[FileState] = field(default_factory=list[FileState])
    lost: list[str] = field(default_factory=list[str])
    failures: dict[str, Sequence[tuple[Any, ...]]] = field(default_factory=dict[str, Sequence[tuple[Any, ...]]])
    attempts: list[Attempt] = field(default_factory=list[Attempt])


class Sidecar:
    """Vectors of one length and number format in a file. Any number of readers, one writer.

    Args:
        path: The file; it need not exist.
        dimensions: Length of a vector.
        precision: Number format.

    Raises:
        ValueError: The precision is unknown, or does not fill whole bytes.
    """

    def __init__(self, path: Path, *, dimensions: int, precision: SidecarPrecision) -> None:
        if precision not in get_args(SidecarPrecision):
            raise ValueError(
                f"precision={quote(precision)} is unknown; allowed are {', '.join(get_args(SidecarPrecision))}"
            )
        if precision == "ubinary" and dimensions % 8:
            raise ValueError(f"precision='ubinary' packs eight dimensions a byte; {dimensions} is not a multiple of 8")
        self.path = path
        self.dimensions = dimensions
        self.precision: SidecarPrecision = precision
        self._type = np.dtype(_TYPES[precision])
        self._columns = dimensions // 8 if precision == "ubinary" else dimensions
        self._mapped: npt.NDArray[np.generic] | None = None
        self._lock = ForkSafeLock()

    @property
    def slot_bytes(self) -> int:
        """Bytes of a vector."""
        return self._columns * self._type.itemsize

    def write(self, slots: Sequence[int], vectors: Float[np.ndarray, "n dimensions"]) -> None:
        """Writes vectors to slots (from 1); they are on the disk when this returns.

        Raises:
            OSError: The disk is full or fails.
        """
        codes = np.ascontiguousarray(quantize_embeddings(np.asarray(vectors, dtype=np.float32), self.precision))
        # Not "ab": slots that a killed writer left behind are written over.
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        with os.fdopen(descriptor, "r+b") as file:
            for first, last in _list_runs(slots):
                file.seek((slots[first] - 1) * self.slot_bytes)
                file.write(codes[first:last].tobytes())
            file.flush()
            os.fsync(file.fileno())

    def copy(self, slots: Sequence[int], path: Path) -> None:
        """Writes the vectors of `slots` to a new file, one after the other; they are on the disk when this returns.

        Raises:
            StoreError: The file does not hold the slots.
            OSError: The disk is full or fails.
        """
        with path.open("wb") as file:
            for first in range(0, len(slots), _CHUNK_SLOTS):
                places = np.asarray(slots[first : first + _CHUNK_SLOTS], dtype=np.int64)
                file.write(np.ascontiguousarray(self._map(int(places.max()))[places - 1]).tobytes())
            file.flush()
            os.fsync(file.fileno())

    def read(self, slots: Sequence[int]) -> Float32[np.ndarray, "n dimensions"]:
        """Returns the vectors of `slots`, as numbers of ordinary size whatever the format.

        Binary vectors come back as plus and minus 1/√dimensions.

        Raises:
            StoreError: The file does not hold the slots.
        """
        places = np.asarray(slots, dtype=np.int64)
        if places.size == 0:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        codes = self._map(int(places.max()))[places - 1]
        return decode_embeddings(codes, self.precision, dimensions=self.dimensions)

    def score(self, slots: Sequence[int], query: Float[np.ndarray, " dimensions"]) -> Float32[np.ndarray, " n"]:
        """Returns the dot product of each vector with `query`: cosines, and estimates of them from binary vectors.

        Raises:
            StoreError: The file does not hold the slots.
        """
        wanted = np.asarray(query, dtype=np.float32)
        parts = [
            self.read(slots[first : first + _CHUNK_SLOTS]) @ wanted for first in range(0, len(slots), _CHUNK_SLOTS)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)

    def require_slots(self, last_slot: int) -> None:
        """Raises an error unless the file holds the slots up to `last_slot`.

        Raises:
            StoreError: The file is missing or too short.
        """
        if last_slot:
            self._map(last_slot)

    def _map(self, last_slot: int) -> npt.NDArray[np.generic]:
        with self._lock:
            if self._mapped is None or len(self._mapped) < last_slot:
                size_bytes = self.path.stat().st_size if self.path.exists() else 0
                held = size_bytes // self.slot_bytes
                if held < last_slot:
                    raise StoreError(
                        f"the store is corrupt: {self.path.name} holds {held:,} vectors, and the catalog counts "
                        f"{last_slot:,}; restore the folder from a copy, or build the store again"
                    )
                self._mapped = np.memmap(self.path, dtype=self._type, mode="r", shape=(held, self._columns))
            return self._mapped


def _list_runs(slots: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where slots that follow each other begin and end in the list."""
    first = 0
    for place in range(1, len(slots) + 1):
        if place == len(slots) or slots[place] != slots[place - 1] + 1:
            yield first, place
            first = place


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What this process's collection is known to hold: the units up to a row, as of a generation of the catalog."""

    generation: int
    last_row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """What came of `compact`.

    Attributes:
        units: Units the store holds.
        retired_units: Units whose grace it ended.
        media_files: Kept images that no unit needed any more.
        bytes_before: Room on the disk that the store took.
        bytes_after: Room that it takes.
    """

    units: int
    retired_units: int
    media_files: int
    bytes_before: int
    bytes_after: int


class Store:
    """Opened by `open` or `create`; a context manager.

    Attributes:
        layout: Its files.
        head: What it was created with.
        catalog: What it holds.
        collection: Short vectors.
    """

    def __init__(self, layout: StoreLayout, head: StoreHead, catalog: Catalog) -> None:
        self.layout, self.head, self.catalog = layout, head, catalog
        self._sidecar = self._open_sidecar(catalog.read_name("vectors"))
        self.collection = Collection(layout.find_part(catalog.read_name("collection")))
        self._locks = StoreLocks(layout.folder)
        self._snapshot: Snapshot | None = None
        renew_in_children(self)

    def renew(self) -> None:
        """Begins without a view of the collection, which a forked child opens for itself."""
        self._snapshot = None

    @classmethod
    def create(
        cls, folder: Path, fingerprint: Fingerprint, *, short_dimensions: int, precision: SidecarPrecision
    ) -> Store:
        """Returns a new, empty store in `folder`, which is empty or does not exist.

        Raises:
            StoreError: It is not empty, or Chroma fails.
            ValueError: An option is out of range.
        """
        layout = StoreLayout(folder)
        head = StoreHead.create(fingerprint, short_dimensions=short_dimensions, precision=precision)
        Sidecar(layout.vectors, dimensions=fingerprint.dimensions, precision=precision)
        layout.require_free()
        with explain_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        locks = StoreLocks(folder)
        catalog = Catalog(layout.catalog)
        catalog.require_writable()
        with locks.hold_writer(), locks.hold_collection():
            store = cls(layout, head, catalog)
            store.collection.drop()
            store._create_collection()
            # Last: a store without a head is one that was never finished.
            with store.catalog.write():
                for name, value in head.to_settings().items():
                    store.catalog.write_setting(name, value)
            store._snapshot = Snapshot(0, 0)
        return store

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Returns the store in `folder`.

        Raises:
            StoreError: There is none, or it is corrupt or of another version.
        """
        layout = StoreLayout(folder)
        if not layout.exists():
            raise StoreError(f"there is no store in {str(folder)!r}; index something there first")
        return cls._open(layout, Catalog(layout.catalog))

    @classmethod
    def find(cls, folder: Path) -> Store | None:
        """Returns the store in `folder`; `None` if there is none, or one whose creation was interrupted.

        Raises:
            StoreError: It is corrupt or of another version, or its catalog is another kind of file.
        """
        layout = StoreLayout(folder)
        if not layout.exists():
            return None
        catalog = Catalog(layout.catalog)
        try:
            is_finished = bool(catalog.read_settings())
        except BaseException:
            catalog.close()
            raise
        if not is_finished:
            catalog.close()
            return None
        return cls._open(layout, catalog)

    @classmethod
    def _open(cls, layout: StoreLayout, catalog: Catalog) -> Store:
        """Returns the store of a catalog, which is closed if that fails."""
        try:
            store = cls(layout, StoreHead.from_settings(catalog.read_settings(), folder=layout.folder), catalog)
            store._require_vectors()
        except BaseException:
            catalog.close()
            raise
        return store

    @staticmethod
    def is_finished(folder: Path) -> bool:
        """Returns whether there is a store in `folder`; one whose creation was interrupted is none, and is begun again.

        Raises:
            StoreError: There is another kind of file in the place of its catalog.
        """
        layout = StoreLayout(folder)
        if not layout.exists():
            return False
        catalog = Catalog(layout.catalog)
        try:
            return bool(catalog.read_settings())
        finally:
            catalog.close()

    def close(self) -> None:
        """Lets go of all files."""
        self.collection.close()
        self.catalog.close()
        self._snapshot = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def sidecar(self) -> Sidecar:
        """Full vectors by slot; see `read_vectors` and `score_rows` for those of units."""
        name = self.catalog.read_name("vectors")
        sidecar = self._sidecar
        if sidecar.path.name != name:
            self._sidecar = sidecar = self._open_sidecar(name)
        return sidecar

    @property
    def is_read_only(self) -> bool:
        """Whether the store lies where it cannot be written: it is searched by its full vectors alone, and is slower.

        Chroma opens a folder for writing or not at all.
        """
        return self.catalog.is_read_only

    @contextmanager
    def write(self) -> Generator[None, None, None]:
        """Holds the store for writing, after putting right what an earlier writer left behind.

        Raises:
            StoreError: Somebody else is writing, or the store is corrupt, or lies where it cannot be written.
        """
        self.catalog.require_writable()
        with self._locks.hold_writer():
            self.catalog.migrate()
            self._remove_leftovers()
            # With a graph in memory that another writer has changed on the disk, Chroma would write the old one back.
            if self.refresh().generation != self.catalog.generation:
                self.reopen()
            self._settle()
            yield

    def add_batch(self, batch: Batch) -> int:
        """Enters a batch, inside `write`, and returns how many units it removed.

        Vectors of what it removes are kept until `end_grace` or `compact`, and are used again when the same unit is
        among `known` of a later batch.

        Raises:
            StoreError: The disk or Chroma fails; the batch is not entered.
            ValueError: Metadata cannot be kept; the batch is not entered.
        """
        for place in batch.places:
            if place.metadata is not None:
                encode_metadata(place.metadata)
        ids = [record.id for record in batch.records]
        with self._explain():
            slots = self.catalog.choose_slots(len(ids))
            if ids:
                with self.catalog.write():
                    self.catalog.add_unsettled(ids)
                vectors = np.stack(batch.vectors)
                self.sidecar.write(slots, vectors)
                self._add_to_collection(batch, vectors)
            with self.catalog.write():
                changed, removed = self._enter(batch, slots)
                self.catalog.clear_unsettled(ids)
                self.catalog.add_unsettled(changed)
                if ids or changed:
                    snapshot = Snapshot(self.catalog.advance_generation(), self.catalog.last_row())
                else:
                    snapshot = self._snapshot
            self._snapshot = snapshot
            if changed:
                self._settle()
        return removed

    def remove_files(self, sources: Sequence[str]) -> int:
        """Strikes out files, inside `write`, and returns how many units that removed; their vectors are kept a while.

        Raises:
            StoreError: The disk or Chroma fails.
        """
        with self._explain():
            with self.catalog.write():
                rows = [row for source in sources for row in self.catalog.remove_file(source)]
                removed = self._strike_out(rows, retired_at=time.time())
            self._settle()
        return removed

    def remove_where(self, condition: SqlFilter) -> int:
        """Strikes out the places that meet `condition`, inside `write`, and returns how many units that removed.

        Raises:
            StoreError: The disk or Chroma fails.
        """
        with self._explain():
            with self.catalog.write():
                removed = self._strike_out(self.catalog.remove_places_where(condition), retired_at=None)
            self._settle()
        return removed

    def end_grace(self, *, before: float) -> int:
        """Gives up vectors of units that were removed before a time, inside `write`, and returns how many those were.

        Args:
            before: Seconds since the epoch.

        Raises:
            StoreError: The disk fails.
        """
        with self._explain(), self.catalog.write():
            return self.catalog.drop_retired(before=before)

    def read_vectors(self, rows: Sequence[int]) -> tuple[list[int], Float32[np.ndarray, "n dimensions"]]:
        """Returns those of `rows` that are units, and their full vectors.

        Raises:
            StoreError: Vectors are missing.
        """
        return self._read_slots(rows, lambda sidecar, slots: sidecar.read(slots))

    def score_rows(self, rows: Sequence[int], query: Float[np.ndarray, " dimensions"]) -> dict[int, float]:
        """Returns the dot product of `query` with the full vector of each of `rows` that is a unit, by row.

        Raises:
            StoreError: Vectors are missing.
        """
        known, scores = self._read_slots(rows, lambda sidecar, slots: sidecar.score(slots, query))
        return dict(zip(known, scores.tolist(), strict=True))

    def refresh(self) -> Snapshot:
        """Returns what the collection of this process holds, after opening it if that has not been done.

        Raises:
            StoreError: The collection is corrupt, or belongs to another store.
        """
        if self._snapshot is None:
            return self.reopen()
        return self._snapshot

    def reopen(self) -> Snapshot:
        """Opens the collection as it is on the disk now, and checks that nothing is missing from it.

        Raises:
            StoreError: The collection is corrupt, or belongs to another store.
        """
        self.catalog.require_writable()
        with self._locks.hold_collection():
            # Everything entered before now is in the collection already; what is entered from now on may not be seen.
            with self.catalog.read():
                snapshot = Snapshot(self.catalog.generation, self.catalog.last_row())
                entered = self.catalog.count_units()
                newest = self.catalog.list_rows(after=snapshot.last_row - 1)
                folder = self.layout.find_part(self.catalog.read_name("collection"))
            if self.collection.folder != folder:
                self._exchange_collection(Collection(folder))
            self.collection.reopen(self.head.store_id)
            held = self.collection.count()
            if held < entered:
                raise StoreError(
                    f"the store is corrupt: its collection holds {held:,} of {entered:,} units; "
                    f"repair it (qwen3vl repair {self.layout.folder})"
                )
            self._require_found(newest)
        self._snapshot = snapshot
        return snapshot

    def repair(self) -> int:
        """Mends metadata, builds the collection again from catalog and full vectors, and returns the number of units.

        No model is needed.

        Raises:
            StoreError: Somebody else is writing, or vectors are missing, too, or the disk is full.
        """
        self.mend_metadata()
        with self._locks.hold_writer(), self._explain():
            self._require_vectors()
            self._remove_leftovers()
            self._rebuild(vectors=False)
            return self.catalog.count_units()

    def mend_metadata(self) -> list[str]:
        """Takes values out of the callers' metadata that can neither be searched nor shown; older versions let them in.

        Those are infinity, NaN, whole numbers of more than 64 bits and halves of surrogate pairs.

        Returns:
            Where which values were taken out, a line each; `repair` has to follow if there are any.

        Raises:
            StoreError: Somebody else is writing, or the disk is full.
        """
        self.catalog.require_writable()
        with self._locks.hold_writer(), self._explain():
            self.catalog.migrate()
            with self.catalog.write():
                mended = self.catalog.mend_metadata()
                if mended:
                    self.catalog.advance_generation()
            return mended

    def compact(self) -> CompactReport:
        """Gives back the room of what was deleted, replaced or retired: nothing of that can be revived afterwards.

        Vectors, collection and catalog are written anew, beside the old ones, so that a process may be killed at any
        moment, and others search meanwhile.

        Raises:
            StoreError: Somebody else is writing, the store is corrupt, or the disk is full; nothing is changed then.
        """
        with self.write(), self._explain():
            before = self.measure_bytes()
            with self.catalog.write():
                retired = self.catalog.drop_retired()
            self._rebuild(vectors=True)
            media_files = self._remove_unneeded_media()
            self.catalog.shrink()
            after = self.measure_bytes()
            return CompactReport(
                units=self.catalog.count_units(),
                retired_units=retired,
                media_files=media_files,
                bytes_before=sum(before.values()),
                bytes_after=sum(after.values()),
            )

    def measure_bytes(self) -> dict[str, int]:
        """Returns the room on the disk: of `catalog`, `collection`, `vectors` and `media`."""
        layout = self.layout
        parts = layout.list_parts()
        files = {
            "catalog": list(layout.folder.glob("catalog.sqlite3*")),
            "collection": [file for part in parts if part.is_dir() for file in _list_below(part)],
            "vectors": [part for part in parts if not part.is_dir()],
            "media": _list_below(layout.media),
        }
        return {name: sum(_measure_file(file) for file in found) for name, found in files.items()}

    def _enter(self, batch: Batch, slots: Sequence[int]) -> tuple[list[str], int]:
        """Writes a batch to the catalog; returns units of which the collection has to learn, and how many are gone."""
        fresh = {record.id for record in batch.records}
        for slot, record in zip(slots, batch.records, strict=True):
            self.catalog.add_unit(self.catalog.last_row() + 1, record, slot)
        self.catalog.forget_retired(sorted(fresh))
        # What was there when it was found may have been struck out since, with another file.
        revived = self.catalog.find_retired(sorted(batch.known.keys() - fresh))
        for unit_id, slot in revived.items():
            self.catalog.revive_unit(self.catalog.last_row() + 1, batch.known[unit_id], slot)
        moved = {place.unit_id for place in batch.places if self.catalog.add_place(place)}
        left = [row for source in batch.lost for row in self.catalog.remove_file(source)]
        for state in batch.finished:
            self.catalog.write_file(state)
            left += self.catalog.remove_places(state.source, except_version=state.sha256)
        for source, failures in batch.failures.items():
            self.catalog.replace_failures(source, failures)
        for attempt in batch.attempts:
            self.catalog.write_attempt(attempt)
        stayed = set(self.catalog.list_ids(left))
        removed = self.catalog.remove_orphaned(left, retired_at=time.time())
        # A new unit that is gone again, because its file was lost in the same batch, is in the collection already.
        return sorted((moved - fresh) | revived.keys() | stayed | set(removed)), len(removed)

    def _strike_out(self, rows: Sequence[int], *, retired_at: float | None) -> int:
        ids = self.catalog.list_ids(rows)
        removed = self.catalog.remove_orphaned(rows, retired_at=retired_at)
        self.catalog.add_unsettled(ids)
        self.catalog.advance_generation()
        return len(removed)

    def _settle(self) -> None:
        """Makes the collection agree with the catalog on the units that are noted."""
        ids = self.catalog.list_unsettled()
        if not ids:
            return
        with self._locks.hold_collection():
            self.collection.remove(ids)
            rows = sorted(self.catalog.find_rows(ids).values())
            for first in range(0, len(rows), _SETTLED_ROWS):
                self._copy_to_collection(rows[first : first + _SETTLED_ROWS])
        with self.catalog.write():
            self.catalog.clear_unsettled(ids)
        self._snapshot = Snapshot(self.catalog.generation, self.catalog.last_row())

    def _add_to_collection(self, batch: Batch, vectors: Float[np.ndarray, "n dimensions"]) -> None:
        places = {place.unit_id: place for place in reversed(batch.places)}
        metadata = [_describe_new(record, places.get(record.id)) for record in batch.records]
        with self._locks.hold_collection():
            self.collection.add(
                [record.id for record in batch.records],
                self.shorten(vectors),
                metadata,
                [record.unit.text for record in batch.records],
            )

    def _copy_to_collection(self, rows: Sequence[int], collection: Collection | None = None) -> None:
        units = self.catalog.load_units(rows)
        known, vectors = self.read_vectors(sorted(units))
        (self.collection if collection is None else collection).add(
            [units[row].record.id for row in known],
            self.shorten(vectors),
            [units[row].describe() for row in known],
            [units[row].record.unit.text for row in known],
        )

    def _rebuild(self, *, vectors: bool) -> None:
        """Writes the collection anew, and the file of vectors if that is wanted, and takes them into use."""
        rows = [row for _, row in self.catalog.list_slots()]
        collection = Collection(self._find_next("collection"))
        written = self._find_next("vectors") if vectors else None
        try:
            self._create_collection(collection)
            for first in range(0, len(rows), _SETTLED_ROWS):
                self._copy_to_collection(rows[first : first + _SETTLED_ROWS], collection)
            if written is not None:
                self.sidecar.copy([slot for slot, _ in self.catalog.list_slots()], written)
            sync_folder(self.layout.folder)
        except BaseException:
            collection.close()
            self._remove_leftovers()
            raise
        with self._locks.hold_collection():
            with self.catalog.write():
                self.catalog.write_name("collection", collection.folder.name)
                if written is not None:
                    self.catalog.write_name("vectors", written.name)
                    self.catalog.close_gaps(rows)
                self.catalog.clear_unsettled(self.catalog.list_unsettled())
                generation = self.catalog.advance_generation()
            self._exchange_collection(collection)
            self._snapshot = Snapshot(generation, self.catalog.last_row())
            self._remove_leftovers()

    def _find_next(self, part: Literal["vectors", "collection"]) -> Path:
        """A name that is not in use, and was not in use before this one."""
        stem, _, number = self.catalog.read_name(part).removesuffix(".bin").partition("-")
        suffix = ".bin" if part == "vectors" else ""
        return self.layout.find_part(f"{stem}-{int(number) + 1 if number else 2}{suffix}")

    def _remove_leftovers(self) -> None:
        """Deletes files and folders that count no longer, or never did because their writer was killed."""
        current = {self.catalog.read_name("vectors"), self.catalog.read_name("collection")}
        for part in self.layout.list_parts():
            if part.name in current:
                continue
            # What is still open somewhere stays until the next time where files that are open cannot be deleted.
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                with suppress(OSError):
                    part.unlink()

    def _remove_unneeded_media(self) -> int:
        needed = {name for content in self.catalog.list_contents() for name in list_kept_files(content)}
        unneeded = [file for file in _list_below(self.layout.media) if file.name not in needed]
        for file in unneeded:
            file.unlink()
        return len(unneeded)

    def _exchange_collection(self, collection: Collection) -> None:
        left, self.collection = self.collection, collection
        left.close()

    def _open_sidecar(self, name: str) -> Sidecar:
        return Sidecar(
            self.layout.find_part(name), dimensions=self.head.fingerprint.dimensions, precision=self.head.precision
        )

    def _require_vectors(self) -> None:
        """Raises `StoreError` if the file of vectors does not hold those that the catalog counts."""
        for _ in range(_MOST_READINGS):
            sidecar = self.sidecar
            with self.catalog.read():
                name, last_slot = self.catalog.read_name("vectors"), self.catalog.last_slot()
            if sidecar.path.name != name:
                continue
            try:
                sidecar.require_slots(last_slot)
            except StoreError:
                if self.catalog.read_name("vectors") == name:
                    raise
            else:
                return

    def _read_slots(
        self, rows: Sequence[int], read: Callable[[Sidecar, Sequence[int]], npt.NDArray[Any]]
    ) -> tuple[list[int], npt.NDArray[Any]]:
        """Those of `rows` that are units, and what `read` returns of their slots, none of which is another unit's."""
        for _ in range(_MOST_READINGS):
            places = self.catalog.locate_vectors(rows)
            known = [row for row in rows if row in places.slots]
            sidecar = self._sidecar
            if sidecar.path.name != places.file:
                self._sidecar = sidecar = self._open_sidecar(places.file)
            try:
                values = read(sidecar, [places.slots[row] for row in known])
            except StoreError:
                # Compacted by another process in this moment.
                if self.catalog.read_name("vectors") == places.file:
                    raise
                continue
            # A slot is written again only after the catalog has given it up: what it still says was not overwritten.
            if self.catalog.generation == places.generation:
                return known, values
            now = self.catalog.locate_vectors(known)
            if now.file == places.file:
                stayed = [place for place, row in enumerate(known) if now.slots.get(row) == places.slots[row]]
                return [known[place] for place in stayed], values[stayed]
        raise StoreError(f"the store {str(self.layout.folder)!r} is compacted again and again; wait, and try again")

    @contextmanager
    def _explain(self) -> Generator[None, None, None]:
        """Names what a disk fails with; the collection is opened afresh before it is used again."""
        try:
            with explain_disk_errors(self.layout.folder):
                yield
        except BaseException:
            self._snapshot = None
            raise

    def _create_collection(self, collection: Collection | None = None) -> None:
        created = self.collection if collection is None else collection
        stamp = {f"fingerprint_{name}": value for name, value in self.head.fingerprint.to_dict().items()}
        created.create(self.head.store_id, {**stamp, "short_dimensions": self.head.short_dimensions})

    def _require_found(self, rows: Sequence[int]) -> None:
        """Chroma counts rows in its database and finds them in its graph: the newest tells whether both are whole."""
        known, wanted = self.read_vectors(rows)
        for vector in self.shorten(wanted)[: len(known)]:
            found = list(self.catalog.find_rows(self.collection.find_nearest(vector, limit=10)).values())
            # Units with equal vectors may come before it, and one of those is as good.
            if not found or float((self.shorten(self.read_vectors(found)[1]) @ vector).max(initial=-1)) < _SAME_COSINE:
                raise StoreError(
                    "the store is corrupt: its collection does not find the newest unit; "
                    f"repair it (qwen3vl repair {self.layout.folder})"
                )

    def shorten(self, vectors: Float[np.ndarray, "n dimensions"]) -> Float[np.ndarray, "n short"]:
        """Returns vectors as the collection holds them: their first dimensions, scaled to unit length."""
        short = np.asarray(vectors, dtype=np.float32)[:, : self.head.short_dimensions]
        lengths = np.linalg.norm(short, axis=1, keepdims=True)
        return short / np.maximum(lengths, np.float32(1e-12))

    def iterate_rows(self, *, batch_rows: int = 4096) -> Iterator[list[int]]:
        """Yields the rows of all units, rising, so many at a time."""
        last = 0
        while rows := self.catalog.list_rows(after=last, limit=batch_rows):
            yield rows
            last = rows[-1]


def _describe_new(record: Record, place: Place | None) -> dict[str, str | int | float | bool]:
    """The metadata of a unit that is not in the catalog yet."""
    has_source = place is not None and not place.source.startswith(ITEM_PREFIX)
    sources = (place.source,) if place is not None and has_source else ()
    metadata: Metadata = {} if place is None or place.metadata is None else place.metadata
    return StoredUnit(row=0, record=record, sources=sources, metadata=metadata).describe()


def _list_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


def _measure_file(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        # Removed by a writer between listing and looking.
        return 0


def sync_folder(folder: Path) -> None:
    """Puts the names of new files on the disk, where folders can be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStatistics:
    """What an index holds.

    Attributes:
        folder: Where it is.
        units: Number of units.
        units_by_media_type: The same for each media type.
        files: Files that hold them.
        failures: What could not be read: source, page, start, end, error and message of each.
        fingerprint: Fingerprint of the vectors.
        short_dimensions: Length of the vectors that are recalled with.
        precision: Number format of the vectors that are rescored with.
        retired_units: Units that nobody holds any more, whose vectors are kept for a while.
        retired_bytes: Room that those take in the file of vectors.
        free_bytes: Room in the file of vectors that is free for new units.
        bytes_by_part: Room on the disk: of `catalog`, `collection`, `vectors` and `media`.
    """

    folder: Path
    units: int
    units_by_media_type: Mapping[str, int]
    files: int
    failures: tuple[Mapping[str, Any], ...]
    fingerprint: Fingerprint
    short_dimensions: int
    precision: str
    retired_units: int
    retired_bytes: int
    free_bytes: int
    bytes_by_part: Mapping[str, int]


def measure_store(store: Store) -> IndexStatistics:
    """Returns what `store` holds; no model is needed."""
    catalog = store.catalog
    slot_bytes = store.sidecar.slot_bytes
    with catalog.read():
        retired = catalog.count_retired()
        return IndexStatistics(
            folder=store.layout.folder,
            units=catalog.count_units(),
            units_by_media_type=catalog.count_media_types(),
            files=catalog.count_files(),
            failures=tuple(catalog.list_failures()),
            fingerprint=store.head.fingerprint,
            short_dimensions=store.head.short_dimensions,
            precision=store.head.precision,
            retired_units=retired,
            retired_bytes=retired * slot_bytes,
            free_bytes=catalog.count_free_slots() * slot_bytes,
            bytes_by_part=store.measure_bytes(),
        )
