"""Whose forward pass is next: short work goes before long work that is already under way."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count

__all__ = ["Turns"]


class Turns:
    """A lock whose next holder is the waiting thread with the least work; among equals, the one that came first."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._numbers = count()
        self._is_taken = False

    @contextmanager
    def take(self, work: int) -> Generator[None]:
        """Holds the turn within the block; `work` is what the caller still has to do altogether, in tokens."""
        with self._condition:
            self._wait((work, next(self._numbers)))
            self._is_taken = True
        try:
            yield
        finally:
            with self._condition:
                self._is_taken = False
                self._condition.notify_all()

    def _wait(self, ticket: tuple[int, int]) -> None:
        self._waiting.append(ticket)
        try:
            while self._is_taken or min(self._waiting) != ticket:
                self._condition.wait()
        except BaseException:
            # Ctrl-C while another thread computes: this may have been the one that all others are waiting behind.
            self._condition.notify_all()
            raise
        finally:
            self._waiting.remove(ticket)
