"""Everything this package raises on purpose.

```text
RetrievalError
├── InputError                   an item cannot be embedded or judged as given
│   ├── MediaError               an image, page, video or download cannot be read
│   │   └── MediaPolicyError     reading it is not allowed, or exceeds a limit
│   └── InputTooLongError        it does not fit the model's length and may not be shortened
├── ModelError                   a model cannot be found, loaded or trusted
├── RemoteError                  an engine elsewhere cannot be reached, or does not answer as it should
└── StoreError                   a store on disk is in use, corrupt, or not ours
    └── FingerprintMismatchError     it holds vectors of another space
```

A message says what was given, what is allowed and what to do. Errors about one item of a list carry its
position in `index`, and the message starts with it. What a caller gave is quoted by `quote`, so that no message is
longer than a screen, whatever was given.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, cast

import numpy as np
import numpy.typing as npt

__all__ = [
    "FingerprintMismatchError",
    "InputError",
    "InputTooLongError",
    "MediaError",
    "MediaPolicyError",
    "ModelError",
    "RemoteError",
    "RetrievalError",
    "StoreError",
    "explain",
    "explain_disk_errors",
    "explain_write_error",
    "find_full_disk",
    "is_disk_full",
    "quote",
    "shorten",
]

_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_READ_ONLY_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

_FULL_WORDS = ("disk is full", "no space left", "quota exceeded", "file too large", "os error 27", "os error 28")
"""How the native part of Chroma words the same: its errors carry no number of their own."""

_READ_ONLY_CODES = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})

_PROBE_BYTES = 1024 * 1024
"""More than a batch of short vectors with its texts grows a file by."""

_CODE_MASK = 0xFF
"""The lowest byte of SQLite's extended result codes is the plain code (https://www.sqlite.org/rescode.html)."""

_QUOTED_CHARACTERS = 160
"""Characters of a quoted value: two lines of a terminal, in which a path of usual length is whole."""

_DATA_CHARACTERS = 60
"""Characters of a `data:` URI: its type, and no more of what follows than is needed to know it again."""

_MEMBERS = 4

_LEVELS = 3

_QUOTED_BITS = 256

_MESSAGE_CHARACTERS = 1_800
"""Characters of a whole message: what other libraries say is in it, too, and may be of any length."""


def quote(value: object, *, with_type: bool = False, most_characters: int = _QUOTED_CHARACTERS) -> str:
    """Returns `value` as a message quotes it: like `repr`, on one line, valid Unicode, and never long.

    A long text or path keeps its beginning and its end, a `data:` URI its beginning. Of binary data, arrays and objects
    of other libraries it says what they are; containers and dataclasses show their first members. At no time is there
    a `repr` of everything, which may take gigabytes for a list of frames.

    Args:
        value: What the caller gave.
        with_type: Whether the type goes before, as in `int 3`: where it is the type that is wrong.
        most_characters: Length of what is returned at most, from 20 up.
    """
    shown = _quote(value, most_characters, _LEVELS)
    name = type(value).__name__
    if with_type and not shown.startswith((name, f"<{name}")):
        shown = f"{name} {shown}"
    return _cut_middle(shown, most_characters)


def shorten(name: str) -> str:
    """Returns a path or URI for a message, without quotation marks: cut as `quote` cuts it, and on one line."""
    is_data = name[:5].lower() == "data:"
    return _clean(_cut_end(name, _DATA_CHARACTERS) if is_data else _cut_middle(name, _QUOTED_CHARACTERS))


def explain(error: BaseException) -> str:
    """Returns what another library says is wrong, for a message of ours: on one line, never long, and without paths.

    An `OSError` says what the system said: its own text repeats the name of the file, however long.
    """
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror
    return _clean(_cut_middle(str(error), 4 * _QUOTED_CHARACTERS)) or type(error).__name__


def _quote(value: object, most_characters: int, levels: int) -> str:
    match value:
        case None | bool():
            return repr(value)
        case str():
            is_data = value[:5].lower() == "data:"
            # Escapes make it longer, and `quote` cuts what is left of it.
            return repr(_cut_end(value, _DATA_CHARACTERS) if is_data else _cut_middle(value, most_characters - 2))
        case PurePath():
            return repr(_clean(_cut_middle(str(value), most_characters - 2)))
        case bytes() | bytearray():
            return f"{type(value).__name__} of {len(value):,} bytes"
        case memoryview():
            return f"memoryview of {cast('memoryview[Any]', value).nbytes:,} bytes"
        case int():
            # Thousands of digits are no message, and beyond 4,300 Python refuses to write them.
            bits = int(value).bit_length()
            return repr(value) if bits <= _QUOTED_BITS else f"an int of {bits:,} bits"
        case np.ndarray():
            array = cast("npt.NDArray[Any]", value)
            return f"ndarray of {array.dtype} {array.shape}"
        case float() | complex() | Decimal() | np.generic():
            return repr(cast("object", value))
        case type():
            return value.__qualname__
        case _:
            return _quote_container(value, most_characters, levels)


def _quote_container(value: object, most_characters: int, levels: int) -> str:
    """The first members of a container, or what an object is."""
    name = type(value).__name__
    if levels == 0:
        return f"{name} …"
    each = max(most_characters // 2, 20)

    def join(members: Iterable[str], count: int) -> str:
        shown = list(islice(members, _MEMBERS))
        return ", ".join([*shown, f"… {count - len(shown)} more"] if count > len(shown) else shown)

    def show(member: object) -> str:
        return _cut_middle(_quote(member, each, levels - 1), each)

    if isinstance(value, dict):
        mapping = cast("Mapping[Any, Any]", value)
        return f"{{{join((f'{show(key)}: {show(mapping[key])}' for key in mapping), len(mapping))}}}"
    if isinstance(value, (list, tuple, set, frozenset)):
        members = cast("Sequence[Any] | Set[Any]", value)
        joined = join(map(show, members), len(members))
        return (
            f"[{joined}]" if isinstance(value, list) else f"({joined})" if isinstance(value, tuple) else f"{{{joined}}}"
        )
    if is_dataclass(value) and not isinstance(value, type):
        given = [(field.name, getattr(value, field.name)) for field in fields(value)]
        shown = [f"{field}={show(member)}" for field, member in given if member is not None]
        return f"{name}({join(iter(shown), len(shown))})"
    # Its own words may be of any length: a document of another library repeats its text.
    return f"<{name}>"


def _cut_middle(text: str, most_characters: int) -> str:
    """The text, or its beginning and its end, where the name of a file is."""
    if len(text) <= most_characters:
        # Slicing makes a plain one of NumPy's, too, and this does not.
        return str.__str__(text)
    end = most_characters // 2
    return f"{text[: most_characters - end - 1]}…{text[len(text) - end :]}"


def _cut_end(text: str, most_characters: int) -> str:
    return str.__str__(text) if len(text) <= most_characters else f"{text[: most_characters - 1]}…"


def _clean(text: str) -> str:
    """The text on one line, without what a terminal would obey or UTF-8 cannot write."""
    one_line = re.sub(r"\s", " ", text)
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in one_line)


class RetrievalError(Exception):
    """The base of every error that this package raises on purpose."""

    def __init__(self, message: str = "") -> None:
        # The last guard, for what is not ours to quote: a message of another library inside one of ours.
        super().__init__(_cut_middle(message, _MESSAGE_CHARACTERS).encode("utf-8", "replace").decode("utf-8"))


class InputError(RetrievalError):
    """An item cannot be embedded or judged as given.

    Attributes:
        reason: What was wrong, without the position.
        index: Position of the item in the caller's list; `None` for a single item or outside a list.
        role: What the position counts: `"item"`, `"document"` or `"query"`.
    """

    def __init__(self, reason: str, *, index: int | None = None, role: str = "item") -> None:
        super().__init__(reason)
        self.reason = str(self.args[0])
        self.index = index
        self.role = role

    def __str__(self) -> str:
        if self.index is not None:
            return f"{self.role} {self.index}: {self.reason}"
        return f"{self.role}: {self.reason}" if self.role != "item" else self.reason

    def __reduce__(self) -> tuple[type[InputError], tuple[str], dict[str, object]]:
        return type(self), (self.reason,), {"index": self.index, "role": self.role}

    def at(self, index: int | None, *, role: str = "item") -> InputError:
        """Returns the same error placed at `index` of the caller's list; the original is unchanged."""
        placed = type(self)(self.reason, index=index, role=role)
        placed.__cause__ = self.__cause__
        placed.__context__ = self.__context__
        return placed


class MediaError(InputError):
    """An image, page, video or download cannot be read: missing, truncated, or not what it claims to be."""


class MediaPolicyError(MediaError):
    """Reading the media is not allowed by the `MediaPolicy`, or exceeds one of its limits."""


class InputTooLongError(InputError):
    """An item does not fit the model's length and may not be shortened, or cannot be shortened enough."""


class ModelError(RetrievalError):
    """A model cannot be found or loaded, or its weights do not fit its configuration."""


class RemoteError(RetrievalError):
    """An engine elsewhere cannot be reached, refuses the caller, or keeps failing."""


class StoreError(RetrievalError):
    """A store on disk cannot be opened or written: it is in use, corrupt, of another version, or not ours."""


class FingerprintMismatchError(StoreError):
    """Stored vectors come from another vector space than the embedder at hand."""


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
