"""What hits, failures and queries are called where they are shown: names below a folder, and never more of a path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePath

from qwen3_vl_retrieval.documents.labels import describe_place
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.index.results.failures import FailedFile
from qwen3_vl_retrieval.items import Item, TextPart, coerce_input
from qwen3_vl_retrieval.paths import decode_path, encode_path

__all__ = ["find_folder", "name_failures", "read_text", "shorten_path"]


def find_folder(paths: Sequence[str]) -> str | None:
    """Returns the deepest folder that holds all files; `None` if there is none, or relative paths among others."""
    try:
        return os.path.commonpath([str(decode_path(path).parent) for path in paths])
    except ValueError:
        return None


def shorten_path(path: str, folder: str | None) -> PurePath:
    """Returns a path below `folder`, or the name of the file alone: what is shown may be sent to others."""
    pure = decode_path(path)
    return pure.relative_to(folder) if folder is not None and pure.is_relative_to(folder) else PurePath(pure.name)


def name_failures(failures: Sequence[FailedFile], *, folder: str | None) -> list[tuple[str, str]]:
    """Returns for each failure the file below `folder`, with its page or window, and the reason."""
    named: list[tuple[str, str]] = []
    for failure in failures:
        name = shorten_path(encode_path(failure.path), folder).as_posix()
        place = "" if failure.unit is None else describe_place(failure.unit)
        named.append((f"{name}, {place}" if place else name, failure.error.reason))
    return named


def read_text(item: Item) -> str:
    """Returns the text of an item; `""` if it has none, or is none that can be embedded."""
    try:
        parts = coerce_input(item).parts
    except InputError:
        # It was refused where it was searched for, if at all: showing results is no place to fail.
        return ""
    return " ".join(part.text for part in parts if isinstance(part, TextPart)).strip()
