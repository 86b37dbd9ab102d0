"""Which files a folder holds, and what each of them is taken for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, TypeAlias

from qwen3_vl_retrieval.coercion import IMAGE_SUFFIXES, TEXT_SUFFIXES, VIDEO_SUFFIXES
from qwen3_vl_retrieval.errors import InputError

__all__ = ["FileKind", "find_kind", "list_files"]

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


def find_kind(path: Path) -> FileKind | None:
    """Returns what `path` is taken for by its suffix, whatever its case; `None` if it is to be skipped."""
    return _KINDS.get(path.suffix.lower())


def list_files(folder: Path) -> list[Path]:
    """Returns the files below `folder` at any depth, sorted by path, each with `folder` as its beginning.

    Names that begin with a dot are left out, folders included. A symbolic link counts only if it leads to a file or
    folder inside `folder`; a folder that is reached twice is read once.

    Raises:
        InputError: `folder` is not a folder, or may not be read.
    """
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is not a folder; give an existing folder")
    root = folder.resolve()
    files: list[Path] = []
    seen = {root}
    waiting = [folder]
    while waiting:
        for path in _read_folder(waiting.pop()):
            resolved = path.resolve()
            if not resolved.is_relative_to(root):
                continue
            if path.is_file():
                files.append(path)
            elif path.is_dir() and resolved not in seen:
                seen.add(resolved)
                waiting.append(path)
    return sorted(files)


def _read_folder(folder: Path) -> list[Path]:
    """The visible entries, real ones before links, so that a link never hides the folder it leads to."""
    try:
        with os.scandir(folder) as entries:
            visible = [(entry.is_symlink(), entry.name) for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"the folder {str(folder)!r} cannot be read: {error}") from error
    return [folder / name for _, name in sorted(visible)]
