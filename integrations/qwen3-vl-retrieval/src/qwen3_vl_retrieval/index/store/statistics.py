"""What an index holds, and how much room it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.store.store import Store

__all__ = ["IndexStatistics", "measure_store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStatistics:
    """What an index holds.

    Attributes:
        folder: Where it is.
        units: Number of units.
        units_by_media_type: The same for each media type.
        files: Files that hold them.
        failures: What could not be read: source, page, start, end, error and message of each.
        fingerprint: Of the vectors.
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
