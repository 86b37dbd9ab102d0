"""A store as the target of what is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.ingest.target import IngestTarget
from qwen3_vl_retrieval.index.store.catalog import Attempt, FileState, StoredFailure
from qwen3_vl_retrieval.index.store.store import Batch, Store

__all__ = ["StoreTarget"]


class StoreTarget(IngestTarget):
    """Enters batches in a store, inside `store.write()`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalog = store.catalog

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors of the store."""
        return self._store.head.fingerprint

    @property
    def media_folder(self) -> Path:
        """Where images are kept that were given in memory."""
        return self._store.layout.media

    def find_file(self, source: str) -> FileState | None:
        """Returns what the catalog knows of a file."""
        return self._catalog.find_file(source)

    def find_failures(self, source: str) -> Sequence[StoredFailure]:
        """Returns what could not be read of a file."""
        return self._catalog.find_failures(source)

    def find_attempt(self, source: str) -> Attempt | None:
        """Returns the reading of a file that failed and would fail again."""
        return self._catalog.find_attempt(source)

    def list_places(self, source: str) -> Sequence[tuple[str, str]]:
        """Returns id and version of the units that a file holds."""
        return self._catalog.list_places(source)

    def has_vector(self, unit_id: str) -> bool:
        """Returns whether the unit is in the store, or retired."""
        # At one moment: groups that are written meanwhile retire units and revive them.
        with self._catalog.read():
            return bool(self._catalog.find_rows([unit_id]) or self._catalog.find_retired([unit_id]))

    def add_batch(self, batch: Batch) -> int:
        """Enters a batch, and returns the number of units that are gone by it."""
        return self._store.add_batch(batch)
