"""Entries within a bound: those that have not been used for longest give way."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from qwen3_vl_retrieval.forks import ForkSafeLock

__all__ = ["BoundedCache"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def _count_one(_value: Any) -> int:
    return 1


class BoundedCache(Generic[Key, Value]):
    """A least-recently-used cache; any number of threads may use it.

    Args:
        max_size: Bound of all entries together.
        measure: Size of an entry's value, in the unit of `max_size`; by default entries are counted.
    """

    def __init__(self, max_size: int, *, measure: Callable[[Value], int] = _count_one) -> None:
        self._max_size = max_size
        self._measure = measure
        self._size = 0
        self._entries: OrderedDict[Key, Value] = OrderedDict()
        self._lock = ForkSafeLock()

    @property
    def size(self) -> int:
        """Size of all entries, in the unit of `max_size`."""
        return self._size

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def admits(self, value: Value) -> bool:
        """Whether a value is within the bound."""
        return self._measure(value) <= self._max_size

    def find(self, key: Key) -> Value | None:
        """Returns the value of a key, which is the latest used now, or `None`."""
        with self._lock:
            value = self._entries.get(key)
            if value is not None:
                self._entries.move_to_end(key)
            return value

    def keep(self, key: Key, value: Value) -> list[tuple[Key, Value]]:
        """Keeps a value and returns the entries that gave way; the value alone if it exceeds the bound."""
        if not self.admits(value):
            return [(key, value)]
        with self._lock:
            if key in self._entries:
                self._size -= self._measure(self._entries.pop(key))
            self._entries[key] = value
            self._size += self._measure(value)
            gone: list[tuple[Key, Value]] = []
            while self._size > self._max_size:
                gone.append(self._entries.popitem(last=False))
                self._size -= self._measure(gone[-1][1])
            return gone

    def take(self, key: Key) -> Value | None:
        """Returns the value of a key and forgets it, or `None`."""
        with self._lock:
            value = self._entries.pop(key, None)
            if value is not None:
                self._size -= self._measure(value)
            return value

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._entries.clear()
            self._size = 0
