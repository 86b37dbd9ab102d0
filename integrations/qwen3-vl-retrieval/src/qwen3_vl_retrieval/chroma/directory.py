"""A directory with an embedded Chroma: the one place that opens it, and what its processes have to agree on.

An open client of chromadb does not find by vector what another process adds
(https://github.com/chroma-core/chroma/issues/6975), and two writers at once damage its graph. Here writers take turns,
each leaves a mark, and a reader that finds a new mark opens the directory afresh. Telemetry is off.

Nothing here imports chromadb before a client is opened.
"""

from __future__ import annotations

import json
import os
import uuid
import weakref
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from filelock import FileLock, Timeout

from qwen3_vl_retrieval.chroma.repair import RepairedRow, is_chroma_folder, repair_chroma
from qwen3_vl_retrieval.errors import (
    FingerprintMismatchError,
    StoreError,
    explain,
    explain_write_error,
    find_full_disk,
    is_disk_full,
    quote,
)
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.forks import ForkSafeLock, renew_in_children

if TYPE_CHECKING:
    import chromadb
    from chromadb.api import ClientAPI
    from chromadb.api.collection_configuration import CreateCollectionConfiguration
    from chromadb.config import Settings

__all__ = [
    "STAMP",
    "ChromaDirectory",
    "OpenClient",
    "SharedCollection",
    "check_stamp",
    "parse_stamp",
    "read_stamp",
    "stamp_metadata",
    "write_stamp",
]

STAMP = "qwen3vl_fingerprint"
"""Name of the fingerprint among the metadata of a collection, whichever class wrote it."""

_INDEX_PREFIX = "hnsw:"
"""Prefix of settings that older versions of Chroma kept in the metadata, where they can no longer be written."""

_CLIENT_SECONDS = 120.0
"""A batch is written within seconds; whoever waits longer waits for a process that hangs."""

_SPELLINGS: set[str] = set()
_SPELLINGS_LOCK = ForkSafeLock()
"""Chroma keeps one client for each spelling of a path in a process, and whoever asks for the same spelling gets that
one, stale as it may be (`SharedSystemClient` of chromadb 1.5.9). Each of ours has a spelling of its own."""

_OPENED: dict[Path, int] = {}
"""Directories that were opened, each with the process that opened it first: SQLite, which Chroma has inside, cannot
open a database again in a child of that process (https://sqlite.org/howtocorrupt.html, section 2.6), and waits for
ever."""

_INHERITED: list[Any] = []
"""Clients that a forked child must not close, because it would wait for threads of its parent."""


class OpenClient:
    """A client of `ChromaDirectory.open_client`, closed at the latest when nothing refers to this object any more.

    Each holds some ten files, sockets and threads, and Chroma keeps those of a client that is only forgotten.

    Attributes:
        client: The client of chromadb.
        mark: Mark of the directory that the client has seen.
        rows: Number of rows that it has seen, by collection.
    """

    def __init__(self, client: ClientAPI, mark: str = "") -> None:
        self.client, self.mark = client, mark
        self.rows: dict[str, int] = {}
        self._close = weakref.finalize(self, _close_own_client, client, os.getpid())
        self._close.atexit = False

    def close(self) -> None:
        """Lets go of the files now; a client that a parent process opened is left to it."""
        self._close()


class _OpenDirectory:
    """What the threads and objects of this process share of a directory.

    Attributes:
        lock: Held while a client is opened or a batch is written.
        clients: By tenant and database, the client that was opened last.
    """

    def __init__(self) -> None:
        self.lock = ForkSafeLock(is_reentrant=True)
        self.clients: weakref.WeakValueDictionary[tuple[str | None, str | None], OpenClient] = (
            weakref.WeakValueDictionary()
        )


_DIRECTORIES: weakref.WeakValueDictionary[Path, _OpenDirectory] = weakref.WeakValueDictionary()
_DIRECTORIES_LOCK = ForkSafeLock()


class ChromaDirectory:
    """The directory of an embedded Chroma. The operating system releases its locks when their process ends.

    Args:
        folder: The directory; it need not exist.
        settings: Settings of the clients, which are then not shared with other objects; by default telemetry is off.
        tenant: Tenant of the clients; Chroma's default if `None`.
        database: Database of the clients; Chroma's default if `None`.
        lock_timeout_seconds: How long a writer waits for another to finish.
        store: Folder of the store that messages about a full disk name; by default the directory itself.

    Attributes:
        folder: The absolute path.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        settings: Settings | None = None,
        tenant: str | None = None,
        database: str | None = None,
        lock_timeout_seconds: float = 10.0,
        store: Path | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        self._store = self.folder if store is None else store
        self._settings, self._tenant, self._database = settings, tenant, database
        self._timeout_seconds = lock_timeout_seconds
        self._shared = _find_open_directory(self.folder) if settings is None else _OpenDirectory()
        self._mark = self.folder / "qwen3vl-changes"
        self._inherited: list[FileLock] = []
        self._writer, self._clients = self._make_locks()
        renew_in_children(self)

    def renew(self) -> None:
        """Begins with file locks that nobody of this process holds; those of a parent process stay the parent's."""
        # Kept: when an object goes, older versions of filelock unlock its file, and for the parent too.
        self._inherited += [self._writer, self._clients]
        self._writer, self._clients = self._make_locks()

    def _make_locks(self) -> tuple[FileLock, FileLock]:
        # Held by threads of this object, which file locks would not keep apart.
        return (
            FileLock(self.folder / "qwen3vl-writer.lock", thread_local=False),
            FileLock(self.folder / "qwen3vl-clients.lock", thread_local=False),
        )

    @property
    def is_inherited(self) -> bool:
        """Whether the directory was opened before this process was forked, and cannot be opened here."""
        return _OPENED.get(self.folder, os.getpid()) != os.getpid()

    def require_process(self) -> None:
        """Checks that Chroma can be used in this process.

        Raises:
            StoreError: if the directory was opened before this process was forked, where Chroma would wait for ever.
        """
        if self.is_inherited:
            raise StoreError(
                f"the store {str(self.folder)!r} was opened before this process was forked, which Chroma does not "
                "survive; open it in the child alone, or start the process with multiprocessing's 'spawn'"
            )

    @contextmanager
    def hold_writer(self) -> Generator[None, None, None]:
        """Holds the directory for writing.

        Raises:
            StoreError: if somebody else goes on writing for longer than the timeout, or `require_process` fails.
        """
        self.require_process()
        self._make()
        try:
            self._writer.acquire(timeout=self._timeout_seconds)
        except Timeout:
            raise StoreError(
                f"the store {quote(self.folder)} is being written by another process, or by another object of this "
                f"one, and was so for {self._timeout_seconds:g} seconds; wait for it to finish, or raise "
                "lock_timeout_seconds. Searching goes on meanwhile"
            ) from None
        except OSError as error:
            raise explain_write_error(self._store, error) from error
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def hold_clients(self) -> Generator[None, None, None]:
        """Holds the directory while a client is opened or a batch is written: the two never happen at once.

        Raises:
            StoreError: if the directory cannot be made, another process does not let go of it, or `require_process`
                fails.
        """
        self.require_process()
        self._make()
        with self._shared.lock:
            try:
                self._clients.acquire(timeout=_CLIENT_SECONDS)
            except Timeout:
                raise StoreError(
                    f"another process holds the database in {quote(self.folder)} for more than {_CLIENT_SECONDS:g} "
                    "seconds; end it, and try again"
                ) from None
            except OSError as error:
                raise explain_write_error(self._store, error) from error
            try:
                yield
            finally:
                self._clients.release()

    def open_client(self) -> ClientAPI:
        """Returns a new client that sees the directory as it is now; put it into an `OpenClient`.

        Raises:
            StoreError: if chromadb is not installed, Chroma cannot open the directory, or a parent process has it open.
        """
        try:
            import chromadb
            from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings
        except ImportError as error:
            raise StoreError(
                "an index on disk needs chromadb, which is not installed: pip install 'qwen3-vl-retrieval[chroma]'"
            ) from error
        self.require_process()
        self._make()
        _OPENED[self.folder] = os.getpid()
        spelling = _take_spelling(self.folder)
        try:
            return chromadb.PersistentClient(
                path=spelling,
                # Chroma writes the path into the settings.
                settings=Settings(anonymized_telemetry=False) if self._settings is None else deepcopy(self._settings),
                tenant=DEFAULT_TENANT if self._tenant is None else self._tenant,
                database=DEFAULT_DATABASE if self._database is None else self._database,
            )
        except Exception as error:
            # Chroma raises whatever its database or its native part raise.
            _SPELLINGS.discard(spelling)
            raise self.explain("Chroma cannot open", error) from error

    def list_collections(self) -> list[str]:
        """Returns the sorted names of the collections.

        Raises:
            StoreError: if Chroma cannot open the directory.
        """
        with self.hold_clients():
            return sorted(found.name for found in self.share_client().client.list_collections())

    def repair(self) -> list[RepairedRow]:
        """Makes the log of the directory readable, while nobody writes to it; see `repair_chroma`.

        Raises:
            StoreError: if somebody else is writing, or it is no directory of Chroma.
        """
        if not is_chroma_folder(self.folder):
            # Without making one for the locks.
            return repair_chroma(self.folder)
        with self.hold_writer(), self.hold_clients():
            repaired = repair_chroma(self.folder)
            self.leave_mark()
            return repaired

    def explain(self, what: str, error: Exception) -> StoreError:
        """Returns the error that says what went wrong here; `what` begins its message."""
        full = error if is_disk_full(error) else find_full_disk(self.folder)
        if full is not None:
            return explain_write_error(self._store, full)
        return StoreError(f"{what} {quote(self.folder)}: {explain(error)}")

    def share_client(self, *, is_afresh: bool = False) -> OpenClient:
        """Returns the client of the collections of this process, inside `hold_clients`.

        A new one is opened if another process has written since, or if `is_afresh`.

        Raises:
            StoreError: if Chroma cannot open the directory.
        """
        key, mark = (self._tenant, self._database), self.read_mark()
        opened = self._shared.clients.get(key)
        if is_afresh or opened is None or opened.mark != mark:
            self._shared.clients[key] = opened = OpenClient(self.open_client(), mark)
        return opened

    def read_mark(self) -> str:
        """Returns what the last writer left; `""` if nobody has written yet."""
        try:
            return self._mark.read_text(encoding="ascii")
        except FileNotFoundError:
            return ""

    def leave_mark(self, opened: OpenClient | None = None) -> None:
        """Tells all readers that the directory has changed.

        Args:
            opened: The client that wrote, which knows the change already.
        """
        mark = uuid.uuid4().hex
        # Whole or not at all: a reader of half of it would open the directory twice.
        unfinished = self._mark.with_suffix(".writing")
        with self._shared.lock:
            unfinished.write_text(mark, encoding="ascii")
            unfinished.replace(self._mark)
            if opened is not None:
                opened.mark = mark

    def _make(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the folder {quote(self.folder)} cannot be made: {explain(error)}") from error


class SharedCollection:
    """A collection in a directory where other processes write, too: one writer at a time, and readers that keep up.

    Args:
        directory: The directory.
        name: Name of the collection.
        metadata: Metadata of a new collection; see `stamp_metadata`.
        configuration: Configuration of a new collection; by default vectors are compared by cosine.
        must_exist: Whether a missing collection is an error instead of being made.

    Raises:
        StoreError: if Chroma cannot open the directory, or cannot read the collection.
        chromadb.errors.NotFoundError: if the collection is to exist, and does not.

    Attributes:
        directory: The directory.
        name: Name of the collection.
    """

    def __init__(
        self,
        directory: ChromaDirectory,
        name: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        configuration: CreateCollectionConfiguration | None = None,
        must_exist: bool = False,
    ) -> None:
        self.directory, self.name = directory, name
        self._metadata = None if metadata is None else dict(metadata)
        self._configuration = configuration
        self._fingerprint: Fingerprint | None = None
        self._is_bound = False
        self._writing, self._opening = ForkSafeLock(is_reentrant=True), ForkSafeLock(is_reentrant=True)
        self._is_writing = False
        self._collection: chromadb.Collection | None = None
        with directory.hold_clients():
            self._open(directory.share_client(), is_made=not must_exist)

    def __copy__(self) -> Self:
        # It stands for what is on the disk, with locks and a client that cannot be copied.
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled: its client and locks belong to this process; open the store by "
            "its directory where it is needed"
        )

    @property
    def client(self) -> ClientAPI:
        """The client of chromadb that was opened last."""
        return self._opened.client

    @property
    def collection(self) -> chromadb.Collection | None:
        """The collection as it was opened last; `None` after `drop`."""
        return self._collection

    def bind(self, fingerprint: Fingerprint | None) -> None:
        """Binds the collection to one vector space, now and whenever it is opened afresh; see `check_stamp`.

        Raises:
            FingerprintMismatchError: if the collection holds vectors of another space.
        """
        with self.directory.hold_clients():
            if self._collection is not None:
                check_stamp(self._collection, fingerprint)
            self._fingerprint, self._is_bound = fingerprint, True

    def refresh(self) -> chromadb.Collection | None:
        """Returns the collection as it is on the disk now; `None` after `drop`.

        Raises:
            FingerprintMismatchError: if it now holds vectors of another space than the one it was bound to.
            StoreError: if this process was forked since, or Chroma cannot open the directory.
        """
        self.directory.require_process()
        # While this object writes, nobody else does.
        if self._collection is not None and not self._is_writing and self._is_stale():
            with self._opening:
                if not self._is_writing:
                    self._reopen()
        return self._collection

    @contextmanager
    def write(self) -> Generator[None, None, None]:
        """Holds the collection, as it is on the disk now, for a series of `write_batch`; nobody else writes meanwhile.

        Threads of this object wait for each other, other objects and processes for `lock_timeout_seconds`.

        Raises:
            StoreError: if another process, or another object of this one, goes on writing.
        """
        self.directory.require_process()
        with self._writing:
            if self._is_writing:
                yield
                return
            with self.directory.hold_writer():
                with self._opening:
                    self.refresh()
                    self._is_writing = True
                try:
                    yield
                finally:
                    self._is_writing = False

    @contextmanager
    def write_batch(self) -> Generator[None, None, None]:
        """Holds the collection for writing while nobody opens the directory; readers see the batch afterwards.

        Raises:
            StoreError: if somebody else goes on writing, or does not let go of the directory.
        """
        with self.write(), self.directory.hold_clients():
            try:
                yield
            finally:
                self._settle()

    def drop(self) -> None:
        """Deletes the collection with all rows.

        Raises:
            StoreError: if somebody else is writing.
        """
        with self.write_batch():
            if self._collection is not None:
                self.client.delete_collection(self.name)
                self._collection = None

    def reset(self) -> None:
        """Deletes the collection with all rows, if there is one, and makes an empty one.

        Raises:
            StoreError: if somebody else is writing.
        """
        with self.write():
            self.drop()
            with self.write_batch():
                self._open(self.directory.share_client(is_afresh=True), is_made=True)

    def _is_stale(self) -> bool:
        # Other programs leave no mark, but most of what they do changes the number of rows.
        opened = self._opened
        return self._collection is not None and (
            self.directory.read_mark() != opened.mark or self._count(self._collection) != opened.rows[self.name]
        )

    def _reopen(self) -> None:
        with self.directory.hold_clients():
            if self._is_stale():
                self._open(self.directory.share_client(), is_made=False)

    def _open(self, opened: OpenClient, *, is_made: bool) -> None:
        """Takes the collection from a client for what is asked from now on."""
        collection = self._find(opened.client, is_made=is_made)
        rows = self._count(collection)
        if opened.rows.setdefault(self.name, rows) != rows:
            opened = self.directory.share_client(is_afresh=True)
            collection = self._find(opened.client, is_made=is_made)
            opened.rows[self.name] = self._count(collection)
        if self._is_bound:
            check_stamp(collection, self._fingerprint)
        # The client is not closed before the last query that runs on the collection has returned.
        weakref.finalize(collection, _let_go, opened).atexit = False
        self._opened, self._collection = opened, collection

    def _find(self, client: ClientAPI, *, is_made: bool) -> chromadb.Collection:
        if not is_made:
            return client.get_collection(self.name, embedding_function=None)
        return client.get_or_create_collection(
            self.name,
            embedding_function=None,
            metadata=self._metadata,
            configuration={"hnsw": {"space": "cosine"}} if self._configuration is None else self._configuration,
        )

    def _settle(self) -> None:
        """Tells everybody what was written, inside `hold_clients`; the collections that share this client know it."""
        if self._collection is None:
            # They do not: theirs is gone.
            self.directory.leave_mark()
        else:
            self.directory.leave_mark(self._opened)
            self._opened.rows[self.name] = self._count(self._collection)

    def _count(self, collection: chromadb.Collection) -> int:
        from chromadb.errors import ChromaError

        try:
            return collection.count()
        except ChromaError as error:
            raise StoreError(
                f"Chroma cannot read the collection {quote(self.name)} in {quote(self.directory.folder)}: "
                f"{explain(error)}. If its log is unreadable, MultimodalChroma.repair (or qwen3vl repair) mends it"
            ) from error


def stamp_metadata(metadata: Mapping[str, Any] | None, fingerprint: Fingerprint | None) -> dict[str, Any] | None:
    """Returns the metadata of a new collection with the fingerprint in them; `None` if there are none."""
    given = {} if metadata is None else dict(metadata)
    if fingerprint is not None:
        given[STAMP] = json.dumps(fingerprint.to_dict(), sort_keys=True)
    return given if given else None


def read_stamp(collection: chromadb.Collection) -> Fingerprint | None:
    """Returns the fingerprint that a collection carries; `None` if it carries none.

    Raises:
        FingerprintMismatchError: if the fingerprint is damaged.
    """
    stamp = _read_metadata(collection).get(STAMP)
    return parse_stamp(stamp) if isinstance(stamp, str) else None


def write_stamp(collection: chromadb.Collection, fingerprint: Fingerprint) -> None:
    """Writes the fingerprint into the metadata of a collection, beside what is there."""
    kept = {name: value for name, value in _read_metadata(collection).items() if not name.startswith(_INDEX_PREFIX)}
    collection.modify(metadata=stamp_metadata(kept, fingerprint))


def check_stamp(collection: chromadb.Collection, fingerprint: Fingerprint | None) -> None:
    """Checks that vectors of `fingerprint` may be compared with those of the collection.

    A collection without rows and without a fingerprint is given this one.

    Args:
        collection: The collection.
        fingerprint: Identity of the vectors of the embeddings; `None` for embeddings that have none.

    Raises:
        FingerprintMismatchError: if the vectors come from another space, or one of the two spaces is unknown.
    """
    stored = read_stamp(collection)
    if stored is not None:
        if fingerprint is None:
            raise FingerprintMismatchError(
                f"the collection {quote(collection.name)} holds vectors of {stored.to_dict()}, and these embeddings do "
                "not say which space theirs are of; open it with the Qwen3VLEmbeddings that wrote it"
            )
        fingerprint.require_match(stored)
    elif fingerprint is not None:
        rows = collection.count()
        if rows:
            raise FingerprintMismatchError(
                f"the collection {quote(collection.name)} holds {rows:,} vectors of an unknown space: another class or "
                "other embeddings wrote it. Choose another collection_name, and embed the documents again"
            )
        write_stamp(collection, fingerprint)


def parse_stamp(stamp: str) -> Fingerprint:
    """Returns the fingerprint that a text holds.

    Raises:
        FingerprintMismatchError: if it holds none.
    """
    try:
        return Fingerprint.from_dict(json.loads(stamp))
    except json.JSONDecodeError as error:
        raise FingerprintMismatchError(f"the fingerprint of the store is damaged: {quote(stamp)}") from error


def _read_metadata(collection: chromadb.Collection) -> Mapping[str, Any]:
    metadata = cast("Mapping[str, Any] | None", collection.metadata)
    return {} if metadata is None else metadata


def _find_open_directory(folder: Path) -> _OpenDirectory:
    with _DIRECTORIES_LOCK:
        found = _DIRECTORIES.get(folder)
        if found is None:
            _DIRECTORIES[folder] = found = _OpenDirectory()
        return found


def _take_spelling(folder: Path) -> str:
    with _SPELLINGS_LOCK:
        # The plain path is left to clients of the caller's own.
        spelling = next(text for text in (str(folder) + (os.sep + ".") * n for n in count(1)) if text not in _SPELLINGS)
        _SPELLINGS.add(spelling)
        return spelling


def _close_own_client(client: ClientAPI, process_id: int) -> None:
    if process_id != os.getpid():
        _INHERITED.append(client)
        return
    spelling = client.get_settings().persist_directory
    client.close()  # pyright: ignore[reportAttributeAccessIssue] - missing in the interface, present in each client
    _SPELLINGS.discard(spelling)


def _let_go(_: object) -> None:
    """The finalizer of a collection has kept its client until now."""
