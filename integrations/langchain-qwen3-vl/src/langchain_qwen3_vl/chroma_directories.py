"""A folder with an embedded Chroma: its clients, its one writer, and how readers learn that it has changed.

An open client of chromadb does not find by vector what another process adds
(https://github.com/chroma-core/chroma/issues/6975), and two writers at once damage its graph. Here writers take turns,
each leaves a mark, and who reads the mark opens the folder afresh.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from copy import deepcopy
from itertools import count
from pathlib import Path

import chromadb
from chromadb.api import ClientAPI
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings
from filelock import FileLock, Timeout

from qwen3_vl_retrieval import StoreError
from qwen3_vl_retrieval.errors import explain, quote
from qwen3_vl_retrieval.index import RepairedRow, repair_chroma

__all__ = ["ChromaDirectory", "close_client"]

_CLIENT_SECONDS = 120.0
"""A batch is written within seconds; who waits longer waits for a process that hangs."""

_SPELLINGS: set[str] = set()
_SPELLINGS_LOCK = threading.Lock()
"""chromadb has one client for each spelling of a path in a process, and whoever asks for the same spelling is given
that one, stale as it may be (`SharedSystemClient` of chromadb 1.5.9). Each of ours has a spelling of its own."""


class ChromaDirectory:
    """The folder of an embedded Chroma. The operating system releases its locks when their process ends.

    Args:
        folder: Made if need be.
        settings: Of the clients.
        tenant: Of the clients.
        database: Of the clients.
        lock_timeout_seconds: How long a writer waits for another process to finish writing.

    Raises:
        StoreError: The folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        *,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
        lock_timeout_seconds: float,
    ) -> None:
        self.folder = folder
        self._settings, self._tenant, self._database = settings, tenant, database
        self._timeout_seconds = lock_timeout_seconds
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the folder {quote(folder)} cannot be made: {explain(error)}") from error
        self._writer = FileLock(folder / "qwen3vl-writer.lock", thread_local=False)
        # Held by threads of this object, which file locks would not keep apart.
        self._opening = threading.RLock()
        self._clients = FileLock(folder / "qwen3vl-clients.lock", thread_local=False)
        self._mark = folder / "qwen3vl-changes"
        self._process_id = os.getpid()

    def require_process(self) -> None:
        """Passes silently in the process that opened the folder.

        Raises:
            StoreError: This is a child that was forked from it, where Chroma would wait for ever.
        """
        if self._process_id != os.getpid():
            raise StoreError(
                f"the store {str(self.folder)!r} was opened before this process was forked, which Chroma does not "
                "survive; open it in the child alone, or start the process with multiprocessing's 'spawn'"
            )

    @contextmanager
    def hold_writer(self) -> Generator[None, None, None]:
        """Holds the folder for writing.

        Raises:
            StoreError: Somebody else goes on writing.
        """
        try:
            self._writer.acquire(timeout=self._timeout_seconds)
        except Timeout:
            raise StoreError(
                f"the store {quote(self.folder)} is being written by another process, or by another object of this "
                f"one, and was so for {self._timeout_seconds:g} seconds; wait for it to finish, or raise "
                "lock_timeout_seconds. Searching goes on meanwhile"
            ) from None
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def hold_clients(self) -> Generator[None, None, None]:
        """Holds the folder while a client is opened or a batch is written: the two never happen at once.

        Raises:
            StoreError: Another process does not let go of it.
        """
        with self._opening:
            try:
                self._clients.acquire(timeout=_CLIENT_SECONDS)
            except Timeout:
                raise StoreError(
                    f"another process holds the database in {quote(self.folder)} for more than {_CLIENT_SECONDS:g} "
                    "seconds; end it, and try again"
                ) from None
            try:
                yield
            finally:
                self._clients.release()

    def open_client(self) -> ClientAPI:
        """Returns a new client that sees the folder as it is now; give it to `close_client` when it is done with.

        Raises:
            StoreError: Chroma cannot open the folder.
        """
        spelling = _take_spelling(self.folder)
        try:
            # Chroma writes the path into the settings.
            settings = deepcopy(self._settings)
            return chromadb.PersistentClient(
                path=spelling, settings=settings, tenant=self._tenant, database=self._database
            )
        except Exception as error:
            # Chroma raises whatever its database or its native part raise.
            _SPELLINGS.discard(spelling)
            raise StoreError(f"Chroma cannot open {quote(self.folder)}: {explain(error)}") from error

    def repair(self) -> list[RepairedRow]:
        """Makes the log of the folder readable, while nobody writes to it; see `repair_chroma`.

        Raises:
            StoreError: Somebody else is writing, or it is no folder of Chroma.
        """
        with self.hold_writer(), self.hold_clients():
            repaired = repair_chroma(self.folder)
            self.leave_mark()
            return repaired

    def read_mark(self) -> str:
        """Returns what the last writer left; `""` if nobody has written yet."""
        try:
            return self._mark.read_text(encoding="ascii")
        except FileNotFoundError:
            return ""

    def leave_mark(self) -> str:
        """Tells all readers that the folder has changed; returns what they will read."""
        mark = uuid.uuid4().hex
        # Whole or not at all: who reads half of it would read afresh twice.
        unfinished = self._mark.with_suffix(".writing")
        unfinished.write_text(mark, encoding="ascii")
        unfinished.replace(self._mark)
        return mark


def close_client(client: ClientAPI) -> None:
    """Lets go of the files of a client that `open_client` returned."""
    spelling = client.get_settings().persist_directory
    client.close()  # pyright: ignore[reportAttributeAccessIssue] - missing in the interface, present in each client
    _SPELLINGS.discard(spelling)


def _take_spelling(folder: Path) -> str:
    with _SPELLINGS_LOCK:
        # The plain path is left to clients of the caller's own.
        spelling = next(text for text in (str(folder) + (os.sep + ".") * n for n in count(1)) if text not in _SPELLINGS)
        _SPELLINGS.add(spelling)
        return spelling
