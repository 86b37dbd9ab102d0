"""What a caller gives to be added: files, folders and items, and the metadata of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qwen3_vl_retrieval import metadata as metadata_checks
from qwen3_vl_retrieval.coercion import list_items
from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.index.files import find_kind, is_folder, list_files
from qwen3_vl_retrieval.index.records import RESERVED_NAMES, Metadata
from qwen3_vl_retrieval.index.results import FailedFile
from qwen3_vl_retrieval.inputs import Item

__all__ = ["check_metadata", "list_sources"]


def list_sources(given: Path | Iterable[Path | Item]) -> tuple[list[Path | Item], int, list[FailedFile]]:
    """Returns files and items, folders replaced by what is in them; how many files were skipped; and what failed.

    Raises:
        InputError: A single item was given instead of a list, or a folder cannot be read.
    """
    sources: list[Path | Item] = []
    failures: list[FailedFile] = []
    skipped = 0
    for source in [given] if isinstance(given, Path) else list_items(given):
        if not (isinstance(source, Path) and is_folder(source)):
            sources.append(source)
            continue
        listing = list_files(source)
        readable = [path for path in listing.files if find_kind(path) is not None]
        skipped += len(listing.files) - len(readable)
        sources += readable
        failures += [FailedFile(path=path, unit=None, error=error) for path, error in listing.failures]
    return sources, skipped, failures


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
