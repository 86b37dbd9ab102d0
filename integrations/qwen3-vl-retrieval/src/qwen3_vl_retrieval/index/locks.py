"""Locks between processes: one writer, and nobody opens the collection while it is being written."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.index.disk_errors import explain_write_error

__all__ = ["StoreLocks"]

_COLLECTION_SECONDS = 120.0
"""A batch is in the collection within seconds; who waits longer waits for a process that hangs."""


class StoreLocks:
    """The two locks of a store. The operating system releases them when their process ends, however it ends.

    Args:
        folder: Of the store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # File locks nest within an object, whichever thread asks: threads are kept apart by locks of their own.
        self._writing, self._opening = threading.Lock(), threading.RLock()
        self._writer = FileLock(folder / "writer.lock", thread_local=False)
        self._collection = FileLock(folder / "collection.lock", thread_local=False)

    @contextmanager
    def hold_writer(self) -> Generator[None, None, None]:
        """Holds the store for writing.

        Raises:
            StoreError: Somebody else is writing.
        """
        if not self._writing.acquire(blocking=False):
            raise self._describe_writer("another thread of this program")
        try:
            self._writer.acquire(timeout=0)
        except Timeout:
            self._writing.release()
            raise self._describe_writer("another process, or another index object of this one") from None
        except OSError as error:
            self._writing.release()
            raise explain_write_error(self._folder, error) from error
        try:
            yield
        finally:
            self._writer.release()
            self._writing.release()

    @contextmanager
    def hold_collection(self) -> Generator[None, None, None]:
        """Holds the collection while it is written to, or while it is opened.

        Raises:
            StoreError: Another process does not let go of it.
        """
        with self._opening:
            try:
                self._collection.acquire(timeout=_COLLECTION_SECONDS)
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
                self._collection.release()

    def _describe_writer(self, who: str) -> StoreError:
        return StoreError(
            f"the store {str(self._folder)!r} is being written by {who}; wait for it to finish, "
            "searching goes on meanwhile"
        )
