"""The contents of a shard as local files: those of a disk as they are, others fetched for as long as it takes."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from qwen3_vl_retrieval.errors import InputError, MediaError, StoreError
from qwen3_vl_retrieval.jobs.entries import Entry
from qwen3_vl_retrieval.jobs.filesystems import (
    explain_storage_errors,
    find_local_path,
    is_download,
    open_filesystem,
)
from qwen3_vl_retrieval.media.policy import MediaPolicy, check_size, shorten_name

__all__ = ["StagedEntries", "clear_folders", "make_folder", "stage_entries"]

_PREFIX = f"qwen3vl-shard-{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}-"
"""With the machine: containers may share a folder, and number their processes each for itself."""

_THREADS = 8
"""Files that are fetched at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedEntries:
    """Contents that can be opened, and why others cannot.

    Attributes:
        paths: The local file of each content, in the order of the shard.
        errors: What became of the others.
    """

    paths: Mapping[Path, Entry]
    errors: Sequence[tuple[Entry, InputError]]


@contextmanager
def make_folder() -> Generator[Path, None, None]:
    """Yields a temporary folder for the files of a shard."""
    with TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as temporary:
        yield Path(temporary)


def clear_folders() -> None:
    """Removes the folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        number = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if number.isdecimal() and _has_ended(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def stage_entries(
    entries: Sequence[Entry], folder: Path, policy: MediaPolicy, options: Mapping[str, Any]
) -> StagedEntries:
    """Returns contents as local files.

    Args:
        entries: The contents.
        folder: Where files are fetched to; whoever calls removes it.
        policy: What may be downloaded, and how large a file may be.
        options: Options of the file system of an object store.
    """

    def stage(place: int) -> Path | InputError:
        source = entries[place].sources[0]
        local = find_local_path(source)
        if local is not None:
            return local
        # The suffix says what it is; names of others may be too long for this disk.
        suffix = PurePosixPath(urlsplit(source).path if is_download(source) else source).suffix
        target = folder / f"{place}{suffix}"
        try:
            _fetch(source, target, policy, options)
        except InputError as error:
            return error
        except StoreError as error:
            return MediaError(str(error))
        return target

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="stage-entries") as threads:
        staged = list(zip(entries, threads.map(stage, range(len(entries))), strict=True))
    return StagedEntries(
        paths={path: entry for entry, path in staged if isinstance(path, Path)},
        errors=[(entry, error) for entry, error in staged if isinstance(error, InputError)],
    )


def _fetch(source: str, target: Path, policy: MediaPolicy, options: Mapping[str, Any]) -> None:
    if is_download(source):
        from qwen3_vl_retrieval.media.download import fetch_url

        target.write_bytes(fetch_url(source, policy))
        return
    filesystem, name = open_filesystem(source, options)
    with explain_storage_errors(f"{shorten_name(source)!r} cannot be fetched"):
        check_size(int(filesystem.size(name) or 0), shorten_name(source), policy)
        filesystem.get_file(name, str(target))


def _has_ended(process_id: int) -> bool:
    if os.name != "posix":
        # Elsewhere, asking with a signal would end it.
        return False
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
