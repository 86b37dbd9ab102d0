"""Tables of the catalog, and how a database is opened."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qwen3_vl_retrieval.errors import StoreError, explain_write_error
from qwen3_vl_retrieval.index.store.keywords import KEYWORD_SCHEMA

__all__ = ["OpenedDatabase", "create_tables", "migrate_tables", "open_database"]

_BUSY_SECONDS = 60.0
"""A writer holds the database for milliseconds at a time."""

_SLOT_TABLES = """
CREATE UNIQUE INDEX units_by_slot ON units(slot);
-- Places in the file of vectors that belong to nobody.
CREATE TABLE free_slots (slot INTEGER PRIMARY KEY);
-- Vectors of units that nobody holds any more, kept for a while.
CREATE TABLE retired (id TEXT PRIMARY KEY, slot INTEGER NOT NULL UNIQUE, retired_at REAL NOT NULL) WITHOUT ROWID;
-- What files looked like, and what they were read with, when they could not be read.
CREATE TABLE attempts (
    source TEXT PRIMARY KEY,
    sha256 TEXT,
    size_bytes INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    changed_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    checked_ns INTEGER NOT NULL,
    conditions TEXT NOT NULL
) WITHOUT ROWID;
"""

_TABLES = f"""
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE units (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    media_type TEXT NOT NULL,
    page INTEGER,
    start REAL,
    "end" REAL,
    width INTEGER,
    height INTEGER,
    mime_type TEXT,
    sha256 TEXT NOT NULL,
    text TEXT,
    content TEXT,
    slot INTEGER
);
CREATE TABLE places (
    source TEXT NOT NULL,
    unit INTEGER NOT NULL REFERENCES units(row),
    version TEXT NOT NULL,
    metadata TEXT NOT NULL,
    PRIMARY KEY (source, unit)
) WITHOUT ROWID;
CREATE INDEX places_by_unit ON places(unit);
CREATE TABLE files (
    source TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    changed_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    checked_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE failures (
    source TEXT NOT NULL,
    page INTEGER,
    start REAL,
    "end" REAL,
    error TEXT NOT NULL,
    message TEXT NOT NULL,
    media_type TEXT
);
CREATE INDEX failures_by_source ON failures(source);
-- Units of which the collection may know more, or less, than this catalog: settled before the next write.
CREATE TABLE unsettled (id TEXT PRIMARY KEY) WITHOUT ROWID;
{_SLOT_TABLES}
{KEYWORD_SCHEMA}
"""

_MIGRATION = (
    "ALTER TABLE units ADD COLUMN slot INTEGER",
    "UPDATE units SET slot = row",
    "ALTER TABLE failures ADD COLUMN media_type TEXT",
    *_SLOT_TABLES.split(";\n"),
    """
    WITH RECURSIVE numbers(slot) AS (
        SELECT 1 UNION ALL SELECT slot + 1 FROM numbers WHERE slot < (SELECT max(row) FROM units)
    )
    INSERT INTO free_slots SELECT slot FROM numbers
        WHERE slot <= (SELECT max(row) FROM units) AND slot NOT IN (SELECT slot FROM units)
    """,
)
"""From format 1 to format 2: rows that were given up are slots to be used again."""


@dataclass(frozen=True, slots=True)
class OpenedDatabase:
    """A connection, and what may be done with it.

    Attributes:
        connection: For one thread at a time; transactions begin and end where the caller says so.
        obstacle: What is raised when it is to be written; `None` if it can be.
        is_frozen: Whether it does not notice what others write.
    """

    connection: sqlite3.Connection
    obstacle: StoreError | None = None
    is_frozen: bool = False


def open_database(path: Path, make_scratch: Callable[[], Path]) -> OpenedDatabase:
    """Opens the database for writing, or for reading alone where its folder or its file cannot be written.

    SQLite reads a database in WAL mode through two more files. Where they are missing and cannot be made, the database
    is read as one that nobody changes; where the log holds something and cannot be read in place, a copy is read.

    Args:
        path: The database file; where its folder can be written, it need not exist.
        make_scratch: Returns a folder for such a copy.

    Raises:
        StoreError: The file is not a database, cannot be read, or does not exist and cannot be made.
    """
    obstacle = _find_obstacle(path)
    if obstacle is None:
        connection = _connect(str(path))
        try:
            # Readers see the last commit while a batch is written; a commit is on the disk when it returns.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            return OpenedDatabase(connection)
        except sqlite3.OperationalError as error:
            connection.close()
            obstacle = explain_write_error(path.parent, error)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise StoreError(f"{str(path)!r} is not a catalog of a store: {error}") from error
    if not path.exists():
        raise obstacle
    try:
        return _open_for_reading(path, make_scratch, obstacle)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"{str(path)!r} is not a catalog of a store, or cannot be read: {error}; see whether you may read it"
        ) from error


def create_tables(connection: sqlite3.Connection) -> None:
    """Creates the tables in an empty database."""
    connection.executescript(f"BEGIN IMMEDIATE;{_TABLES}COMMIT;")


def migrate_tables(connection: sqlite3.Connection) -> None:
    """Brings the tables of format 1 to format 2, inside a transaction of the caller's."""
    for statement in _MIGRATION:
        # Not `executescript`, which would end the transaction.
        if statement.strip():
            connection.execute(statement)


def _connect(name: str) -> sqlite3.Connection:
    # Closed by another thread than the one that opened it, when the store is.
    return sqlite3.connect(
        name, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=name.startswith("file:")
    )


def _find_obstacle(path: Path) -> StoreError | None:
    for place in (path.parent, path):
        # A mounted volume is read-only for root, too, and the system says so here.
        if place.exists() and not os.access(place, os.W_OK):
            return explain_write_error(path.parent, PermissionError(errno.EACCES, f"{place.name!r} may not be written"))
    return None


def _open_for_reading(path: Path, make_scratch: Callable[[], Path], obstacle: StoreError) -> OpenedDatabase:
    uri = path.absolute().as_uri()
    log = path.with_name(f"{path.name}-wal")
    connection = _connect(f"{uri}?mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return OpenedDatabase(connection, obstacle)
    except sqlite3.OperationalError:
        connection.close()
    if log.exists() and log.stat().st_size:
        copied = make_scratch() / path.name
        if not copied.exists():
            shutil.copyfile(log, copied.with_name(log.name))
            shutil.copyfile(path, copied)
        connection, is_frozen = _connect(str(copied)), False
    else:
        connection, is_frozen = _connect(f"{uri}?mode=ro&immutable=1"), True
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return OpenedDatabase(connection, obstacle, is_frozen)
