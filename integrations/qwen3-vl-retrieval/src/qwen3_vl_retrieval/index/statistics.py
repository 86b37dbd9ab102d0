"""What an index holds, and how much room it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.store import Store

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
    bytes_by_part: Mapping[str, int]


def measure_store(store: Store) -> IndexStatistics:
    """Returns what `store` holds; no model is needed."""
    layout, catalog = store.layout, store.catalog
    parts = {
        "catalog": list(layout.folder.glob("catalog.sqlite3*")),
        "collection": _list_below(layout.collection),
        "vectors": [layout.vectors],
        "media": _list_below(layout.media),
    }
    with catalog.read():
        return IndexStatistics(
            folder=layout.folder,
            units=catalog.count_units(),
            units_by_media_type=catalog.count_media_types(),
            files=catalog.count_files(),
            failures=tuple(catalog.list_failures()),
            fingerprint=store.head.fingerprint,
            short_dimensions=store.head.short_dimensions,
            precision=store.head.precision,
            bytes_by_part={name: sum(_measure_bytes(file) for file in files) for name, files in parts.items()},
        )


def _list_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


def _measure_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        # Removed by a writer between listing and looking.
        return 0
