"""What a store keeps of a unit, of a place where it was found, and of a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from qwen3_vl_retrieval.documents.descriptions import describe_unit
from qwen3_vl_retrieval.documents.identity import Signature
from qwen3_vl_retrieval.documents.units import MediaType, Unit
from qwen3_vl_retrieval.index.store.filters import COLUMN_NAMES
from qwen3_vl_retrieval.paths import decode_path

__all__ = [
    "RESERVED_NAMES",
    "Attempt",
    "FileState",
    "Metadata",
    "Place",
    "Record",
    "StoredFailure",
    "StoredUnit",
]

Metadata: TypeAlias = Mapping[str, str | int | float | bool]
"""Flat scalars, which every store can keep and filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A unit as it is kept: once, however many files hold it.

    Attributes:
        id: Hash of content, page or window, and vector space; see `compute_unit_id`.
        unit: The unit. Its file is the one that it was read from; loaded from a store it has none, see `StoredUnit`.
        sha256: Hash of the file's content; for a chunk or an item, of its own content.
        mime_type: Type of the file; `None` for an item of several parts.
        content: An item that was given in memory, see `encode_item`; `None` for a unit of a file.
    """

    id: str
    unit: Unit
    sha256: str
    mime_type: str | None = None
    content: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a unit was found.

    Attributes:
        source: Absolute path of the file; `item:<id>` for an item given in memory.
        unit_id: Of the unit.
        version: Hash of the file's content when it was found there.
        metadata: The caller's own; `None` leaves what was given before.
    """

    source: str
    unit_id: str
    version: str
    metadata: Metadata | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredUnit:
    """A unit with its row and its places.

    Attributes:
        row: Its number, from 1, which no other unit ever has.
        record: The unit.
        sources: The files that hold it, sorted; none for an item given in memory.
        metadata: The caller's own, of the first place.
        metadata_by_source: The same, of every file.
    """

    row: int
    record: Record
    sources: tuple[str, ...]
    metadata: Metadata
    metadata_by_source: Mapping[str, Metadata] = field(default_factory=dict[str, Metadata])

    def find_source(self) -> tuple[str | None, Metadata]:
        """Returns a file that holds the unit, one that exists if any does, and the metadata of that place.

        A moved file is listed at its old path, too, until a `sync` has removed it.
        """
        if not self.sources:
            return None, self.metadata
        source = self.sources[0]
        if len(self.sources) > 1:
            source = next((one for one in self.sources if os.path.isfile(decode_path(one))), source)  # noqa: PTH113 - never raises
        return source, self.metadata_by_source.get(source, self.metadata)

    def find_unit(self) -> tuple[Unit, Metadata]:
        """Returns the unit in the file that `find_source` returns, and the metadata of that place."""
        source, own = self.find_source()
        return self.record.unit if source is None else replace(self.record.unit, source=decode_path(source)), own

    def describe(self) -> dict[str, str | int | float | bool]:
        """Returns the flat metadata that travels with the unit: the caller's own, and ours, which go before them."""
        unit, own = self.find_unit()
        return {**own, **describe_unit(unit, sha256=self.record.sha256, mime_type=self.record.mime_type)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """A file whose units are all kept.

    Attributes:
        source: Its absolute path.
        sha256: Hash of its content.
        signature: What it looked like when it was read.
    """

    source: str
    sha256: str
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A reading of a file that failed, in whole or in part, and would fail again.

    Attributes:
        source: Its absolute path.
        sha256: Hash of its content; `None` if that could not be read.
        signature: What it looked like when it was read.
        conditions: Hash of what else decides whether it can be read, see `hash_conditions`.
    """

    source: str
    sha256: str | None
    signature: Signature
    conditions: str


class StoredFailure(NamedTuple):
    """A file or a part of it that could not be read, as it is kept.

    Attributes:
        page: Number of the page, from 1.
        start: First second of the window.
        end: Last second of the window.
        error: Name of the error's class.
        message: What was wrong.
        media_type: Of the part that could not be read; `None` if it is the whole file.
    """

    page: int | None
    start: float | None
    end: float | None
    error: str
    message: str
    media_type: MediaType | None = None


RESERVED_NAMES = tuple(sorted(COLUMN_NAMES | {"image", "video"}))
"""Names of our own, which metadata of the caller's may not have."""
