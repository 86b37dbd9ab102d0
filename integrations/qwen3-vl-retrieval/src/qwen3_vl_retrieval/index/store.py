"""A store on disk: catalog, full vectors and collection kept in step, whenever the process ends. Knows no models.

The catalog decides. A batch is noted as unsettled, its vectors are written, the collection gets its rows, and then one
transaction enters it in the catalog. What a killed process leaves unsettled is put right before the next write; until
then it is never shown, because every result is looked up in the catalog.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.forks import renew_in_children
from qwen3_vl_retrieval.index.batches import Batch
from qwen3_vl_retrieval.index.catalog import ITEM_PREFIX, Catalog
from qwen3_vl_retrieval.index.collection import Collection
from qwen3_vl_retrieval.index.filters import SqlFilter
from qwen3_vl_retrieval.index.layout import StoreHead, StoreLayout
from qwen3_vl_retrieval.index.locks import StoreLocks
from qwen3_vl_retrieval.index.records import Metadata, Place, Record, StoredUnit, describe_unit
from qwen3_vl_retrieval.index.sidecar import Sidecar, SidecarPrecision

__all__ = ["Snapshot", "Store"]

_SETTLED_ROWS = 1024
"""Rows that are taken from the catalog to the collection at a time."""


_SAME_COSINE = 0.999
"""What rounding leaves of a vector's cosine with itself."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What this process's collection is known to hold: the units up to a row, as of a generation of the catalog."""

    generation: int
    last_row: int


class Store:
    """Opened by `open` or `create`; a context manager.

    Attributes:
        layout: Its files.
        head: What it was created with.
        catalog: What it holds.
        sidecar: Full vectors.
        collection: Short ones.
    """

    def __init__(self, layout: StoreLayout, head: StoreHead, catalog: Catalog) -> None:
        self.layout, self.head, self.catalog = layout, head, catalog
        self.sidecar = Sidecar(layout.vectors, dimensions=head.fingerprint.dimensions, precision=head.precision)
        self.collection = Collection(layout.collection)
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
        folder.mkdir(parents=True, exist_ok=True)
        locks = StoreLocks(folder)
        with locks.hold_writer(), locks.hold_collection():
            store = cls(layout, head, Catalog(layout.catalog))
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
            StoreError: There is none, or it is torn or of another version.
        """
        layout = StoreLayout(folder)
        if not layout.exists():
            raise StoreError(f"there is no store in {str(folder)!r}; index something there first")
        catalog = Catalog(layout.catalog)
        try:
            store = cls(layout, StoreHead.from_settings(catalog.read_settings(), folder=folder), catalog)
            store.sidecar.require_rows(max(catalog.list_rows(after=catalog.last_row() - 1), default=0))
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

    @contextmanager
    def write(self) -> Generator[None, None, None]:
        """Holds the store for writing, after putting right what an earlier writer left behind.

        Raises:
            StoreError: Somebody else is writing, or the store is torn.
        """
        with self._locks.hold_writer():
            # With a graph in memory that another writer has changed on the disk, Chroma would write the old one back.
            if self.refresh().generation != self.catalog.generation:
                self.reopen()
            self._settle()
            yield

    def add_batch(self, batch: Batch) -> int:
        """Enters a batch, inside `write`, and returns how many units it removed.

        Raises:
            StoreError: The disk or Chroma fails; the batch is not entered.
        """
        ids = [record.id for record in batch.records]
        first_row = self.catalog.last_row() + 1
        rows = list(range(first_row, first_row + len(ids)))
        if ids:
            with self.catalog.write():
                self.catalog.add_unsettled(ids)
            vectors = np.stack(batch.vectors)
            self.sidecar.write(first_row, vectors)
            self._add_to_collection(batch, vectors)
        with self.catalog.write():
            changed, removed = self._enter(batch, rows)
            self.catalog.clear_unsettled(ids)
            self.catalog.add_unsettled(changed)
            if ids or changed:
                self._snapshot = Snapshot(self.catalog.advance_generation(), self.catalog.last_row())
        if changed:
            self._settle()
        return removed

    def remove_files(self, sources: Sequence[str]) -> int:
        """Strikes out files, inside `write`, and returns how many units that removed."""
        with self.catalog.write():
            rows = [row for source in sources for row in self.catalog.remove_file(source)]
            removed = self._strike_out(rows)
        self._settle()
        return removed

    def remove_where(self, condition: SqlFilter) -> int:
        """Strikes out the places that meet `condition`, inside `write`, and returns how many units that removed."""
        with self.catalog.write():
            removed = self._strike_out(self.catalog.remove_places_where(condition))
        self._settle()
        return removed

    def refresh(self) -> Snapshot:
        """Returns what the collection of this process holds, after opening it if that has not been done.

        Raises:
            StoreError: The collection is torn, or belongs to another store.
        """
        if self._snapshot is None:
            return self.reopen()
        return self._snapshot

    def reopen(self) -> Snapshot:
        """Opens the collection as it is on the disk now, and checks that nothing is missing from it.

        Raises:
            StoreError: The collection is torn, or belongs to another store.
        """
        with self._locks.hold_collection():
            # Everything entered before now is in the collection already; what is entered from now on may not be seen.
            with self.catalog.read():
                snapshot = Snapshot(self.catalog.generation, self.catalog.last_row())
                entered = self.catalog.count_units()
                newest = self.catalog.list_rows(after=snapshot.last_row - 1)
            self.collection.reopen(self.head.store_id)
            held = self.collection.count()
            if held < entered:
                raise StoreError(
                    f"the store is torn: its collection holds {held:,} of {entered:,} units; "
                    f"repair it (qwen3vl repair {self.layout.folder})"
                )
            self._require_found(newest)
        self._snapshot = snapshot
        return snapshot

    def repair(self, *, batch_rows: int = _SETTLED_ROWS) -> int:
        """Builds the collection again from catalog and full vectors, without a model; returns the number of units.

        Raises:
            StoreError: Somebody else is writing, or vectors are missing, too.
        """
        with self._locks.hold_writer(), self._locks.hold_collection():
            self.collection.drop()
            self._create_collection()
            rows = self.catalog.list_rows()
            for first in range(0, len(rows), batch_rows):
                self._copy_to_collection(rows[first : first + batch_rows])
            with self.catalog.write():
                self.catalog.clear_unsettled(self.catalog.list_unsettled())
                generation = self.catalog.advance_generation()
            self._snapshot = Snapshot(generation, self.catalog.last_row())
        return len(rows)

    def _enter(self, batch: Batch, rows: Sequence[int]) -> tuple[list[str], int]:
        """Writes a batch to the catalog; returns units of which the collection has to learn, and how many are gone."""
        fresh = {record.id for record in batch.records}
        for row, record in zip(rows, batch.records, strict=True):
            self.catalog.add_unit(row, record)
        moved = {place.unit_id for place in batch.places if self.catalog.add_place(place)}
        left = [row for source in batch.lost for row in self.catalog.remove_file(source)]
        for state in batch.finished:
            self.catalog.write_file(state)
            left += self.catalog.remove_places(state.source, except_version=state.sha256)
        for source, failures in batch.failures.items():
            self.catalog.replace_failures(source, failures)
        stayed = set(self.catalog.list_ids(left))
        removed = self.catalog.remove_homeless(left)
        # A new unit that is gone again, because its file was lost in the same batch, is in the collection already.
        return sorted((moved - fresh) | stayed | set(removed)), len(removed)

    def _strike_out(self, rows: Sequence[int]) -> int:
        ids = self.catalog.list_ids(rows)
        removed = self.catalog.remove_homeless(rows)
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
                [record.text for record in batch.records],
            )

    def _copy_to_collection(self, rows: Sequence[int]) -> None:
        units = self.catalog.load_units(rows)
        known = sorted(units)
        self.collection.add(
            [units[row].record.id for row in known],
            self.shorten(self.sidecar.read(known)),
            [describe_unit(units[row]) for row in known],
            [units[row].record.text for row in known],
        )

    def _create_collection(self) -> None:
        stamp = {f"fingerprint_{name}": value for name, value in self.head.fingerprint.to_dict().items()}
        self.collection.create(self.head.store_id, {**stamp, "short_dimensions": self.head.short_dimensions})

    def _require_found(self, rows: Sequence[int]) -> None:
        """Chroma counts rows in its database and finds them in its graph: the newest tells whether both are whole."""
        for row in self.catalog.load_units(rows):
            wanted = self.shorten(self.sidecar.read([row]))
            found = list(self.catalog.find_rows(self.collection.find_nearest(wanted[0], limit=10)).values())
            # Units with equal vectors may come before it, and one of those is as good.
            if not found or float((self.shorten(self.sidecar.read(found)) @ wanted[0]).max()) < _SAME_COSINE:
                raise StoreError(
                    "the store is torn: its collection does not find the newest unit; "
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
    return describe_unit(StoredUnit(row=0, record=record, sources=sources, metadata=metadata))
