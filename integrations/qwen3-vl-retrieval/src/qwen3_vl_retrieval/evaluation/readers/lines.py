"""Lines of JSON and of tables, each with the place that a message about it names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from qwen3_vl_retrieval.errors import InputError, explain, quote

__all__ = ["read_json_lines", "read_lines", "read_number", "read_text"]


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yields each line that is not blank, with its place; the name of the file is shown, not its folder.

    Raises:
        InputError: The file cannot be read, or is not UTF-8.
    """
    try:
        # A byte order mark is no part of the first name.
        with path.open(encoding="utf-8-sig", newline=None) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path.name}, line {number}", line.rstrip("\n")
    except OSError as error:
        raise InputError(f"{quote(path)} cannot be read: {explain(error)}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8; save it as UTF-8") from error


def read_json_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the object of each line, with its place.

    Raises:
        InputError: As `read_lines`, or a line is not a JSON object.
    """
    for where, line in read_lines(path):
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{where}: not JSON: {error.msg} at character {error.colno}") from None
        if not isinstance(value, dict):
            raise InputError(f"{where}: {quote(value)} is no JSON object; give one object a line")
        yield where, cast("dict[str, Any]", value)


def read_text(values: Mapping[str, Any], names: Sequence[str], where: str) -> str:
    """Returns the text or number under the first of `names` that is there.

    Raises:
        InputError: There is none, or it is something else.
    """
    for name in names:
        if name in values:
            value = values[name]
            if isinstance(value, bool) or not isinstance(value, (str, int)):
                raise InputError(f"{where}: {name!r} is {quote(value, with_type=True)}; it must be a text")
            return str(value)
    raise InputError(f"{where}: there is no {names[0]!r}; it has {', '.join(map(quote, values)) or 'nothing'}")


def read_number(text: str, name: str, where: str) -> int:
    """Returns a whole number.

    Raises:
        InputError: It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = None
    if value is None or not value.is_integer():
        raise InputError(f"{where}: the {name} {quote(text)} is no whole number")
    return int(value)
