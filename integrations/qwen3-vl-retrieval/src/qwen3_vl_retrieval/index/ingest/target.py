"""Where what is read goes, as reading and embedding see it: a store, or the part of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.store.catalog import Attempt, FileState, StoredFailure
from qwen3_vl_retrieval.index.store.store import Batch

__all__ = ["IngestTarget"]


class IngestTarget(Protocol):
    """What takes units, and knows which it has; asked by the thread that reads while another enters batches."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors that it holds."""
        ...

    @property
    def media_folder(self) -> Path:
        """Where images are kept that were given in memory."""
        ...

    def find_file(self, source: str) -> FileState | None:
        """Returns what is known of a file whose units are all held; `None` if they are not."""
        ...

    def find_failures(self, source: str) -> Sequence[StoredFailure]:
        """Returns what could not be read of a file."""
        ...

    def find_attempt(self, source: str) -> Attempt | None:
        """Returns the reading of a file that failed and would fail again; `None` if it is worth another one."""
        ...

    def list_places(self, source: str) -> Sequence[tuple[str, str]]:
        """Returns id and version of the units that a file holds."""
        ...

    def has_vector(self, unit_id: str) -> bool:
        """Returns whether the unit need not be embedded."""
        ...

    def add_batch(self, batch: Batch) -> int:
        """Enters what was read and embedded, and returns the number of units that are gone by it.

        Raises:
            StoreError: The disk fails.
        """
        ...
