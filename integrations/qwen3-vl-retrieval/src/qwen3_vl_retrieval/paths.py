"""Paths as text: one rule for databases, JSON, metadata and pages, for every name that a file system allows.

A name is bytes on most systems, and not all of them are UTF-8: an archive that was packed on another system has such
names. Python holds them with lone surrogates (PEP 383), which neither SQLite nor JSON nor HTML can hold. So a path is
written as it is wherever that is possible, and else as a `file:` URI whose percent signs stand for the bytes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath
from urllib.parse import quote_from_bytes, unquote_to_bytes

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError, quote

__all__ = ["decode_path", "encode_name", "encode_path", "list_prefixes", "read_file_uri", "show_path"]

_SHOWN_CHARACTERS = 200
"""Two and a half lines of a terminal; a name has 255 bytes at most on most file systems, a path 4,096."""

_TAKEN_FOR_URI = re.compile(r"(file|data|https?):", re.IGNORECASE)
"""Beginnings of a text that `open_source` takes for something else than a path; no absolute path has one."""


def encode_path(path: PurePath) -> str:
    """Returns a path as text that every store, file and page can hold; `decode_path` gives it back.

    That is the path itself where it is valid Unicode and no URI. Any other is a `file:` URI of its bytes, which is
    relative where the path is: `file:///data/caf%E9.png`, `file:caf%E9.png`.
    """
    text = str(path)
    return text if _is_plain(text) else _write_uri(path)


def encode_name(name: str) -> str:
    """Returns a path or URI that was given as text: as it is if that is valid Unicode, else as `encode_path` has it."""
    return name if _is_unicode(name) else encode_path(Path(name))


def decode_path(text: str) -> Path:
    """Returns the path that a text names: `encode_path` backwards, so that the file opens by its real name.

    Raises:
        MediaPolicyError: It is a `file:` URI of another host.
        MediaError: It is a `file:` URI without a name.
    """
    return Path(read_file_uri(text) if text[:5].lower() == "file:" else text)


def show_path(path: PurePath | str, *, most_characters: int = _SHOWN_CHARACTERS) -> str:
    """Returns a path for people: one line, valid Unicode, nothing that a terminal would obey, and not too long.

    Characters that cannot be shown are replaced: bytes that are no UTF-8, line breaks, escape sequences, and marks
    that turn the direction of writing, which can make `gpj.exe` of `exe.jpg`. Of a long path the middle is left out.

    Args:
        path: A path, or its text from `encode_path`.
        most_characters: Length of what is returned at most.
    """
    text = str(decode_path(path)) if isinstance(path, str) else str(path)
    if len(text) > most_characters:
        end = most_characters // 2
        text = f"{text[: most_characters - end - 1]}…{text[len(text) - end :]}"
    # A narrow or unbreakable space is no plain space, and is shown all the same.
    return "".join(
        letter if letter.isprintable() else " " if _is_space(letter) else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def list_prefixes(folder: PurePath) -> tuple[str, ...]:
    """Returns what the encoded paths of all files below an absolute folder begin with.

    There are two beginnings: a folder of plain name may hold files whose names are not.
    """
    prefix = _write_uri(folder).rstrip("/") + "/"
    text = str(folder)
    return (text.rstrip("/\\") + os.sep, prefix) if _is_plain(text) else (prefix,)


def read_file_uri(uri: str) -> str:
    """Returns the local path that a `file:` URI names, percent signs decoded as bytes.

    Raises:
        MediaPolicyError: It names another host.
        MediaError: It names no file.
    """
    rest = uri[len("file:") :]
    host = ""
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        rest = slash + path
    if host.lower() not in ("", "localhost"):
        raise MediaPolicyError(
            f"{quote(uri)} names the host {quote(host)}; a file: URI may only name a local file, "
            "as in file:///folder/name.png"
        )
    if not rest:
        raise MediaError(f"{quote(uri)} names no file; a file: URI reads file:///folder/name.png")
    # Whoever leaves characters other than ASCII in a URI means their bytes, too.
    path = os.fsdecode(unquote_to_bytes(_write_bytes(rest)))
    # As in file:///C:/folder/name.png.
    is_drive = os.name == "nt" and re.match(r"/[A-Za-z][:|]", path) is not None
    return path[1:] if is_drive else path


def _is_plain(text: str) -> bool:
    return _is_unicode(text) and _TAKEN_FOR_URI.match(text) is None


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_space(letter: str) -> bool:
    return letter.isspace() and letter not in "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029"


def _write_uri(path: PurePath) -> str:
    text = path.as_posix()
    # Not `as_uri`, which refuses relative paths, and names that no file of this system can have.
    beginning = "" if not path.is_absolute() else "//" if text.startswith("/") else "///"
    return f"file:{beginning}{quote_from_bytes(_write_bytes(text))}"


def _write_bytes(text: str) -> bytes:
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        # A surrogate that stands for no byte: there is no such file, and that is said when it is opened.
        return text.encode("utf-8", "surrogatepass")
