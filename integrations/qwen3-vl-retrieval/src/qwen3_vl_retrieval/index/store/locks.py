"""Locks between processes: one writer, and nobody opens the collection while it is being written."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from qwen3_vl_retrieval.errors import StoreError, explain_write_error
from qwen3_vl_retrieval.forks import renew_in_children

__all__ = ["StoreLocks"]

_COLLECTION_SECONDS = 120.0
"""A batch is in the collection within seconds; who waits longer waits for a process that hangs."""


class StoreLocks:
    """The two locks of a store. The operating system releases them when their process ends, however it ends.

    Args:
        folder: Folder of the store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[FileLock] = []
        self._inherited: list[FileLock] = []
        self.renew()
        self._list_files()
        renew_in_children(self)

    def renew(self) -> None:
        """Begins with locks that nobody of this process holds; those of a parent process stay the parent's."""
        # File locks nest within an object, whichever thread asks: threads are kept apart by locks of their own.
        self._writing, self._opening = threading.Lock(), threading.RLock()
        # Kept: when an object goes, older versions of filelock unlock its file, and for the parent too.
        self._inherited += self._files
        self._files = []

    @contextmanager
    def hold_writer(self) -> Generator[None, None, None]:
        """Holds the store for writing.

        Raises:
            StoreError: Somebody else is writing.
        """
        writing, writer = self._writing, self._list_files()[0]
        if not writing.acquire(blocking=False):
            raise self._describe_writer("another thread of this program")
        try:
            writer.acquire(timeout=0)
        except Timeout:
            writing.release()
            raise self._describe_writer("another process, or another index object of this one") from None
        except OSError as error:
            self._writing.release()
            raise explain_write_error(self._folder, error) from error
        try:
            yield
        finally:
            writer.release()
            writing.release()

    @contextmanager
    def hold_collection(self) -> Generator[None, None, None]:
        """Holds the collection while it is written to, or while it is opened.

        Raises:
            StoreError: Another process does not let go of it.
        """
        with self._opening:
            collection = self._list_files()[1]
            try:
                collection.acquire(timeout=_COLLECTION_SECONDS)
            except Timeout:
                raise StoreError(
                    f"another process holds the collection of {str(self._folder)!r} for more than "
                    f"{_COLLECTION_SECONDS:g} seconds; end it, and try again"
                ) from None
            except OSError as error:
                raise explain_write_error(self._folder, error) from error
            try:
                yield
            finally:
                collection.release()

    def _list_files(self) -> list[FileLock]:
        """The lock of the writer and that of the collection; a forked child makes its own when it needs them."""
        files = self._files
        if not files:
            with self._opening:
                names = ("writer.lock", "collection.lock")
                files = self._files or [FileLock(self._folder / name, thread_local=False) for name in names]
                self._files = files
        return files

    def _describe_writer(self, who: str) -> StoreError:
        return StoreError(
            f"the store {str(self._folder)!r} is being written by {who}; wait for it to finish, "
            "searching goes on meanwhile"
        )
