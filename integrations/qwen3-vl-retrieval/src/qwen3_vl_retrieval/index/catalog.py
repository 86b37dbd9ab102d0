"""The catalog of a store: which units it holds, in which files they were found, and their words. In SQLite.

What the catalog says is so. Vectors and collection are written before a unit is entered here, and taken out after it
is struck out, so that a process that is killed leaves something superfluous behind, and never something missing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qwen3_vl_retrieval.forks import ForkSafeLock, renew_in_children
from qwen3_vl_retrieval.index import keywords
from qwen3_vl_retrieval.index.filters import SqlFilter
from qwen3_vl_retrieval.index.records import FileState, Metadata, Place, Record, Signature, StoredUnit
from qwen3_vl_retrieval.index.schema import create_tables, open_database

__all__ = ["ITEM_PREFIX", "Catalog"]

ITEM_PREFIX = "item:"
"""Begins the source of an item that was given in memory; no absolute path does."""

_SEPARATOR = os.sep

_VARIABLES = 500
"""Values of one statement: SQLite allows 999 where it was built long ago."""

_JOINED = "FROM units AS u JOIN places AS p ON p.unit = u.row"
_UNIT_COLUMNS = 'row, id, media_type, page, start, "end", width, height, mime_type, sha256, text, content'
_FILE_COLUMNS = "source, sha256, size_bytes, modified_ns, changed_ns, inode, checked_ns"


class Catalog:
    """A connection for each thread that asks; one transaction at a time writes.

    Args:
        path: Of the database; it need not exist.

    Raises:
        StoreError: There is another kind of file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = ForkSafeLock()
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._inherited: list[sqlite3.Connection] = []
        renew_in_children(self)
        if not self._query("SELECT name FROM sqlite_master WHERE name = 'settings'").fetchall():
            create_tables(self._connection)

    def renew(self) -> None:
        """Begins without connections; those of a parent process are neither used nor closed.

        SQLite allows neither (https://sqlite.org/howtocorrupt.html, section 2.6).
        """
        self._inherited += self._opened
        self._opened = []
        self._local = threading.local()

    def close(self) -> None:
        """Closes the connections of all threads."""
        with self._lock:
            for connection in self._opened:
                connection.close()
            self._opened.clear()
            self._local = threading.local()

    @property
    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = open_database(self._path)
            self._local.connection = connection
            with self._lock:
                self._opened.append(connection)
        return connection

    def _query(self, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, parameters)

    @contextmanager
    def write(self) -> Generator[None, None, None]:
        """Makes everything written inside one step, which happens entirely or, after an error, not at all."""
        self._query("BEGIN IMMEDIATE")
        try:
            yield
            self._query("COMMIT")
        except BaseException:
            self._query("ROLLBACK")
            raise

    @contextmanager
    def read(self) -> Generator[None, None, None]:
        """Makes everything read inside see the same state."""
        self._query("BEGIN")
        try:
            yield
        finally:
            self._query("ROLLBACK")

    # Settings

    def read_settings(self) -> dict[str, str]:
        """Returns all settings."""
        return dict(self._query("SELECT name, value FROM settings").fetchall())

    def write_setting(self, name: str, value: str) -> None:
        """Sets one setting."""
        self._query("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    @property
    def generation(self) -> int:
        """How often units were added or removed."""
        found = self._query("SELECT value FROM settings WHERE name = 'generation'").fetchone()
        return int(found[0]) if found else 0

    def advance_generation(self) -> int:
        """Counts one more change and returns the count."""
        generation = self.generation + 1
        self.write_setting("generation", str(generation))
        return generation

    # Counting

    def count_units(self, condition: SqlFilter | None = None) -> int:
        """Returns the number of units, or of those that meet `condition`."""
        if condition is None:
            return int(self._query("SELECT count(*) FROM units").fetchone()[0])
        statement = f"SELECT count(DISTINCT u.row) {_JOINED} WHERE {condition.condition}"
        return int(self._query(statement, condition.parameters).fetchone()[0])

    def count_media_types(self) -> dict[str, int]:
        """Returns the number of units of each media type."""
        return dict(self._query("SELECT media_type, count(*) FROM units GROUP BY 1 ORDER BY 1").fetchall())

    def count_files(self) -> int:
        """Returns the number of files that hold units."""
        statement = "SELECT count(DISTINCT source) FROM places WHERE substr(source, 1, ?) != ?"
        return int(self._query(statement, (len(ITEM_PREFIX), ITEM_PREFIX)).fetchone()[0])

    def last_row(self) -> int:
        """Returns the highest row that was ever used, 0 if none was."""
        found = self._query("SELECT seq FROM sqlite_sequence WHERE name = 'units'").fetchone()
        return int(found[0]) if found else 0

    # Units

    def find_rows(self, ids: Sequence[str]) -> dict[str, int]:
        """Returns the rows of those of `ids` that are units."""
        rows: dict[str, int] = {}
        for group in _split(ids):
            rows.update(self._query(f"SELECT id, row FROM units WHERE id IN ({_marks(group)})", group).fetchall())  # noqa: S608 - marks only
        return rows

    def list_ids(self, rows: Sequence[int]) -> list[str]:
        """Returns the ids of those of `rows` that are units."""
        ids: list[str] = []
        for group in _split(rows):
            found = self._query(f"SELECT id FROM units WHERE row IN ({_marks(group)})", group)  # noqa: S608 - marks only
            ids += [unit_id for (unit_id,) in found.fetchall()]
        return ids

    def list_rows(self, *, after: int = 0, condition: SqlFilter | None = None, limit: int | None = None) -> list[int]:
        """Returns the rows of the units above `after` that meet `condition`, rising; `limit` of them at most."""
        most = -1 if limit is None else limit
        if condition is None:
            found = self._query("SELECT row FROM units WHERE row > ? ORDER BY row LIMIT ?", (after, most))
        else:
            found = self._query(
                f"SELECT DISTINCT u.row {_JOINED} WHERE u.row > ? AND ({condition.condition}) ORDER BY u.row LIMIT ?",
                (after, *condition.parameters, most),
            )
        return [row for (row,) in found.fetchall()]

    def keep_rows(self, rows: Sequence[int], condition: SqlFilter) -> list[int]:
        """Returns those of `rows` whose units meet `condition`, in their order."""
        kept: set[int] = set()
        for group in _split(rows):
            found = self._query(
                f"SELECT DISTINCT u.row {_JOINED} WHERE u.row IN ({_marks(group)}) AND ({condition.condition})",
                (*group, *condition.parameters),
            )
            kept.update(row for (row,) in found.fetchall())
        return [row for row in rows if row in kept]

    def load_units(self, rows: Sequence[int]) -> dict[int, StoredUnit]:
        """Returns the units of those of `rows` that still exist, by row."""
        units: dict[int, StoredUnit] = {}
        for group in _split(rows):
            marks = _marks(group)
            places: dict[int, list[tuple[str, str]]] = {}
            statement = f"SELECT unit, source, metadata FROM places WHERE unit IN ({marks}) ORDER BY source"  # noqa: S608 - marks only
            for unit, source, metadata in self._query(statement, group):
                places.setdefault(unit, []).append((source, metadata))
            for values in self._query(f"SELECT {_UNIT_COLUMNS} FROM units WHERE row IN ({marks})", group):  # noqa: S608 - marks only
                units[values[0]] = _build_unit(values, places.get(values[0], []))
        return units

    def find_words(self, query: str, *, limit: int, condition: SqlFilter | None = None) -> list[int]:
        """Returns the rows of units that hold the words of `query`, best first; see `keywords.find_rows`."""
        return keywords.find_rows(self._connection, query, limit=limit, condition=condition)

    def add_unit(self, row: int, record: Record) -> None:
        """Enters a unit, and its words."""
        values = (
            *(row, record.id, record.media_type, record.page, record.start, record.end, record.width, record.height),
            *(record.mime_type, record.sha256, record.text, record.content),
        )
        self._query(f"INSERT INTO units ({_UNIT_COLUMNS}) VALUES ({_marks(values)})", values)  # noqa: S608 - marks only
        if record.text:
            keywords.add_words(self._connection, row, record.text)

    def remove_homeless(self, rows: Iterable[int]) -> list[str]:
        """Strikes out those of `rows` that no place holds any more, and returns their ids."""
        removed: list[str] = []
        for row in rows:
            statement = (
                "SELECT id, text FROM units WHERE row = ? AND NOT EXISTS (SELECT 1 FROM places WHERE unit = row)"
            )
            found = self._query(statement, (row,)).fetchone()
            if found is None:
                continue
            unit_id, text = found
            if text:
                keywords.remove_words(self._connection, row, text)
            self._query("DELETE FROM units WHERE row = ?", (row,))
            removed.append(unit_id)
        return removed

    # Places

    def add_place(self, place: Place) -> bool:
        """Enters a place of a unit that exists; returns whether that changed anything but the version."""
        statement = "SELECT row, (SELECT metadata FROM places WHERE source = ? AND unit = row) FROM units WHERE id = ?"
        row, known = self._query(statement, (place.source, place.unit_id)).fetchone()
        if place.metadata is None:
            metadata = "{}" if known is None else known
        else:
            metadata = json.dumps(dict(place.metadata), sort_keys=True, ensure_ascii=False)
        self._query("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", (place.source, row, place.version, metadata))
        return known != metadata

    def has_places(self, source: str) -> bool:
        """Returns whether a file holds units."""
        return self._query("SELECT 1 FROM places WHERE source = ? LIMIT 1", (source,)).fetchone() is not None

    def list_places(self, source: str) -> list[tuple[str, str]]:
        """Returns id and version of the units that a file holds."""
        statement = "SELECT u.id, p.version FROM places AS p JOIN units AS u ON u.row = p.unit WHERE p.source = ?"
        return self._query(statement, (source,)).fetchall()

    def remove_places(self, source: str, *, except_version: str | None = None) -> list[int]:
        """Strikes out the places in a file, but those of one version of it, and returns the rows of their units."""
        condition, parameters = "source = ? AND version IS NOT ?", (source, except_version)
        rows = [row for (row,) in self._query(f"SELECT unit FROM places WHERE {condition}", parameters).fetchall()]  # noqa: S608 - constant
        self._query(f"DELETE FROM places WHERE {condition}", parameters)  # noqa: S608 - constant
        return rows

    def remove_places_where(self, condition: SqlFilter) -> list[int]:
        """Strikes out the places that meet `condition`, with files of which none is left; returns their units' rows."""
        found = self._query(
            f"SELECT p.source, u.row {_JOINED} WHERE {condition.condition}",
            condition.parameters,
        ).fetchall()
        self._connection.executemany("DELETE FROM places WHERE source = ? AND unit = ?", found)
        statement = (
            "DELETE FROM files WHERE source = ? "
            "AND NOT EXISTS (SELECT 1 FROM places WHERE places.source = files.source)"
        )
        self._connection.executemany(statement, sorted({(source,) for source, _ in found}))
        return [row for _, row in found]

    # Files

    def find_file(self, source: str) -> FileState | None:
        """Returns what is known of a file whose units are all kept; `None` if they are not."""
        values = self._query(f"SELECT {_FILE_COLUMNS} FROM files WHERE source = ?", (source,)).fetchone()  # noqa: S608 - constant
        if values is None:
            return None
        size_bytes, modified_ns, changed_ns, inode, checked_ns = values[2:]
        signature = Signature(
            size_bytes=size_bytes, modified_ns=modified_ns, changed_ns=changed_ns, inode=inode, checked_ns=checked_ns
        )
        return FileState(source=values[0], sha256=values[1], signature=signature)

    def write_file(self, state: FileState) -> None:
        """Enters a file."""
        look = state.signature
        values = (
            *(state.source, state.sha256, look.size_bytes, look.modified_ns, look.changed_ns, look.inode),
            look.checked_ns,
        )
        self._query(f"INSERT OR REPLACE INTO files ({_FILE_COLUMNS}) VALUES ({_marks(values)})", values)  # noqa: S608 - marks only

    def remove_file(self, source: str) -> list[int]:
        """Strikes out a file and its places, and returns the rows of the units it held."""
        self._query("DELETE FROM files WHERE source = ?", (source,))
        self._query("DELETE FROM failures WHERE source = ?", (source,))
        return self.remove_places(source)

    def list_sources(self, folder: str) -> Iterator[str]:
        """Yields the files below `folder` of which anything is known."""
        # "/" and the character after it: everything below, found through the index.
        beginning, end = folder.rstrip("/\\") + _SEPARATOR, folder.rstrip("/\\") + chr(ord(_SEPARATOR) + 1)
        for table in ("files", "places", "failures"):
            statement = f"SELECT DISTINCT source FROM {table} WHERE source >= ? AND source < ?"  # noqa: S608 - constant
            yield from (source for (source,) in self._query(statement, (beginning, end)).fetchall())

    # Failures

    def replace_failures(self, source: str, failures: Sequence[tuple[Any, ...]]) -> None:
        """Enters what could not be read of a file: page, start, end, name of the error and message of each."""
        self._query("DELETE FROM failures WHERE source = ?", (source,))
        self._connection.executemany(
            "INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?)", [(source, *failure) for failure in failures]
        )

    def list_failures(self) -> list[dict[str, Any]]:
        """Returns what could not be read, by source."""
        columns = ("source", "page", "start", "end", "error", "message")
        found = self._query('SELECT source, page, start, "end", error, message FROM failures ORDER BY 1, 2, 3')
        return [dict(zip(columns, values, strict=True)) for values in found.fetchall()]

    # What is to be settled with the collection

    def add_unsettled(self, ids: Sequence[str]) -> None:
        """Notes units that the collection and this catalog may not agree on."""
        self._connection.executemany("INSERT OR IGNORE INTO unsettled VALUES (?)", [(unit_id,) for unit_id in ids])

    def list_unsettled(self) -> list[str]:
        """Returns the ids that are noted."""
        return [unit_id for (unit_id,) in self._query("SELECT id FROM unsettled ORDER BY id").fetchall()]

    def clear_unsettled(self, ids: Sequence[str]) -> None:
        """Strikes out the notes."""
        self._connection.executemany("DELETE FROM unsettled WHERE id = ?", [(unit_id,) for unit_id in ids])


def _build_unit(values: Sequence[Any], places: Sequence[tuple[str, str]]) -> StoredUnit:
    row, unit_id, media_type, page, start, end, width, height, mime_type, sha256, text, content = values
    record = Record(
        id=unit_id,
        media_type=media_type,
        sha256=sha256,
        mime_type=mime_type,
        page=page,
        start=start,
        end=end,
        width=width,
        height=height,
        text=text,
        content=content,
    )
    metadata: Metadata = json.loads(places[0][1]) if places else {}
    sources = tuple(source for source, _ in places if not source.startswith(ITEM_PREFIX))
    return StoredUnit(row=row, record=record, sources=sources, metadata=metadata)


def _split(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(values), _VARIABLES):
        yield values[first : first + _VARIABLES]


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
