"""What stores can hold of a document: its metadata, its id and its text, checked before anything is embedded.

A value that a database cannot hold is no small thing: one NaN in a list makes the log of a Chroma collection unreadable
for good, and one in the JSON of a catalog makes every later filter fail. So the one document is refused, by name.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Any, cast

import numpy as np

from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.items import check_text
from qwen3_vl_retrieval.paths import encode_name, encode_path

__all__ = ["check_metadata"]

_CHROMA_MARKS = ("$", "#", "chroma:")
"""Begin names that Chroma keeps for operators, for searches of texts, and for what belongs to a record."""

_FILE_NAMES = frozenset({"source", "file_path", "image", "video"})
"""Name files, of which not all names are Unicode; see `paths`."""

_MOST_LEVELS = 32
"""Nested containers: more than anybody means, and far fewer than would exhaust the stack of a reader of JSON."""


def check_metadata(
    metadata: Mapping[Any, Any],
    *,
    reserved: Collection[str] = (),
    allow_lists: bool = False,
    allow_nested: bool = False,
) -> dict[str, Any]:
    """Returns the metadata of a document as every store of ours can hold them.

    Numbers of NumPy become Python's, paths become text (`encode_path`), and what is `None` is left out, as stores do.

    Args:
        metadata: The metadata of one document.
        reserved: Names that the caller of the store may not use.
        allow_lists: Whether lists of one kind of scalar are held, as Chroma does.
        allow_nested: Whether lists and dicts of anything are held, as stores do that write JSON. Values of other types
            are left to the store then.

    Raises:
        InputError: A name or value cannot be held; the message names it.
    """
    checked: dict[str, Any] = {}
    for name, value in metadata.items():
        _check_name(name, reserved, is_nested=allow_nested)
        if value is None:
            continue
        shown = f"the metadatum {quote(name)}"
        if name in _FILE_NAMES and isinstance(value, str):
            # Readers of other projects name files as Python has them.
            value = encode_name(value)
        if allow_nested:
            checked[str(name)] = _check_nested(value, shown, level=0)
        elif allow_lists and isinstance(value, (list, tuple)):
            checked[str(name)] = _check_list(cast("Sequence[Any]", value), shown)
        else:
            checked[str(name)] = _check_scalar(value, shown, allow_lists=allow_lists)
    return checked


def _check_name(name: object, reserved: Collection[str], *, is_nested: bool) -> None:
    if not isinstance(name, str):
        raise InputError(f"a name among the metadata is {quote(name)}; names are str")
    check_text(name, f"the name {quote(name)} among the metadata")
    if name in reserved:
        raise InputError(
            f"the metadatum {quote(name)} is reserved; choose a name other than {', '.join(sorted(reserved))}"
        )
    if not is_nested and (not name or name.startswith(_CHROMA_MARKS)):
        raise InputError(
            f"the metadatum {quote(name)} cannot be kept; a name has a character at least, and does not begin with "
            f"{', '.join(_CHROMA_MARKS)}"
        )


def _check_scalar(value: object, shown: str, *, allow_lists: bool) -> str | int | float | bool:
    match value:
        case str():
            return check_text(value, shown)
        case PurePath():
            return encode_path(value)
        case bool() | np.bool_():
            return bool(value)
        case int() | np.integer():
            return _check_int(int(value), shown)
        case float() | np.floating():
            return _check_float(float(cast("float", value)), shown)
        case _:
            also = ", and lists of one of them" if allow_lists else ""
            raise InputError(
                f"{shown} is {type(value).__name__} {quote(value)}; allowed are str, int, float and bool{also}: "
                "flatten it, or leave it out"
            )


def _check_int(value: int, shown: str) -> int:
    if not -(2**63) <= value < 2**63:
        raise InputError(f"{shown} is {quote(value)}; whole numbers have 64 bits at most: keep it as a text")
    return value


def _check_float(value: float, shown: str) -> float:
    if not math.isfinite(value):
        raise InputError(f"{shown} is {value}; numbers must be finite: leave it out, or keep it as a text")
    return value


def _check_list(values: Sequence[Any], shown: str) -> list[Any]:
    checked = [
        _check_scalar(value, f"element {place} of {shown}", allow_lists=True) for place, value in enumerate(values)
    ]
    kinds = {type(value) for value in checked}
    if len(kinds) != 1:
        raise InputError(
            f"{shown} is the list {quote(values)}; lists have one element at least, and all of one type: str, int, "
            "float or bool"
        )
    return checked


def _check_nested(value: Any, shown: str, *, level: int) -> Any:
    if level > _MOST_LEVELS:
        raise InputError(f"{shown} is nested deeper than {_MOST_LEVELS} levels; flatten it")
    match value:
        case Mapping():
            members = cast("Mapping[Any, Any]", value)
            for name in members:
                check_text(name, f"the name {quote(name)} in {shown}")
            return {str(name): _check_nested(member, shown, level=level + 1) for name, member in members.items()}
        case list() | tuple():
            return [_check_nested(member, shown, level=level + 1) for member in cast("Sequence[Any]", value)]
        case str() | PurePath() | bool() | np.bool_() | float() | np.floating() | int() | np.integer():
            return _check_scalar(cast("object", value), shown, allow_lists=True)
        case _:
            return cast("object", value)
