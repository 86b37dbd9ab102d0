"""What must begin anew in a child process that was forked while threads of its parent were at work.

A fork copies the memory and one thread. A lock that another thread held stays held for ever in the child, a queue has
nobody who serves it, and a database connection still belongs to the parent. Whatever keeps such a thing registers here
and is called in each child, before anything else runs there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TypeAlias
from weakref import ref

__all__ = ["ForkSafeLock", "Renewable", "renew_in_children"]


class Renewable(Protocol):
    """Something that keeps what a child process must not use."""

    def renew(self) -> None:
        """Replaces what belongs to the parent's threads; must neither wait for a lock nor fail."""
        ...


_Exit: TypeAlias = "Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], bool | None]"


class _Registry:
    """The owners to renew, as long as they live."""

    def __init__(self) -> None:
        # A plain set, whose methods are single steps: a fork may come between any two.
        self._owners: set[ref[Renewable]] = set()
        self._is_hooked = False

    def add(self, owner: Renewable) -> None:
        if not self._is_hooked and os.name == "posix":
            self._is_hooked = True
            os.register_at_fork(after_in_child=self._renew_all)
        self._owners.add(ref(owner, self._owners.discard))

    def _renew_all(self) -> None:
        for known in list(self._owners):
            owner = known()
            if owner is not None:
                owner.renew()


_REGISTRY = _Registry()


def renew_in_children(owner: Renewable) -> None:
    """Calls `owner.renew()` in each child process that is forked from this one.

    Nothing keeps `owner` alive for that.

    Args:
        owner: Keeps a lock, a thread or a connection.
    """
    _REGISTRY.add(owner)


class ForkSafeLock:
    """A lock for `with` that no thread holds in a forked child.

    The lock behind it is replaced there and never released in place: the thread that forked may hold the old one, and
    goes on to release that.

    Args:
        is_reentrant: Whether the thread that holds it may take it again.
    """

    def __init__(self, *, is_reentrant: bool = False) -> None:
        self._create = threading.RLock if is_reentrant else threading.Lock
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Replaces the lock by a free one."""
        self._lock = self._create()

    # Properties, so that `with` calls the methods of the lock itself: between them and a method written in Python,
    # Ctrl-C could leave the lock taken by nobody.
    @property
    def __enter__(self) -> Callable[[], bool]:
        """Waits for the lock."""
        return self._lock.__enter__

    @property
    def __exit__(self) -> _Exit:
        """Lets go of the lock."""
        return self._lock.__exit__
