"""Tables of the catalog, and how a database is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.index.keywords import KEYWORD_SCHEMA

__all__ = ["create_tables", "open_database"]

_BUSY_SECONDS = 60.0
"""A writer holds the database for milliseconds at a time."""

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
    content TEXT
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
    message TEXT NOT NULL
);
CREATE INDEX failures_by_source ON failures(source);
-- Units of which the collection may know more, or less, than this catalog: settled before the next write.
CREATE TABLE unsettled (id TEXT PRIMARY KEY) WITHOUT ROWID;
{KEYWORD_SCHEMA}
"""


def open_database(path: Path) -> sqlite3.Connection:
    """Returns a connection for one thread at a time; transactions begin and end where the caller says so.

    Raises:
        StoreError: The file is not a database.
    """
    # Closed by another thread than the one that opened it, when the store is.
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        # Readers see the last commit while a batch is written; a commit is on the disk when it returns.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreError(f"{str(path)!r} is not a catalog of a store: {error}") from error
    return connection


def create_tables(connection: sqlite3.Connection) -> None:
    """Creates the tables in an empty database."""
    connection.executescript(f"BEGIN IMMEDIATE;{_TABLES}COMMIT;")
