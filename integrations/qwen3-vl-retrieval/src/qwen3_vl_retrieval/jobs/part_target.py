"""The units of one shard, kept in memory until its part is written: what reading and embedding enter them in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.documents.descriptions import describe_unit
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.ingest.target import IngestTarget
from qwen3_vl_retrieval.index.store.catalog import Attempt, FileState, Record, StoredFailure
from qwen3_vl_retrieval.index.store.parquet import ExportBatch
from qwen3_vl_retrieval.index.store.store import Batch
from qwen3_vl_retrieval.jobs.entries import Entry
from qwen3_vl_retrieval.jobs.parts import group_rows
from qwen3_vl_retrieval.jobs.reading import PartPrecision

__all__ = ["PartTarget"]

_HASHED = "sha256:"


class PartTarget(IngestTarget):
    """Takes the units of a shard's files.

    Args:
        fingerprint: Identity of the vectors.
        folder: An empty folder of the shard's own.
        entries: The contents, by the encoded path of the file that is read.
        known: Vectors that need not be computed again, by id of the unit.

    Attributes:
        changed: Contents that were others when they were read than when they were listed, by the same path.
        reused: Ids of the units whose vectors were known.
    """

    def __init__(
        self,
        fingerprint: Fingerprint,
        folder: Path,
        entries: Mapping[str, Entry],
        known: Mapping[str, npt.NDArray[Any]],
    ) -> None:
        self._fingerprint = fingerprint
        self._folder = folder
        self._entries = entries
        self._known = known
        self._records: dict[str, Record] = {}
        self._vectors: dict[str, npt.NDArray[Any]] = {}
        # In the order in which they were found.
        self._places: dict[str, dict[str, None]] = {}
        self.changed: list[str] = []
        self.reused: set[str] = set()

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors."""
        return self._fingerprint

    @property
    def media_folder(self) -> Path:
        """Where images would be kept that were given in memory; a shard has files only."""
        return self._folder

    def find_file(self, source: str) -> FileState | None:  # noqa: ARG002 - of the contract
        """Returns `None`: a shard is read as a whole."""
        return None

    def find_failures(self, source: str) -> Sequence[StoredFailure]:  # noqa: ARG002 - of the contract
        """Returns nothing: a shard is read as a whole."""
        return ()

    def find_attempt(self, source: str) -> Attempt | None:  # noqa: ARG002 - of the contract
        """Returns `None`: a shard is read as a whole."""
        return None

    def list_places(self, source: str) -> Sequence[tuple[str, str]]:  # noqa: ARG002 - of the contract
        """Returns nothing: a shard is read as a whole."""
        return ()

    def has_vector(self, unit_id: str) -> bool:
        """Returns whether the unit was embedded, for this shard or for an earlier part."""
        return unit_id in self._vectors or unit_id in self._known

    def add_batch(self, batch: Batch) -> int:
        """Enters units; what an unfinished or changed file has held is taken out again."""
        for record, vector in zip(batch.records, batch.vectors, strict=True):
            self._records[record.id] = record
            self._vectors[record.id] = vector
        for unit_id, record in batch.known.items():
            if unit_id not in self._vectors:
                self._records[unit_id] = record
                self._vectors[unit_id] = self._known[unit_id]
                self.reused.add(unit_id)
        for place in batch.places:
            self._places.setdefault(place.unit_id, {}).setdefault(place.source)
        for state in batch.finished:
            identity = self._entries[state.source].identity
            if identity.startswith(_HASHED) and identity != f"{_HASHED}{state.sha256}":
                self.changed.append(state.source)
                self._take_out(state.source)
        for source in batch.lost:
            self._take_out(source)
        return 0

    def count_units(self) -> int:
        """Returns the number of units that files hold."""
        return sum(1 for places in self._places.values() if places)

    def build_batches(self, precision: PartPrecision) -> Iterator[ExportBatch]:
        """Yields the units as a part has them, in the order in which they were found."""
        dtype = np.dtype(precision)
        for group in group_rows(unit_id for unit_id, places in self._places.items() if places):
            sources = [self._list_sources(unit_id) for unit_id in group]
            yield ExportBatch(
                ids=group,
                metadata=[self._describe(unit_id, held[0]) for unit_id, held in zip(group, sources, strict=True)],
                texts=[self._records[unit_id].unit.text for unit_id in group],
                contents=[None] * len(group),
                sources=sources,
                vectors=np.stack([self._vectors[unit_id] for unit_id in group]).astype(dtype),
            )

    def _list_sources(self, unit_id: str) -> list[str]:
        places = self._places[unit_id]
        return list(dict.fromkeys(source for place in places for source in self._entries[place].sources))

    def _describe(self, unit_id: str, source: str) -> dict[str, str | int | float]:
        record = self._records[unit_id]
        described = describe_unit(record.unit, sha256=record.sha256, mime_type=record.mime_type)
        # It may have been read from a copy.
        return described | {name: source for name in ("source", "image", "video") if name in described}

    def _take_out(self, source: str) -> None:
        for places in self._places.values():
            places.pop(source, None)
