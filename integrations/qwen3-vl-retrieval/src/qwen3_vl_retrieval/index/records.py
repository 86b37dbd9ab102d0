"""What a store keeps of a unit, of a place where it was found, and of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from qwen3_vl_retrieval.index.filters import COLUMN_NAMES
from qwen3_vl_retrieval.index.units import MediaType

__all__ = ["RESERVED_NAMES", "FileState", "Metadata", "Place", "Record", "Signature", "StoredUnit", "describe_unit"]

Metadata: TypeAlias = Mapping[str, str | int | float | bool]
"""Flat scalars, which every store can keep and filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A unit as it is kept: once, however many files hold it.

    Attributes:
        id: Of content, page or window, and vector space; see `compute_unit_id`.
        media_type: What it is.
        sha256: Hash of the file's content; of a chunk's or an item's own content.
        mime_type: Of the file; `None` for an item of several parts.
        page: Number of the page, from 1.
        start: First second of the window.
        end: Last second of the window.
        width: Of a picture, in pixels.
        height: Of a picture, in pixels.
        text: The chunk, or the text layer of the page.
        content: An item that was given in memory, see `encode_item`; `None` for a unit of a file.
    """

    id: str
    media_type: MediaType
    sha256: str
    mime_type: str | None = None
    page: int | None = None
    start: float | None = None
    end: float | None = None
    width: int | None = None
    height: int | None = None
    text: str | None = None
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
        row: Of the sidecar, from 1.
        record: The unit.
        sources: The files that hold it, sorted; none for an item given in memory.
        metadata: The caller's own, of the first place.
    """

    row: int
    record: Record
    sources: tuple[str, ...]
    metadata: Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What tells without reading a file that nobody wrote to it.

    Attributes:
        size_bytes: Length of the file.
        modified_ns: Time of the last change of content.
        changed_ns: Time of the last change of content or attributes, which programs cannot set.
        inode: Number of the file in its file system.
        checked_ns: When the rest was looked at.
    """

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int
    checked_ns: int


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


RESERVED_NAMES = tuple(sorted(COLUMN_NAMES | {"image", "video"}))
"""Names of our own, which metadata of the caller's may not have."""


def describe_unit(unit: StoredUnit) -> dict[str, str | int | float | bool]:
    """Returns the flat metadata that travels with a unit: the caller's own, and above it ours, without empty values."""
    record = unit.record
    source = unit.sources[0] if unit.sources else None
    ours: dict[str, str | int | float | None] = {
        "media_type": record.media_type,
        "source": source,
        "image": source if record.media_type == "image" else None,
        "video": source if record.media_type == "video" else None,
        "sha256": record.sha256,
        "mime_type": record.mime_type,
        "page": record.page,
        "start": record.start,
        "end": record.end,
        "width": record.width,
        "height": record.height,
    }
    return {**unit.metadata, **{name: value for name, value in ours.items() if value is not None}}
