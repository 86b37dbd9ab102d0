"""Disks that are full, and other reasons why a store cannot be written: one `StoreError` that says what to do."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from qwen3_vl_retrieval.errors import StoreError

__all__ = ["explain_disk_errors", "explain_write_error", "find_full_disk", "is_disk_full"]

_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

_FULL_WORDS = ("disk is full", "no space left", "quota exceeded", "file too large", "os error 27", "os error 28")
"""How the native part of Chroma words the same: its errors carry no number of their own."""

_READ_ONLY_CODES = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})

_PROBE_BYTES = 1024 * 1024
"""More than a batch of short vectors with its texts grows a file by."""

_CODE_MASK = 0xFF
"""The lowest byte of SQLite's extended result codes is the plain code (https://www.sqlite.org/rescode.html)."""


@contextmanager
def explain_disk_errors(folder: Path) -> Generator[None, None, None]:
    """Raises what the operating system and SQLite raise inside as one `StoreError` about the store in `folder`."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise explain_write_error(folder, error) from error


def explain_write_error(folder: Path, error: Exception) -> StoreError:
    """Returns the error that says why the store in `folder` cannot be written, and what to do."""
    code = _find_code(error)
    number = error.errno if isinstance(error, OSError) else None
    said = str(error)
    if is_disk_full(error):
        return StoreError(
            f"there is no room left for the store {str(folder)!r} ({said}; {_describe_room(folder)}): free some, raise "
            "the quota, or move the store to a larger disk, then run the same again; what it holds is intact, and "
            "what was entered is not done twice"
        )
    if code in _READ_ONLY_CODES or number in _READ_ONLY_ERRNOS:
        return StoreError(
            f"the store {str(folder)!r} cannot be written to ({said}): it is read-only here; give write permission "
            "for its folder, or copy it to where there is some"
        )
    if code is not None and code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(
            f"the catalog of the store {str(folder)!r} is damaged ({said}); restore the folder from a copy, or build "
            "the store again"
        )
    return StoreError(
        f"the store {str(folder)!r} cannot be read or written ({said}; {_describe_room(folder)}): see whether its "
        "disk is full or failing, then run the same again; what was entered is not done twice"
    )


def is_disk_full(error: Exception) -> bool:
    """Returns whether an error means that no more can be written: the disk, a quota or the longest file is full."""
    if isinstance(error, OSError) and error.errno in _FULL_ERRNOS:
        return True
    said = str(error).lower()
    return _find_code(error) == sqlite3.SQLITE_FULL or any(words in said for words in _FULL_WORDS)


def find_full_disk(folder: Path) -> OSError | None:
    """Returns what the system says when a little more is written than the largest file of `folder` holds.

    Chroma keeps to itself why its database could not be written. `None` if there is room.
    """
    try:
        largest = max((file.stat().st_size for file in folder.rglob("*") if file.is_file()), default=0)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            # Beyond the longest file that is allowed, if there is such a limit; it takes no room.
            probe.seek(largest + _PROBE_BYTES)
            probe.write(b"\0")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error if is_disk_full(error) else None
    return None


def _find_code(error: Exception) -> int | None:
    """SQLite's plain result code; errors of the module itself, such as the use of a closed connection, have none."""
    if not isinstance(error, sqlite3.Error) or "sqlite_errorcode" not in vars(error):
        return None
    return error.sqlite_errorcode & _CODE_MASK


def _describe_room(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 1e6:,.0f} MB are free"
    except OSError:
        return "its disk does not answer"
