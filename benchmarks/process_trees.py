"""A process and all below it: how much memory they hold, and their end. Linux only."""

from __future__ import annotations

import os
import signal
from pathlib import Path

__all__ = ["kill_tree", "measure_tree_bytes"]

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def measure_tree_bytes(pid: int) -> int:
    """Returns the resident bytes of all processes of the tree; what they share counts once for each."""
    total = 0
    for each in (pid, *_list_children(pid)):
        try:
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            # It ended in between.
            continue
    return total


def kill_tree(pid: int) -> None:
    """Ends a process and all below it."""
    for each in (*_list_children(pid), pid):
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _list_children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in list(Path(f"/proc/{pid}/task").iterdir()):
            found += [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        return found
    return found + [below for child in found for below in _list_children(child)]
