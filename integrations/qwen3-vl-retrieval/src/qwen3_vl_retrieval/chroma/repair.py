"""A Chroma folder whose log cannot be read any more, made readable: rows keep their vectors, texts and other metadata.

Chroma 1.5.9 writes NaN and infinities of a list as `null` into its log (`embeddings_queue`), and cannot read a list
with one: from then on every call on the collection fails, and what was added with it or after it is not found.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from qwen3_vl_retrieval.errors import StoreError, explain, quote

__all__ = ["RepairedRow", "is_chroma_folder", "repair_chroma"]

_DATABASE = "chroma.sqlite3"
_BUSY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairedRow:
    """A row of the log that could not be read.

    Attributes:
        collection: Name of its collection; `""` if that is gone.
        id: Id of the row.
        lost: Names of the metadata that were taken out of it.
    """

    collection: str
    id: str
    lost: tuple[str, ...]


def is_chroma_folder(folder: Path) -> bool:
    """Returns whether there is a database of Chroma in `folder`."""
    return (folder / _DATABASE).is_file()


def repair_chroma(folder: Path) -> list[RepairedRow]:
    """Takes out of the log of a Chroma folder what Chroma cannot read, and returns the rows that lost something.

    Everything else stays as it is, the other metadata of these rows included. No process may have the folder open:
    one that has goes on failing.

    Raises:
        StoreError: There is no such folder, or its database cannot be read or written.
    """
    if not is_chroma_folder(folder):
        raise StoreError(f"there is no Chroma folder in {quote(folder)}: {_DATABASE} is missing")
    try:
        with closing(sqlite3.connect(folder / _DATABASE, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
            return _repair_log(connection)
    except sqlite3.Error as error:
        raise StoreError(f"the database of Chroma in {quote(folder)} cannot be repaired: {explain(error)}") from error


def _repair_log(connection: sqlite3.Connection) -> list[RepairedRow]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        names = dict(connection.execute("SELECT id, name FROM collections").fetchall())
        statement = "SELECT seq_id, topic, id, metadata FROM embeddings_queue WHERE metadata IS NOT NULL"
        found = connection.execute(statement)
        repaired: list[RepairedRow] = []
        for sequence, topic, row_id, stored in found.fetchall():
            kept, lost = _split_metadata(stored)
            if lost:
                connection.execute(
                    "UPDATE embeddings_queue SET metadata = ? WHERE seq_id = ?",
                    (json.dumps(kept, ensure_ascii=False), sequence),
                )
                # A topic ends in the id of the collection: persistent://tenant/database/id.
                name = names.get(str(topic).rpartition("/")[2], "")
                repaired.append(RepairedRow(collection=name, id=row_id, lost=tuple(lost)))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return repaired


def _split_metadata(stored: str) -> tuple[dict[str, Any], list[str]]:
    """What Chroma can read of the metadata of a row, and the names of the rest."""
    try:
        metadata: Any = json.loads(stored)
    except json.JSONDecodeError:
        return {}, ["all"]
    if not isinstance(metadata, dict):
        return {}, ["all"]
    known = cast("Mapping[str, Any]", metadata)
    lost = [name for name, value in known.items() if _is_unreadable(value)]
    return {name: value for name, value in known.items() if name not in lost}, lost


def _is_unreadable(value: Any) -> bool:
    return isinstance(value, list) and any(element is None for element in cast("list[Any]", value))
