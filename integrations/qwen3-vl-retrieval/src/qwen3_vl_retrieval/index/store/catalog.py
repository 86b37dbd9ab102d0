"""The catalog of a store: which units it holds, in which files they were found, and their words. In SQLite.

What the catalog says is so. Vectors and collection are written before a unit is entered here, and taken out after it
is struck out, so that a process that is killed leaves something superfluous behind, and never something missing.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import tempfile
import threading
from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

from qwen3_vl_retrieval.documents.descriptions import describe_unit
from qwen3_vl_retrieval.documents.identity import Signature
from qwen3_vl_retrieval.documents.units import MediaType, Unit
from qwen3_vl_retrieval.errors import StoreError, explain_disk_errors
from qwen3_vl_retrieval.forks import ForkSafeLock, renew_in_children
from qwen3_vl_retrieval.index.store import keywords
from qwen3_vl_retrieval.index.store.filters import COLUMN_NAMES, SqlFilter
from qwen3_vl_retrieval.index.store.layout import FORMAT_VERSION, OLD_FORMAT_VERSION
from qwen3_vl_retrieval.index.store.schema import create_tables, migrate_tables, open_database
from qwen3_vl_retrieval.media.policy import shorten_name
from qwen3_vl_retrieval.paths import decode_path, list_prefixes

__all__ = [
    "ITEM_PREFIX",
    "RESERVED_NAMES",
    "Attempt",
    "Catalog",
    "FileState",
    "FileSummary",
    "Metadata",
    "Place",
    "Record",
    "StoredFailure",
    "StoredUnit",
    "VectorPlaces",
    "encode_metadata",
]

Metadata: TypeAlias = Mapping[str, str | int | float | bool]
"""Flat scalars, which every store can keep and filter."""

ITEM_PREFIX = "item:"
"""Begins the source of an item that was given in memory; no absolute path does."""

_AFTER_ITEMS = "item;"
"""The first text after all that begin with `ITEM_PREFIX`."""

_FIRST_NAMES = {"vectors": "vectors.bin", "collection": "collection"}
"""What these parts of a store are called until they are written anew."""

_VARIABLES = 500
"""Values of one statement: SQLite allows 999 where it was built long ago."""

_JOINED = "FROM units AS u JOIN places AS p ON p.unit = u.row"

_UNIT_COLUMNS = 'row, id, media_type, page, start, "end", width, height, mime_type, sha256, text, content'

_FILE_COLUMNS = "source, sha256, size_bytes, modified_ns, changed_ns, inode, checked_ns"

_LOOK_COLUMNS = "size_bytes, modified_ns, changed_ns, inode, checked_ns"

_SCANNED_ROWS = 5_000
"""Rows from which on their slots are read in one scan, and not by their numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A unit as it is kept: once, however many files hold it.

    Attributes:
        id: Hash of content, page or window, and vector space; see `compute_unit_id`.
        unit: The unit. Its file is the one that it was read from; loaded from a store it has none, see `StoredUnit`.
        sha256: Hash of the file's content; for a chunk or an item, of its own content.
        mime_type: Type of the file; `None` for an item of several parts.
        content: An item that was given in memory, see `encode_item`; `None` for a unit of a file.
    """

    id: str
    unit: Unit
    sha256: str
    mime_type: str | None = None
    content: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a unit was found.

    Attributes:
        source: Absolute path of the file; `item:<id>` for an item given in memory.
        unit_id: Id of the unit.
        version: Hash of the file's content when it was found there.
        metadata: The caller's own; `None` leaves what was given before.
    """

    source: str
    unit_id: str
    version: str
    metadata: Metadata | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredUnit:
    """A unit with its row and its places.

    Attributes:
        row: Its number, from 1, which no other unit ever has.
        record: The unit.
        sources: The files that hold it, sorted; none for an item given in memory.
        metadata: The caller's own, of the first place.
        metadata_by_source: The same, of every file.
    """

    row: int
    record: Record
    sources: tuple[str, ...]
    metadata: Metadata
    metadata_by_source: Mapping[str, Metadata] = field(default_factory=dict[str, Metadata])

    def find_source(self) -> tuple[str | None, Metadata]:
        """Returns a file that holds the unit, one that exists if any does, and the metadata of that place.

        A moved file is listed at its old path, too, until a `sync` has removed it.
        """
        if not self.sources:
            return None, self.metadata
        source = self.sources[0]
        if len(self.sources) > 1:
            source = next((one for one in self.sources if os.path.isfile(decode_path(one))), source)  # noqa: PTH113 - never raises
        return source, self.metadata_by_source.get(source, self.metadata)

    def find_unit(self) -> tuple[Unit, Metadata]:
        """Returns the unit in the file that `find_source` returns, and the metadata of that place."""
        source, own = self.find_source()
        return self.record.unit if source is None else replace(self.record.unit, source=decode_path(source)), own

    def describe(self) -> dict[str, str | int | float | bool]:
        """Returns the flat metadata that travels with the unit: the caller's own, and ours, which go before them."""
        unit, own = self.find_unit()
        return {**own, **describe_unit(unit, sha256=self.record.sha256, mime_type=self.record.mime_type)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """A file whose units are all kept.

    Attributes:
        source: Its absolute path.
        sha256: Hash of its content.
        signature: What it looked like when it was read.
    """

    source: str
    sha256: str
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A reading of a file that failed, in whole or in part, and would fail again.

    Attributes:
        source: Its absolute path.
        sha256: Hash of its content; `None` if that could not be read.
        signature: What it looked like when it was read.
        conditions: Hash of what else decides whether it can be read, see `hash_conditions`.
    """

    source: str
    sha256: str | None
    signature: Signature
    conditions: str


class StoredFailure(NamedTuple):
    """A file or a part of it that could not be read, as it is kept.

    Attributes:
        page: Number of the page, from 1.
        start: First second of the window.
        end: Last second of the window.
        error: Name of the error's class.
        message: What was wrong.
        media_type: Media type of the part that could not be read; `None` if it is the whole file.
    """

    page: int | None
    start: float | None
    end: float | None
    error: str
    message: str
    media_type: MediaType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSummary:
    """What a file holds.

    Attributes:
        source: Its absolute path.
        units: Number of its units.
        media_types: Their kinds, sorted.
    """

    source: str
    units: int
    media_types: tuple[str, ...]


RESERVED_NAMES = tuple(sorted(COLUMN_NAMES | {"image", "video"}))


"""Names of our own, which metadata of the caller's may not have."""


@dataclass(frozen=True, slots=True)
class VectorPlaces:
    """Where vectors lie, as of one moment.

    Attributes:
        file: Name of the file of vectors.
        generation: Generation of the catalog.
        slots: By row, of those rows that are units.
    """

    file: str
    generation: int
    slots: Mapping[int, int]


class Catalog:
    """A connection for each thread that asks; one transaction at a time writes.

    Args:
        path: The database file; it need not exist.

    Raises:
        StoreError: There is another kind of file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = ForkSafeLock()
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._obstacle: StoreError | None = None
        self._inherited: list[sqlite3.Connection] = []
        renew_in_children(self)
        if not self._query("SELECT name FROM sqlite_master WHERE name = 'settings'").fetchall():
            if self._obstacle is not None:
                raise self._obstacle
            with explain_disk_errors(path.parent):
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
            if self._scratch is not None:
                self._scratch.cleanup()
                self._scratch = None

    @property
    def is_read_only(self) -> bool:
        """Whether the catalog cannot be written here, and so the store cannot."""
        return self._obstacle is not None

    def require_writable(self) -> None:
        """Raises an error unless the catalog can be written.

        Raises:
            StoreError: The catalog is read-only; the message says why.
        """
        if self._obstacle is not None:
            raise self._obstacle

    @property
    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and not connection.in_transaction and self._is_outdated():
            with self._lock:
                self._opened.remove(connection)
            connection.close()
            connection = None
        if connection is None:
            look = _look_at(self._path)
            opened = open_database(self._path, self._make_scratch)
            connection = opened.connection
            self._local.connection = connection
            self._local.frozen_look = look if opened.is_frozen else None
            self._obstacle = opened.obstacle
            with self._lock:
                self._opened.append(connection)
        return connection

    def _is_outdated(self) -> bool:
        """Whether this thread's connection notices no changes, and there were some.

        A volume that is read-only here may be written to from elsewhere.
        """
        look = self._local.frozen_look
        return look is not None and look != _look_at(self._path)

    def _make_scratch(self) -> Path:
        with self._lock:
            if self._scratch is None:
                self._scratch = tempfile.TemporaryDirectory(prefix="qwen3vl-catalog-")
            return Path(self._scratch.name)

    def _query(self, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        with explain_disk_errors(self._path.parent):
            return self._connection.execute(statement, parameters)

    def _query_each(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        with explain_disk_errors(self._path.parent):
            self._connection.executemany(statement, parameters)

    @contextmanager
    def write(self) -> Generator[None, None, None]:
        """Makes everything written inside one step, which happens entirely or, after an error, not at all.

        Raises:
            StoreError: The catalog cannot be written, or the disk is full.
        """
        connection = self._connection
        self.require_writable()
        self._query("BEGIN IMMEDIATE")
        try:
            yield
            self._query("COMMIT")
        except BaseException:
            # SQLite has done so itself where the disk is full.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @contextmanager
    def read(self) -> Generator[None, None, None]:
        """Makes everything read inside see the same state; inside `write` or another `read` it is theirs."""
        if self._connection.in_transaction:
            yield
            return
        self._query("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

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

    def read_name(self, part: str) -> str:
        """Returns what the file of `"vectors"` or the folder of the `"collection"` is called now."""
        found = self._query("SELECT value FROM settings WHERE name = ?", (f"{part}_name",)).fetchone()
        return _FIRST_NAMES[part] if found is None else str(found[0])

    def write_name(self, part: str, name: str) -> None:
        """Sets it."""
        self.write_setting(f"{part}_name", name)

    @property
    def has_slots(self) -> bool:
        """Whether vectors have places of their own; in the format before this one they lie in their units' rows."""
        found = self._query("SELECT value FROM settings WHERE name = 'format_version'").fetchone()
        return found is None or found[0] != OLD_FORMAT_VERSION

    def migrate(self) -> None:
        """Brings the catalog to the format of this version, unless it has it."""
        if self.has_slots:
            return
        with self.write(), explain_disk_errors(self._path.parent):
            migrate_tables(self._connection)
            self.write_setting("format_version", FORMAT_VERSION)

    def shrink(self) -> None:
        """Gives back the room of what was struck out."""
        with explain_disk_errors(self._path.parent):
            connection = self._connection
            connection.execute("INSERT INTO keywords (keywords) VALUES ('optimize')")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

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

    def list_outermost_sources(self) -> list[str]:
        """Returns files between whose names, in the order of their characters, all others are.

        The deepest folder that holds these holds all files.
        """
        outermost: list[str | None] = []
        uris = ("file:", "file;")
        # What is between these bounds is found through the index, however many files there are.
        for low, high in (("", uris[0]), uris, (uris[1], ITEM_PREFIX), (_AFTER_ITEMS, "\U0010ffff")):
            for function in ("min", "max"):
                statement = f"SELECT {function}(source) FROM places WHERE source >= ? AND source < ?"  # noqa: S608 - constants
                outermost.append(self._query(statement, (low, high)).fetchone()[0])
        return [source for source in outermost if source is not None]

    def list_file_summaries(self, *, offset: int = 0, limit: int = 100) -> list[FileSummary]:
        """Returns what files hold, by their paths: `limit` of them at most, from the `offset`th on."""
        statement = (
            f"SELECT p.source, count(*), group_concat(DISTINCT u.media_type) {_JOINED} "
            "WHERE p.source < ? OR p.source >= ? GROUP BY p.source ORDER BY p.source LIMIT ? OFFSET ?"
        )
        found = self._query(statement, (ITEM_PREFIX, _AFTER_ITEMS, limit, offset)).fetchall()
        return [
            FileSummary(source=source, units=units, media_types=tuple(sorted(kinds.split(","))))
            for source, units, kinds in found
        ]

    def last_row(self) -> int:
        """Returns the highest row that was ever used, 0 if none was."""
        found = self._query("SELECT seq FROM sqlite_sequence WHERE name = 'units'").fetchone()
        return int(found[0]) if found else 0

    # Slots of the file of vectors

    def locate_vectors(self, rows: Sequence[int]) -> VectorPlaces:
        """Returns where the vectors of those of `rows` lie that are units."""
        with self.read():
            return VectorPlaces(self.read_name("vectors"), self.generation, self._find_slots(rows))

    def _find_slots(self, rows: Sequence[int]) -> dict[int, int]:
        column = "slot" if self.has_slots else "row"
        if len(rows) > _SCANNED_ROWS:
            wanted = set(rows)
            found = self._query(f"SELECT row, {column} FROM units WHERE row BETWEEN ? AND ?", (min(rows), max(rows)))  # noqa: S608 - constants
            return {row: slot for row, slot in found if row in wanted}
        slots: dict[int, int] = {}
        for group in _split(rows):
            found = self._query(f"SELECT row, {column} FROM units WHERE row IN ({_marks(group)})", group)  # noqa: S608 - marks only
            slots.update(found.fetchall())
        return slots

    def last_slot(self) -> int:
        """Returns the highest slot that holds a vector of a unit, be it retired; 0 if none does."""
        if not self.has_slots:
            return int(self._query("SELECT coalesce(max(row), 0) FROM units").fetchone()[0])
        statement = (
            "SELECT max(coalesce((SELECT max(slot) FROM units), 0), coalesce((SELECT max(slot) FROM retired), 0))"
        )
        return int(self._query(statement).fetchone()[0])

    def choose_slots(self, count: int) -> list[int]:
        """Returns slots that nothing lies in, the lowest ones. They stay free until units are entered in them."""
        found = self._query("SELECT slot FROM free_slots ORDER BY slot LIMIT ?", (count,))
        free = [slot for (slot,) in found.fetchall()]
        highest = int(self._query("SELECT coalesce(max(slot), 0) FROM free_slots").fetchone()[0])
        next_slot = max(highest, self.last_slot()) + 1
        return [*free, *range(next_slot, next_slot + count - len(free))]

    def list_slots(self) -> list[tuple[int, int]]:
        """Returns slot and row of all units, by slot."""
        return self._query("SELECT slot, row FROM units ORDER BY slot").fetchall()

    def count_free_slots(self) -> int:
        """Returns how many slots nothing lies in."""
        return int(self._query("SELECT count(*) FROM free_slots").fetchone()[0]) if self.has_slots else 0

    def close_gaps(self, rows: Sequence[int]) -> None:
        """Says that the vectors of `rows`, which are all units in the order of their slots, lie one after the other."""
        self._query("DELETE FROM free_slots")
        # Rising, so that a slot is left before it is taken.
        self._query_each("UPDATE units SET slot = ? WHERE row = ?", enumerate(rows, start=1))

    # Units that nobody holds any more, whose vectors are kept for a while

    def count_retired(self) -> int:
        """Returns how many there are."""
        return int(self._query("SELECT count(*) FROM retired").fetchone()[0]) if self.has_slots else 0

    def find_retired(self, ids: Sequence[str]) -> dict[str, int]:
        """Returns the slots of those of `ids` that are retired."""
        slots: dict[str, int] = {}
        for group in _split(ids):
            slots.update(self._query(f"SELECT id, slot FROM retired WHERE id IN ({_marks(group)})", group).fetchall())  # noqa: S608 - marks only
        return slots

    def revive_unit(self, row: int, record: Record, slot: int) -> None:
        """Enters a retired unit again."""
        self._query("DELETE FROM retired WHERE id = ?", (record.id,))
        self.add_unit(row, record, slot)

    def forget_retired(self, ids: Sequence[str]) -> None:
        """Frees the slots of those of `ids` that are retired: they have vectors elsewhere."""
        for unit_id, slot in self.find_retired(ids).items():
            self._query("DELETE FROM retired WHERE id = ?", (unit_id,))
            self._query("INSERT INTO free_slots VALUES (?)", (slot,))

    def drop_retired(self, *, before: float | None = None) -> int:
        """Frees the slots of units that were retired before a time, or of all, and returns how many those were."""
        latest = math.inf if before is None else before
        self._query("INSERT INTO free_slots SELECT slot FROM retired WHERE retired_at < ?", (latest,))
        return self._query("DELETE FROM retired WHERE retired_at < ?", (latest,)).rowcount

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

    def find_words(self, query: str, *, limit: int, condition: SqlFilter | None = None) -> keywords.KeywordMatches:
        """Returns the units that hold the words of `query`, best first; see `keywords.find_rows`."""
        with explain_disk_errors(self._path.parent):
            return keywords.find_rows(self._connection, query, limit=limit, condition=condition)

    def add_unit(self, row: int, record: Record, slot: int) -> None:
        """Enters a unit, and its words."""
        unit = record.unit
        values = (
            *(row, record.id, unit.media_type, unit.page, unit.start, unit.end, unit.width, unit.height),
            *(record.mime_type, record.sha256, unit.text, record.content, slot),
        )
        self._query(f"INSERT INTO units ({_UNIT_COLUMNS}, slot) VALUES ({_marks(values)})", values)  # noqa: S608 - marks only
        self._query("DELETE FROM free_slots WHERE slot = ?", (slot,))
        if unit.text:
            with explain_disk_errors(self._path.parent):
                keywords.add_words(self._connection, row, unit.text)

    def remove_orphaned(self, rows: Iterable[int], *, retired_at: float | None) -> list[str]:
        """Strikes out those of `rows` that no place holds any more, and returns their ids.

        Args:
            rows: Which.
            retired_at: Keep their vectors, and since when; `None` frees their slots.
        """
        removed: list[str] = []
        for row in rows:
            statement = (
                "SELECT id, text, slot FROM units WHERE row = ? AND NOT EXISTS (SELECT 1 FROM places WHERE unit = row)"
            )
            found = self._query(statement, (row,)).fetchone()
            if found is None:
                continue
            unit_id, text, slot = found
            if text:
                with explain_disk_errors(self._path.parent):
                    keywords.remove_words(self._connection, row, text)
            self._query("DELETE FROM units WHERE row = ?", (row,))
            if retired_at is None:
                self._query("INSERT INTO free_slots VALUES (?)", (slot,))
            else:
                self._query("INSERT INTO retired VALUES (?, ?, ?)", (unit_id, slot, retired_at))
            removed.append(unit_id)
        return removed

    def list_contents(self) -> list[str]:
        """Returns the items that were given in memory, as they are kept."""
        found = self._query("SELECT content FROM units WHERE content IS NOT NULL")
        return [content for (content,) in found.fetchall()]

    # Places

    def add_place(self, place: Place) -> bool:
        """Enters a place of a unit that exists; returns whether that changed anything but the version."""
        statement = "SELECT row, (SELECT metadata FROM places WHERE source = ? AND unit = row) FROM units WHERE id = ?"
        row, known = self._query(statement, (place.source, place.unit_id)).fetchone()
        kept = "{}" if known is None else known
        metadata = kept if place.metadata is None else encode_metadata(place.metadata)
        self._query("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", (place.source, row, place.version, metadata))
        return known != metadata

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
        self._query_each("DELETE FROM places WHERE source = ? AND unit = ?", found)
        statement = (
            "DELETE FROM files WHERE source = ? "
            "AND NOT EXISTS (SELECT 1 FROM places WHERE places.source = files.source)"
        )
        self._query_each(statement, sorted({(source,) for source, _ in found}))
        return [row for _, row in found]

    def mend_metadata(self) -> list[str]:
        """Takes values out of the callers' metadata that cannot be searched or shown, and returns where those were.

        Older versions let them in. Values of other names stay.
        """
        mended: list[str] = []
        for (text,) in self._query("SELECT DISTINCT metadata FROM places").fetchall():
            kept, dropped = split_metadata(text)
            if not dropped:
                continue
            sources = self._query("SELECT DISTINCT source FROM places WHERE metadata = ?", (text,)).fetchall()
            self._query("UPDATE places SET metadata = ? WHERE metadata = ?", (encode_metadata(kept), text))
            mended += [f"{source}: {', '.join(dropped)}" for (source,) in sources]
        return sorted(mended)

    # Files

    def find_file(self, source: str) -> FileState | None:
        """Returns what is known of a file whose units are all kept; `None` if they are not."""
        values = self._query(f"SELECT {_FILE_COLUMNS} FROM files WHERE source = ?", (source,)).fetchone()  # noqa: S608 - constant
        if values is None:
            return None
        return FileState(source=values[0], sha256=values[1], signature=_build_signature(values[2:]))

    def write_file(self, state: FileState) -> None:
        """Enters a file."""
        values = (state.source, state.sha256, *_list_signature(state.signature))
        self._query(f"INSERT OR REPLACE INTO files ({_FILE_COLUMNS}) VALUES ({_marks(values)})", values)  # noqa: S608 - marks only

    def remove_file(self, source: str) -> list[int]:
        """Strikes out a file and its places, and returns the rows of the units it held."""
        self._query("DELETE FROM files WHERE source = ?", (source,))
        self.replace_failures(source, ())
        return self.remove_places(source)

    def list_sources(self, folder: Path) -> dict[str, set[str]]:
        """Returns the files below `folder` of which anything is known, with the hashes of the contents they held."""
        sources: dict[str, set[str]] = {}
        for beginning in list_prefixes(folder):
            # "/" and the character after it: everything below, found through the index.
            end = beginning[:-1] + chr(ord(beginning[-1]) + 1)
            for columns in ("source, sha256 FROM files", "source, version FROM places", "source, NULL FROM failures"):
                statement = f"SELECT DISTINCT {columns} WHERE source >= ? AND source < ?"
                for source, version in self._query(statement, (beginning, end)).fetchall():
                    sources.setdefault(source, set()).update([] if version is None else [version])
        return sources

    def list_files_of(self, contents: Container[str]) -> Iterator[tuple[str, str]]:
        """Yields hash and path of the files whose content is among `contents`."""
        for sha256, source in self._query("SELECT sha256, source FROM files").fetchall():
            if sha256 in contents:
                yield sha256, source

    # Failures

    def replace_failures(self, source: str, failures: Sequence[tuple[Any, ...]]) -> None:
        """Enters what could not be read of a file: a `StoredFailure` for each part, or the values of one."""
        self._query("DELETE FROM failures WHERE source = ?", (source,))
        self._query("DELETE FROM attempts WHERE source = ?", (source,))
        statement = 'INSERT INTO failures (source, page, start, "end", error, message, media_type)'
        rows = [(source, *StoredFailure(*failure)) for failure in failures]
        self._query_each(f"{statement} VALUES (?, {_marks(StoredFailure._fields)})", rows)

    def find_failures(self, source: str) -> list[StoredFailure]:
        """Returns what could not be read of a file."""
        statement = (
            'SELECT page, start, "end", error, message, media_type FROM failures WHERE source = ? ORDER BY 1, 2, 3'
        )
        return [StoredFailure(*values) for values in self._query(statement, (source,)).fetchall()]

    def find_attempt(self, source: str) -> Attempt | None:
        """Returns the reading of a file that failed and would fail again; `None` if it is worth another one."""
        statement = f"SELECT sha256, conditions, {_LOOK_COLUMNS} FROM attempts WHERE source = ?"  # noqa: S608 - constant
        values = self._query(statement, (source,)).fetchone()
        if values is None:
            return None
        return Attempt(source=source, sha256=values[0], conditions=values[1], signature=_build_signature(values[2:]))

    def write_attempt(self, attempt: Attempt) -> None:
        """Enters it, after the failures."""
        values = (attempt.source, attempt.sha256, attempt.conditions, *_list_signature(attempt.signature))
        statement = f"INSERT OR REPLACE INTO attempts (source, sha256, conditions, {_LOOK_COLUMNS})"
        self._query(f"{statement} VALUES ({_marks(values)})", values)

    def list_failures(self) -> list[dict[str, Any]]:
        """Returns what could not be read, by source."""
        columns = ("source", "page", "start", "end", "error", "message")
        found = self._query('SELECT source, page, start, "end", error, message FROM failures ORDER BY 1, 2, 3')
        return [dict(zip(columns, values, strict=True)) for values in found.fetchall()]

    # What is to be settled with the collection

    def add_unsettled(self, ids: Sequence[str]) -> None:
        """Notes units that the collection and this catalog may not agree on."""
        self._query_each("INSERT OR IGNORE INTO unsettled VALUES (?)", [(unit_id,) for unit_id in ids])

    def list_unsettled(self) -> list[str]:
        """Returns the ids that are noted."""
        return [unit_id for (unit_id,) in self._query("SELECT id FROM unsettled ORDER BY id").fetchall()]

    def clear_unsettled(self, ids: Sequence[str]) -> None:
        """Strikes out the notes."""
        self._query_each("DELETE FROM unsettled WHERE id = ?", [(unit_id,) for unit_id in ids])


def _build_unit(values: Sequence[Any], places: Sequence[tuple[str, str]]) -> StoredUnit:
    row, unit_id, media_type, page, start, end, width, height, mime_type, sha256, text, content = values
    unit = Unit(media_type=media_type, page=page, start=start, end=end, text=text, width=width, height=height)
    record = Record(id=unit_id, unit=unit, sha256=sha256, mime_type=mime_type, content=content)
    own: list[tuple[str, Metadata]] = [(source, json.loads(metadata)) for source, metadata in places]
    files = {source: metadata for source, metadata in own if not source.startswith(ITEM_PREFIX)}
    return StoredUnit(
        row=row,
        record=record,
        sources=tuple(files),
        metadata=own[0][1] if own else {},
        metadata_by_source=files,
    )


def encode_metadata(metadata: Metadata) -> str:
    """Returns the caller's metadata as they are kept.

    Raises:
        ValueError: They hold something that cannot be kept: infinity, no number (NaN), or half of a surrogate pair.
    """
    text = json.dumps(dict(metadata), sort_keys=True, ensure_ascii=False, allow_nan=False)
    text.encode()
    return text


def split_metadata(text: str) -> tuple[Metadata, list[str]]:
    """Returns kept metadata without the values that cannot be searched or shown, and what those were."""
    try:
        given: Any = json.loads(text)
    except json.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        return {}, [f"metadata that are no JSON ({shorten_name(text)!r})"]
    kept: dict[str, Any] = {}
    dropped: list[str] = []
    for name, value in cast("dict[str, Any]", given).items():
        if _is_sound(name, value):
            kept[name] = value
        else:
            dropped.append(f"{name!r} was {shorten_name(repr(value))}")
    return kept, dropped


def _is_sound(name: str, value: object) -> bool:
    texts = [name, value] if isinstance(value, str) else [name]
    if any("\ud800" <= character <= "\udfff" or character == "\0" for text in texts for character in text):
        return False
    match value:
        case bool() | str():
            return True
        case int():
            return -(2**63) <= value < 2**63
        case float():
            return math.isfinite(value)
        case _:
            return False


def _build_signature(values: Sequence[int]) -> Signature:
    size_bytes, modified_ns, changed_ns, inode, checked_ns = values
    return Signature(
        size_bytes=size_bytes, modified_ns=modified_ns, changed_ns=changed_ns, inode=inode, checked_ns=checked_ns
    )


def _list_signature(look: Signature) -> tuple[int, ...]:
    return look.size_bytes, look.modified_ns, look.changed_ns, look.inode, look.checked_ns


def _look_at(path: Path) -> tuple[int, ...]:
    """What tells that a database was written to: its size and time, and its log's."""
    looks: list[int] = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        try:
            status = file.stat()
        except OSError:
            continue
        looks += [status.st_size, status.st_mtime_ns]
    return tuple(looks)


def _split(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(values), _VARIABLES):
        yield values[first : first + _VARIABLES]


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
