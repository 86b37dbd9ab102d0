"""What reading a file or an item finds, one thing at a time: units at their places, ends of files, and failures."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeAlias

from qwen3_vl_retrieval import metadata as metadata_checks
from qwen3_vl_retrieval.documents.files import SkippedFile, is_folder, list_files
from qwen3_vl_retrieval.documents.identity import (
    Signature,
    compute_unit_id,
    hash_text,
    is_same_content,
    is_unchanged,
    read_signature,
)
from qwen3_vl_retrieval.documents.kept_media import decode_item, encode_item
from qwen3_vl_retrieval.documents.media_store import hash_file
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.errors import InputError, InputTooLongError, MediaError, MediaPolicyError, quote
from qwen3_vl_retrieval.image_formats import guess_mime_type
from qwen3_vl_retrieval.index.ingest.target import IngestTarget
from qwen3_vl_retrieval.index.results.hits import FailedFile
from qwen3_vl_retrieval.index.store.catalog import (
    ITEM_PREFIX,
    RESERVED_NAMES,
    Attempt,
    FileState,
    Metadata,
    Place,
    Record,
    StoredFailure,
)
from qwen3_vl_retrieval.items import ImageReading, Item, list_items
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.paths import encode_path

__all__ = [
    "FileRead",
    "Finding",
    "FoundUnit",
    "KnownFailure",
    "SourceReader",
    "Sources",
    "UnchangedFile",
    "UnitReader",
    "UnreadableSource",
    "check_metadata",
    "describe_failures",
    "hash_conditions",
    "is_passing",
    "list_sources",
    "restore_failure",
]

_READERS = (
    "av",
    "charset-normalizer",
    "ctranslate2",
    "faster-whisper",
    "onnxruntime",
    "pillow",
    "pillow-heif",
    "pypdfium2",
    "qwen-vl-utils",
    "qwen3-vl-retrieval",
    "rapidocr",
    "semantic-text-splitter",
    "tokenizers",
    "torchvision",
    "transformers",
)
"""Packages whose version, or absence, decides what can be read."""

_ERRORS = {error.__name__: error for error in (InputError, MediaError, MediaPolicyError, InputTooLongError)}

UnitReader: TypeAlias = Callable[[Path, MediaPolicy], list[Unit]]
"""Turns a file into its units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What is to be added.

    Attributes:
        sources: Files and items, in the order in which they were given, a folder's files by path.
        skipped: What is in folders and not read, and why.
        hidden: Number of entries of folders whose names begin with a dot.
        failures: Folders that could not be read, and why.
    """

    sources: tuple[Path | Item, ...]
    skipped: tuple[SkippedFile, ...]
    hidden: int
    failures: tuple[FailedFile, ...]


def list_sources(given: Path | Iterable[Path | Item], *, exclude: Sequence[str] = ()) -> Sources:
    """Returns files and items, folders replaced by what is in them; `exclude` as in `list_files`.

    Raises:
        InputError: A single item was given instead of a list, or a folder cannot be read; or a pattern is malformed.
    """
    sources: list[Path | Item] = []
    skipped: list[SkippedFile] = []
    failures: list[FailedFile] = []
    hidden = 0
    for source in [given] if isinstance(given, Path) else list_items(given):
        if not (isinstance(source, Path) and is_folder(source)):
            sources.append(source)
            continue
        listing = list_files(source, exclude=exclude)
        sources += listing.files
        skipped += listing.skipped
        hidden += listing.hidden
        failures += [FailedFile(path=path, unit=None, error=error) for path, error in listing.failures]
    # A file that is named twice is read once.
    seen: set[Path] = set()
    once: list[Path | Item] = []
    for source in sources:
        if not isinstance(source, Path):
            once.append(source)
        elif (path := source.absolute()) not in seen:
            seen.add(path)
            once.append(source)
    return Sources(sources=tuple(once), skipped=tuple(skipped), hidden=hidden, failures=tuple(failures))


def check_metadata(metadata: Metadata | None) -> Metadata | None:
    """Returns a copy of the caller's metadata.

    Raises:
        ValueError: They are not flat, use a reserved name, or hold what no database can.
    """
    if metadata is None:
        return None
    for name, value in metadata.items():
        if isinstance(value, str) and "\0" in value:
            raise ValueError(
                f"metadata {quote(name)} holds a null character, which a database ends a text at; leave it out"
            )
    try:
        return metadata_checks.check_metadata(metadata, reserved=RESERVED_NAMES)
    except InputError as error:
        # They are an option of the call, and belong to no item of it.
        raise ValueError(error.reason) from error


def hash_conditions(policies: list[MediaPolicy], options: Mapping[str, Any]) -> str:
    """Returns a hash of what decides, beside a file itself, whether it can be read.

    Args:
        policies: Limits under which it is opened.
        options: How it is taken apart; values that JSON knows.
    """
    named = {"policies": [asdict(policy) for policy in policies], "options": options, "packages": _list_versions()}
    return hashlib.sha256(json.dumps(named, sort_keys=True, default=str).encode("utf-8", "replace")).hexdigest()


def is_passing(error: BaseException, path: Path) -> bool:
    """Returns whether the cause may be gone the next moment: the file could not be looked at, opened or read."""
    if isinstance(error, MediaPolicyError):
        return False
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        # Decoders derive errors about contents from OSError, too: without a number (Pillow), or of their own (PyAV).
        if isinstance(cause, OSError) and cause.errno is not None and type(cause).__module__ == "builtins":
            return True
        seen.append(cause)
        cause = cause.__cause__ if cause.__cause__ is not None else cause.__context__
    # What is read in another process comes back without its cause.
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError:
        return True
    return False


def describe_failures(failures: list[FailedFile]) -> list[StoredFailure]:
    """Returns failures as the catalog keeps them."""
    return [_describe(failure) for failure in failures]


def restore_failure(path: Path, stored: StoredFailure) -> FailedFile:
    """Returns a failure of an earlier run."""
    error = _ERRORS.get(stored.error, InputError)(stored.message)
    unit = None
    if stored.media_type is not None:
        unit = Unit(source=path, media_type=stored.media_type, page=stored.page, start=stored.start, end=stored.end)
    return FailedFile(path=path, unit=unit, error=error)


def _describe(failure: FailedFile) -> StoredFailure:
    unit, error = failure.unit, failure.error
    name, message = type(error).__name__, error.reason
    if unit is None:
        return StoredFailure(None, None, None, name, message)
    return StoredFailure(unit.page, unit.start, unit.end, name, message, unit.media_type)


@lru_cache(maxsize=1)
def _list_versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in _READERS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundUnit:
    """A unit at its place.

    Attributes:
        record: The unit, as it is kept.
        place: Where it was found.
        item: The item, if it was given in memory and is in no file.
        is_part: Whether it is one of the units of a file, whose end follows.
    """

    record: Record
    place: Place
    item: Item | None = None
    is_part: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """The end of a file: all its units have been found.

    Attributes:
        state: What it looks like.
        outcome: Whether the target did not hold the file, held another content of it, or this one.
    """

    state: FileState
    outcome: Literal["added", "changed", "unchanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnchangedFile:
    """A file that is in the store as it is.

    Attributes:
        state: What it looks like now, if that is to be entered.
        places: Its places, if the caller's metadata are others now.
        failures: Parts of it that could not be read, and would not be now.
        attempt: Their reading, if what the file looks like is to be entered.
    """

    state: FileState | None = None
    places: tuple[Place, ...] = ()
    failures: tuple[FailedFile, ...] = ()
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableSource:
    """A file or item of which there is nothing to be embedded.

    Attributes:
        source: Its path, or its position.
        failure: Why.
        attempt: Its reading, if it would fail again.
    """

    source: str
    failure: FailedFile
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFailure:
    """A file that could not be read, and would not be now.

    Attributes:
        failures: Why; of each part of it.
        attempt: Its reading, if what the file looks like is to be entered.
    """

    failures: tuple[FailedFile, ...]
    attempt: Attempt | None = None


Finding: TypeAlias = "FoundUnit | FileRead | UnchangedFile | UnreadableSource | KnownFailure"


class SourceReader:
    """Reads files and items; belongs to the thread that reads.

    Args:
        target: Where units go; it says which files and units need not be read again.
        space: Hash of the vector space.
        policy: What may be opened.
        read_units: Turns a file into units.
        image_reading: How the model of the target reads images.
        conditions: Hash of what decides, beside a file, whether it can be read.
        retry_failed: Whether files are read again that could not be read, and have not changed.
        on_file: Called with each file before it is looked at, and with `None` at the end.
    """

    def __init__(
        self,
        target: IngestTarget,
        *,
        space: str,
        policy: MediaPolicy,
        read_units: UnitReader,
        image_reading: ImageReading,
        conditions: str,
        retry_failed: bool,
        on_file: Callable[[Path | None], None],
    ) -> None:
        self._target = target
        self._space = space
        self._policy = policy
        self._read_units = read_units
        self._image_reading: ImageReading = image_reading
        self._conditions = conditions
        self._retry_failed = retry_failed
        self._on_file = on_file

    def read(self, sources: Iterable[tuple[Path | Item, Metadata | None]]) -> Generator[Finding, None, None]:
        """Yields what is found in files (`Path`) and items, in their order; the units of a file before its end.

        Args:
            sources: Each with the caller's own metadata of its units; `None` leaves those that were given before.
        """
        for position, (source, own) in enumerate(sources):
            if isinstance(source, Path):
                self._on_file(source)
                path = Path(os.path.abspath(source))  # noqa: PTH100 - links are kept as they are
                yield from self._read_file(path, own)
            else:
                self._on_file(None)
                yield self._read_item(position, source, own)
        self._on_file(None)

    def _read_file(self, path: Path, metadata: Metadata | None) -> Generator[Finding, None, None]:
        source = encode_path(path)
        try:
            signature = read_signature(path)
        except InputError as error:
            yield self._give_up(path, error, None)
            return
        known = self._target.find_file(source)
        failures = tuple(restore_failure(path, stored) for stored in self._target.find_failures(source))
        attempt = self._find_attempt(source, signature) if failures else None
        # A file with parts that could not be read is as good as unread if they may be read now.
        is_settled = attempt is not None or not failures
        if known is not None and is_settled and is_unchanged(known.signature, signature):
            yield self._keep_file(source, None, failures, metadata)
            return
        if known is None and attempt is not None and is_unchanged(attempt.signature, signature):
            yield KnownFailure(failures=failures)
            return
        sha256 = None
        try:
            sha256 = hash_file(path, self._policy)
            state = FileState(source=source, sha256=sha256, signature=signature)
            if known is None and attempt is not None and attempt.sha256 == sha256:
                yield KnownFailure(failures=failures, attempt=replace(attempt, signature=signature))
                return
            if known is not None and known.sha256 == sha256 and is_settled:
                yield self._keep_file(source, state, failures, metadata)
                return
            units = self._read_units(path, self._policy)
        except InputError as error:
            yield self._give_up(path, error, self._describe_attempt(source, sha256, signature))
            return
        mime_type = guess_mime_type(path)
        for unit in units:
            yield self._place_unit(unit, state, mime_type, metadata)
        # As the store knew it before its first unit was entered. What an interrupted run left of it does not count.
        is_same = known is not None and known.sha256 == sha256
        outcome = "added" if known is None else "unchanged" if is_same else "changed"
        yield FileRead(state=state, outcome=outcome)

    def _find_attempt(self, source: str, signature: Signature) -> Attempt | None:
        """The last reading of a file, if it failed and would fail again."""
        attempt = None if self._retry_failed else self._target.find_attempt(source)
        if attempt is None or attempt.conditions != self._conditions:
            return None
        return attempt if is_same_content(attempt.signature, signature) else None

    def _describe_attempt(self, source: str, sha256: str | None, signature: Signature) -> Attempt:
        return Attempt(source=source, sha256=sha256, signature=signature, conditions=self._conditions)

    def _give_up(self, path: Path, error: InputError, attempt: Attempt | None) -> UnreadableSource:
        return UnreadableSource(
            source=encode_path(path),
            failure=FailedFile(path=path, unit=None, error=error.at(None)),
            attempt=None if attempt is None or is_passing(error, path) else attempt,
        )

    def _keep_file(
        self, source: str, state: FileState | None, failures: tuple[FailedFile, ...], metadata: Metadata | None
    ) -> UnchangedFile:
        places: list[Place] = []
        if metadata is not None:
            places = [
                Place(source=source, unit_id=unit_id, version=version, metadata=metadata)
                for unit_id, version in self._target.list_places(source)
            ]
        attempt = None
        if state is not None and failures:
            attempt = self._describe_attempt(source, state.sha256, state.signature)
        return UnchangedFile(state=state, places=tuple(places), failures=failures, attempt=attempt)

    def _place_unit(self, unit: Unit, state: FileState, mime_type: str | None, metadata: Metadata | None) -> FoundUnit:
        # A chunk is the same wherever it stands: when a text is changed, the chunks that stay are not embedded again.
        is_chunk = unit.media_type == "text"
        sha256 = hash_text("" if unit.text is None else unit.text) if is_chunk else state.sha256
        unit_id = compute_unit_id(self._space, sha256, unit.media_type, page=unit.page, start=unit.start, end=unit.end)
        record = Record(id=unit_id, unit=unit, sha256=sha256, mime_type=mime_type)
        place = Place(source=state.source, unit_id=unit_id, version=state.sha256, metadata=metadata)
        return FoundUnit(record=record, place=place, is_part=True)

    def _read_item(self, position: int, item: Item, metadata: Metadata | None) -> Finding:
        try:
            given = encode_item(item, self._target.media_folder, self._policy, image_reading=self._image_reading)
        except InputError as error:
            source = f"item {position}"
            failure = FailedFile(path=Path(source), unit=None, error=error.at(None))
            return UnreadableSource(source=source, failure=failure)
        unit_id = compute_unit_id(self._space, given.sha256, given.media_type)
        source = f"{ITEM_PREFIX}{unit_id}" if given.source is None else encode_path(given.source)
        unit = Unit(media_type=given.media_type, text=given.text, width=given.width, height=given.height)
        if given.source is not None:
            unit = replace(unit, source=given.source)
        record = Record(
            id=unit_id,
            unit=unit,
            sha256=given.sha256,
            mime_type=None if given.source is None else guess_mime_type(given.source),
            content=given.content,
        )
        place = Place(source=source, unit_id=unit_id, version=given.sha256, metadata=metadata)
        if given.source is not None:
            return FoundUnit(record=record, place=place)
        # As it will be opened later: what an image is kept as is what is embedded.
        kept = item if given.content is None else decode_item(given.content, self._target.media_folder)
        return FoundUnit(record=record, place=place, item=kept)
