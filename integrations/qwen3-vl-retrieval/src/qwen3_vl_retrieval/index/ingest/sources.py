"""What a caller gives to be added: files, folders and items, and the metadata of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qwen3_vl_retrieval import metadata as metadata_checks
from qwen3_vl_retrieval.documents.files import SkippedFile, is_folder, list_files
from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.index.results.failures import FailedFile
from qwen3_vl_retrieval.index.store.records import RESERVED_NAMES, Metadata
from qwen3_vl_retrieval.items import Item, list_items

__all__ = ["Sources", "check_metadata", "list_sources"]


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
