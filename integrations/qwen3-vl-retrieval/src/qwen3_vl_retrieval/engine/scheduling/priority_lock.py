"""Whose forward pass is next: short work goes before long work that is already under way."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count

from qwen3_vl_retrieval.forks import renew_in_children

__all__ = ["PriorityLock"]


class PriorityLock:
    """A lock whose next holder is the waiting thread with the least work; among equals, the one that came first."""

    def __init__(self) -> None:
        self._numbers = count()
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begins with nobody who waits or holds: of the threads of a parent process, none goes on in its child."""
        self._condition = threading.Condition()
        self._waiting: set[tuple[int, int]] = set()
        self._holder: tuple[int, int] | None = None

    @contextmanager
    def take(self, work: int) -> Generator[None]:
        """Holds the turn within the block; `work` is what the caller still has to do altogether, in tokens."""
        ticket = (work, next(self._numbers))
        try:
            with self._condition:
                self._waiting.add(ticket)
                while self._holder is not None or min(self._waiting) != ticket:
                    self._condition.wait()
                self._waiting.remove(ticket)
                self._holder = ticket
            yield
        finally:
            with self._condition:
                # Still there after Ctrl-C while another thread computes: all others may be waiting behind it.
                self._waiting.discard(ticket)
                if self._holder == ticket:
                    self._holder = None
                self._condition.notify_all()
