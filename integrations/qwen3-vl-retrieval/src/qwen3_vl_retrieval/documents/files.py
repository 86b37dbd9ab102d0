"""Which files a folder holds, and what each of them is taken for."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

from pathspec import GitIgnoreSpec

from qwen3_vl_retrieval.errors import InputError, explain, quote
from qwen3_vl_retrieval.items import IMAGE_SUFFIXES, TEXT_SUFFIXES, VIDEO_SUFFIXES

__all__ = [
    "FileKind",
    "Listing",
    "SkipReason",
    "SkippedFile",
    "compile_patterns",
    "find_kind",
    "is_folder",
    "list_files",
]

FileKind: TypeAlias = Literal["text", "image", "pdf", "video", "office"]
"""What a file is taken for. `office` stands for the formats that are named, and refused, rather than skipped."""

SkipReason: TypeAlias = Literal[
    "unknown suffix",
    "HEIC: install 'qwen3-vl-retrieval[heic]'",
    "empty text",
    "excluded",
    "named pipe",
    "socket",
    "device",
    "link that leads outside the folder",
    "link that leads nowhere",
    "link in a circle",
    "link to a folder that is read already",
]
"""Why a file takes no part, in words that are the same for all files of a kind."""

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

# Photos of phones, which Pillow alone does not read.
_HEIC_SUFFIXES = (".heic", ".heif", ".hif")

# What looking at a link that leads nowhere, or in a circle, answers.
_BROKEN_LINKS: dict[int, SkipReason] = {errno.ENOENT: "link that leads nowhere", errno.ELOOP: "link in a circle"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedFile:
    """A file, or a folder with everything in it, that takes no part and is not broken.

    Attributes:
        path: The file or folder.
        reason: Why it takes no part.
    """

    path: Path
    reason: SkipReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What lies below a folder.

    Attributes:
        files: The files that are read, sorted by path, each with the folder as its beginning.
        skipped: What is not read, and why; by path, too.
        hidden: Files and folders whose names begin with a dot. Nobody expects them to be read: they are only counted.
        failures: The entries that could not be looked at, or folders that could not be read, and why; by path, too.
    """

    files: tuple[Path, ...]
    skipped: tuple[SkippedFile, ...]
    hidden: int
    failures: tuple[tuple[Path, InputError], ...]


def find_kind(path: Path) -> FileKind | None:
    """Returns what `path` is taken for by its suffix, whatever its case; `None` if it is to be skipped.

    `.ts` and `.mts` are video if the file begins as MPEG-TS, and text if not, or if it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in _CODE_OR_VIDEO_SUFFIXES:
        return "video" if _is_transport_stream(_read_beginning(path)) else "text"
    return _KINDS.get(suffix)


def list_files(folder: Path, *, exclude: Sequence[str] = ()) -> Listing:
    """Returns the files below `folder` at any depth that are read, and what is skipped.

    Names that begin with a dot are left out, folders included. A symbolic link counts only if it leads to a place
    inside `folder`; a folder that is reached twice is read once. A link that leads nowhere, or in a circle, and has
    the suffix of a file that is read is listed as one: reading it says what is wrong. What may not be read is among
    the failures, and the rest is listed.

    Args:
        folder: Where to look.
        exclude: Patterns of files and folders to leave out, written and understood as in a `.gitignore` file in
            `folder`: `"*.bak"` and `"drafts/"` at any depth, `"/2019"` at the top, `"!keep.bak"` takes one back.

    Raises:
        InputError: `folder` is not a folder, or may not be read itself; or a pattern is malformed.
    """
    if not is_folder(folder):
        raise InputError(f"{quote(folder)} is not a folder; give an existing folder")
    walk = _Walk(folder, exclude)
    walk.run()
    return Listing(
        files=tuple(sorted(walk.files)),
        skipped=tuple(sorted(walk.skipped, key=lambda skipped: skipped.path)),
        hidden=walk.hidden,
        failures=tuple(sorted(walk.failures, key=lambda failure: failure[0])),
    )


class _Walk:
    """A way through a folder, breadth first, and what was met."""

    def __init__(self, folder: Path, exclude: Sequence[str]) -> None:
        self.files: list[Path] = []
        self.skipped: list[SkippedFile] = []
        self.failures: list[tuple[Path, InputError]] = []
        self.hidden = 0
        self._folder = folder
        self._root = folder.resolve()
        self._seen = {self._root}
        self._excluded = compile_patterns(exclude)

    def run(self) -> None:
        waiting = deque(self._read_folder(self._folder))
        while waiting:
            path = waiting.popleft()
            try:
                waiting += self._visit(path)
            except InputError as error:
                self.failures.append((path, error))

    def _visit(self, path: Path) -> list[Path]:
        """Enters a file, or returns what is in a folder."""
        # Unlike `Path.resolve`, it accepts links in a circle in every version of Python.
        resolved = Path(os.path.realpath(path))
        if not resolved.is_relative_to(self._root):
            return self._skip(path, "link that leads outside the folder")
        status = _look_at(path)
        is_folder = not isinstance(status, str) and stat.S_ISDIR(status.st_mode)
        if self._is_excluded(path, is_folder=is_folder):
            return self._skip(path, "excluded")
        if is_folder and resolved in self._seen:
            return self._skip(path, "link to a folder that is read already")
        if is_folder:
            self._seen.add(resolved)
            return self._read_folder(path)
        reason = _find_skip_reason(path, status)
        if reason is not None:
            return self._skip(path, reason)
        self.files.append(path)
        return []

    def _skip(self, path: Path, reason: SkipReason) -> list[Path]:
        self.skipped.append(SkippedFile(path=path, reason=reason))
        return []

    def _is_excluded(self, path: Path, *, is_folder: bool) -> bool:
        name = path.relative_to(self._folder).as_posix()
        return self._excluded.match_file(f"{name}/" if is_folder else name)

    def _read_folder(self, folder: Path) -> list[Path]:
        """The visible entries, real ones before links, so that a link never hides the folder it leads to."""
        try:
            with os.scandir(folder) as entries:
                found = [(entry.is_symlink(), entry.name) for entry in entries]
        except OSError as error:
            raise InputError(f"the folder {quote(folder)} cannot be read: {explain(error)}") from error
        visible = [entry for entry in found if not entry[1].startswith(".")]
        self.hidden += len(found) - len(visible)
        return [folder / name for _, name in sorted(visible)]


def compile_patterns(patterns: Sequence[str]) -> GitIgnoreSpec:
    """Returns what tells whether a relative path is meant by patterns of a `.gitignore` file.

    Raises:
        InputError: A single text was given, or a pattern is malformed.
    """
    if isinstance(patterns, str):
        raise InputError(
            f"exclude={quote(patterns)} is one pattern, and its letters would be taken for patterns; give a list"
        )
    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise InputError(
            f"exclude={quote(list(patterns))} holds a pattern that is malformed: {explain(error)}; "
            "write patterns as in .gitignore"
        ) from error


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


def is_folder(path: Path) -> bool:
    """Returns whether `path` leads to a folder; `False` also for a name that no file can have."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        # ValueError: a null byte, or a surrogate that stands for no byte.
        return False


def _look_at(path: Path) -> os.stat_result | SkipReason:
    """What `path` leads to, or why it leads nowhere."""
    try:
        return path.stat()
    except OSError as error:
        reason = _BROKEN_LINKS.get(error.errno or 0)
        if reason is not None:
            return reason
        raise InputError(f"{quote(path)} cannot be looked at: {explain(error)}") from error


def _find_skip_reason(path: Path, status: os.stat_result | SkipReason) -> SkipReason | None:
    """Why what is no folder is not read; `None` if it is."""
    kind = find_kind(path)
    if isinstance(status, str):
        return status if kind is None else None
    special = _find_special(status.st_mode)
    if special is not None:
        return special
    if kind is None:
        return "unknown suffix"
    if path.suffix.lower() in _HEIC_SUFFIXES and find_spec("pillow_heif") is None:
        return "HEIC: install 'qwen3-vl-retrieval[heic]'"
    return "empty text" if kind == "text" and status.st_size == 0 else None


def _find_special(mode: int) -> SkipReason | None:
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISFIFO(mode):
        return "named pipe"
    return "socket" if stat.S_ISSOCK(mode) else "device"
