"""The document that a reader process keeps open from one call to the next, so that n pages do not open it n times.

A session that held one reader for a whole document would take it away from other threads, and would render pages one
after the other. So each call stands for itself, goes to whichever reader is free, and finds the document open if that
reader had it last. There is never more than one, and none in the caller's own process: what is kept takes neither
memory from the limits of another file, nor is it open for long after it was used.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable
from typing import Protocol

from qwen3_vl_retrieval.forks import ForkSafeLock

__all__ = ["KEPT", "Closable", "KeptDocument"]

_IDLE_SECONDS = 1.0 if sys.platform == "win32" else 30.0
"""After which an unused document is closed. Windows lets nobody delete a file that is open."""


class Closable(Protocol):
    """An open document."""

    def close(self) -> None:
        """Closes it."""
        ...


class KeptDocument:
    """Room for one open document, which belongs to whoever has taken it or to nobody."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._may_keep: Callable[[], bool] = lambda: False
        self._owner = ""
        self._key: Hashable = None
        self._document: Closable | None = None
        self._last_used = 0.0

    def allow(self, may_keep: Callable[[], bool]) -> None:
        """Lets documents be kept while `may_keep()` says so; without this, none is."""
        self._may_keep = may_keep

    def take(self, key: Hashable) -> Closable | None:
        """Returns the document that was kept under `key`, which is the caller's from now on; closes any other."""
        with self._lock:
            document, self._document = self._document, None
            if document is None or (key is not None and key == self._key):
                return document
            document.close()
            return None

    def put(self, owner: str, key: Hashable, document: Closable) -> None:
        """Keeps a document under `key`, or closes it.

        Args:
            owner: The module whose functions may take it; a call of any other function closes it.
            key: What tells it from others, and from the same file with another content; `None` closes it.
            document: The open document, on which nothing works any more.
        """
        with self._lock:
            if key is None or not self._may_keep():
                document.close()
                return
            self._owner, self._key, self._document = owner, key, document
            self._last_used = time.monotonic()

    def close_unless_owned(self, owner: str) -> None:
        """Closes a document that another module keeps."""
        with self._lock:
            if self._owner != owner:
                self._close()

    def close_idle(self) -> None:
        """Closes a document that has not been used for a while."""
        with self._lock:
            if time.monotonic() - self._last_used > _IDLE_SECONDS:
                self._close()

    def _close(self) -> None:
        document, self._document = self._document, None
        if document is not None:
            document.close()


KEPT = KeptDocument()
