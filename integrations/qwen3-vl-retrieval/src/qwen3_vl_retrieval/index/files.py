"""Which files a folder holds, and what each of them is taken for."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from qwen3_vl_retrieval.coercion import IMAGE_SUFFIXES, TEXT_SUFFIXES, VIDEO_SUFFIXES
from qwen3_vl_retrieval.errors import InputError

__all__ = ["FileKind", "Listing", "find_kind", "list_files"]

FileKind: TypeAlias = Literal["text", "image", "pdf", "video", "office"]
"""What a file is taken for. `office` stands for the formats that are named, and refused, rather than skipped."""

_OFFICE_SUFFIXES = frozenset(
    {
        *(".doc", ".docx", ".odt", ".rtf", ".epub"),
        *(".xls", ".xlsx", ".ods", ".ppt", ".pptx", ".odp"),
        *(".htm", ".html", ".xhtml"),
    }
)

_KINDS: dict[str, FileKind] = {
    ".pdf": "pdf",
    **dict.fromkeys(TEXT_SUFFIXES, "text"),
    **dict.fromkeys(IMAGE_SUFFIXES, "image"),
    **dict.fromkeys(VIDEO_SUFFIXES, "video"),
    **dict.fromkeys(_OFFICE_SUFFIXES, "office"),
}

_CODE_OR_VIDEO_SUFFIXES = (".ts", ".mts")
"""TypeScript, translations of Qt, or MPEG-TS."""

# Each packet of MPEG-TS begins with this byte. Discs put a time of four bytes before it, broadcasts a check after it.
_SYNC_BYTE = 0x47
_PACKET_BYTES = (188, 192, 204)
_SYNC_PACKETS = 5

# What looking at a link that leads nowhere, or in a circle, answers.
_BROKEN_LINK_ERRORS = (errno.ENOENT, errno.ELOOP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What lies below a folder.

    Attributes:
        files: The files, sorted by path, each with the folder as its beginning.
        failures: The entries that could not be looked at, or folders that could not be read, and why; by path, too.
    """

    files: tuple[Path, ...]
    failures: tuple[tuple[Path, InputError], ...]


def find_kind(path: Path) -> FileKind | None:
    """Returns what `path` is taken for by its suffix, whatever its case; `None` if it is to be skipped.

    `.ts` and `.mts` are video if the file begins as MPEG-TS, and text if not, or if it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in _CODE_OR_VIDEO_SUFFIXES:
        return "video" if _is_transport_stream(_read_beginning(path)) else "text"
    return _KINDS.get(suffix)


def list_files(folder: Path) -> Listing:
    """Returns the files below `folder` at any depth.

    Names that begin with a dot are left out, folders included. A symbolic link counts only if it leads to a place
    inside `folder`; a folder that is reached twice is read once. A link that leads nowhere, or in a circle, is listed
    as a file: reading it says what is wrong. What may not be read is among the failures, and the rest is listed.

    Raises:
        InputError: `folder` is not a folder, or may not be read itself.
    """
    if not _is_folder(folder):
        raise InputError(f"{str(folder)!r} is not a folder; give an existing folder")
    root = folder.resolve()
    files: list[Path] = []
    failures: list[tuple[Path, InputError]] = []
    seen = {root}
    waiting = deque(_read_folder(folder))
    while waiting:
        path = waiting.popleft()
        # Unlike `Path.resolve`, it accepts links in a circle in every version of Python.
        resolved = Path(os.path.realpath(path))
        if not resolved.is_relative_to(root):
            continue
        try:
            mode = _find_mode(path)
            if stat.S_ISREG(mode):
                files.append(path)
            elif stat.S_ISDIR(mode) and resolved not in seen:
                seen.add(resolved)
                waiting += _read_folder(path)
        except InputError as error:
            failures.append((path, error))
    return Listing(files=tuple(sorted(files)), failures=tuple(sorted(failures, key=lambda failure: failure[0])))


def _read_beginning(path: Path) -> bytes:
    """The first bytes of a regular file; none of anything else, and of what cannot be read."""
    try:
        # A pipe without a writer would be waited for.
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with path.open("rb") as file:
            return file.read((_SYNC_PACKETS + 1) * max(_PACKET_BYTES))
    except (OSError, ValueError):
        # ValueError: a null byte.
        return b""


def _is_transport_stream(beginning: bytes) -> bool:
    for size in _PACKET_BYTES:
        for offset in range(size):
            marks = beginning[offset : offset + _SYNC_PACKETS * size : size]
            if marks == bytes([_SYNC_BYTE]) * _SYNC_PACKETS:
                return True
    return False


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        # ValueError: a null byte.
        return False


def _find_mode(path: Path) -> int:
    """The kind of file that `path` leads to; a broken link counts as a regular one."""
    try:
        return path.stat().st_mode
    except OSError as error:
        if error.errno in _BROKEN_LINK_ERRORS:
            return stat.S_IFREG
        raise InputError(f"{str(path)!r} cannot be looked at: {error.strerror}") from error


def _read_folder(folder: Path) -> list[Path]:
    """The visible entries, real ones before links, so that a link never hides the folder it leads to."""
    try:
        with os.scandir(folder) as entries:
            visible = [(entry.is_symlink(), entry.name) for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"the folder {str(folder)!r} cannot be read: {error.strerror}") from error
    return [folder / name for _, name in sorted(visible)]
