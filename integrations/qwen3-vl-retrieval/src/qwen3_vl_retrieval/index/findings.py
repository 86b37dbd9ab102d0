"""What reading a file or an item finds, one thing at a time: units at their places, ends of files, and failures."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.index.catalog import ITEM_PREFIX, Catalog
from qwen3_vl_retrieval.index.files import guess_mime_type
from qwen3_vl_retrieval.index.identity import compute_unit_id, hash_file, hash_text, is_unchanged, read_signature
from qwen3_vl_retrieval.index.items import decode_item, encode_item
from qwen3_vl_retrieval.index.records import FileState, Metadata, Place, Record
from qwen3_vl_retrieval.index.results import FailedFile
from qwen3_vl_retrieval.index.units import Unit
from qwen3_vl_retrieval.inputs import Item
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.paths import encode_path

__all__ = ["FileRead", "Finding", "FoundUnit", "SourceReader", "UnchangedFile", "UnitReader", "UnreadableSource"]

UnitReader: TypeAlias = Callable[[Path, MediaPolicy], list[Unit]]
"""Turns a file into its units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundUnit:
    """A unit at its place.

    Attributes:
        record: The unit, as it is kept.
        place: Where it was found.
        unit: How it is opened; `None` for an item that was given in memory.
        item: The item that was given in memory.
    """

    record: Record
    place: Place
    unit: Unit | None = None
    item: Item | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """The end of a file: all its units have been found."""

    state: FileState
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnchangedFile:
    """A file that is in the store as it is.

    Attributes:
        state: What it looks like now, if that is to be entered.
        places: Its places, if the caller's metadata are others now.
    """

    state: FileState | None = None
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableSource:
    """A file or item of which there is nothing to be embedded."""

    source: str
    failure: FailedFile


Finding: TypeAlias = "FoundUnit | FileRead | UnchangedFile | UnreadableSource"


class SourceReader:
    """Reads files and items; belongs to the thread that reads.

    Args:
        catalog: What is in the store.
        media_folder: Where pictures are kept that were given in memory.
        space: Hash of the vector space.
        policy: What may be opened.
        read_units: Turns a file into units.
        metadata: The caller's own, of all units; `None` leaves what was given before.
    """

    def __init__(
        self,
        catalog: Catalog,
        media_folder: Path,
        *,
        space: str,
        policy: MediaPolicy,
        read_units: UnitReader,
        metadata: Metadata | None,
    ) -> None:
        self._catalog = catalog
        self._media_folder = media_folder
        self._space = space
        self._policy = policy
        self._read_units = read_units
        self._metadata = metadata

    def read(self, sources: Iterable[Path | Item]) -> Generator[Finding, None, None]:
        """Yields what is found in files (`Path`) and items, in their order; the units of a file before its end."""
        for position, source in enumerate(sources):
            if isinstance(source, Path):
                yield from self._read_file(Path(os.path.abspath(source)))  # noqa: PTH100 - links are kept as they are
            else:
                yield self._read_item(position, source)

    def _read_file(self, path: Path) -> Generator[Finding, None, None]:
        source = encode_path(path)
        try:
            signature = read_signature(path)
            known = self._catalog.find_file(source)
            if known is not None and is_unchanged(known.signature, signature):
                yield self._keep_file(source, None)
                return
            sha256 = hash_file(path, self._policy)
            state = FileState(source=source, sha256=sha256, signature=signature)
            if known is not None and known.sha256 == sha256:
                yield self._keep_file(source, state)
                return
            units = self._read_units(path, self._policy)
        except InputError as error:
            yield UnreadableSource(source=source, failure=FailedFile(path=path, unit=None, error=error.at(None)))
            return
        mime_type = guess_mime_type(path)
        for unit in units:
            yield self._place_unit(unit, state, mime_type)
        yield FileRead(state=state, is_new=known is None and not self._catalog.has_places(source))

    def _keep_file(self, source: str, state: FileState | None) -> UnchangedFile:
        if self._metadata is None:
            return UnchangedFile(state=state)
        places = [
            Place(source=source, unit_id=unit_id, version=version, metadata=self._metadata)
            for unit_id, version in self._catalog.list_places(source)
        ]
        return UnchangedFile(state=state, places=tuple(places))

    def _place_unit(self, unit: Unit, state: FileState, mime_type: str | None) -> FoundUnit:
        # A chunk is the same wherever it stands: when a text is changed, the chunks that stay are not embedded again.
        is_chunk = unit.media_type == "text"
        sha256 = hash_text("" if unit.text is None else unit.text) if is_chunk else state.sha256
        unit_id = compute_unit_id(self._space, sha256, unit.media_type, page=unit.page, start=unit.start, end=unit.end)
        record = Record(
            id=unit_id,
            media_type=unit.media_type,
            sha256=sha256,
            mime_type=mime_type,
            page=unit.page,
            start=unit.start,
            end=unit.end,
            width=unit.width,
            height=unit.height,
            text=unit.text,
        )
        place = Place(source=state.source, unit_id=unit_id, version=state.sha256, metadata=self._metadata)
        return FoundUnit(record=record, place=place, unit=unit)

    def _read_item(self, position: int, item: Item) -> Finding:
        try:
            given = encode_item(item, self._media_folder, self._policy)
        except InputError as error:
            source = f"item {position}"
            failure = FailedFile(path=Path(source), unit=None, error=error.at(None))
            return UnreadableSource(source=source, failure=failure)
        unit_id = compute_unit_id(self._space, given.sha256, given.media_type)
        source = f"{ITEM_PREFIX}{unit_id}" if given.source is None else encode_path(given.source)
        record = Record(
            id=unit_id,
            media_type=given.media_type,
            sha256=given.sha256,
            mime_type=None if given.source is None else guess_mime_type(given.source),
            width=given.width,
            height=given.height,
            text=given.text,
            content=given.content,
        )
        place = Place(source=source, unit_id=unit_id, version=given.sha256, metadata=self._metadata)
        if given.source is not None:
            unit = Unit(source=given.source, media_type="image", width=given.width, height=given.height)
            return FoundUnit(record=record, place=place, unit=unit)
        # As it will be opened later: what a picture is kept as is what is embedded.
        kept = item if given.content is None else decode_item(given.content, self._media_folder)
        return FoundUnit(record=record, place=place, item=kept)
