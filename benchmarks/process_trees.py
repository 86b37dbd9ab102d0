"""A process and all below it: how much memory and time they take, and their end. Linux only."""

from __future__ import annotations

import os
import signal
from pathlib import Path

__all__ = ["kill_tree", "list_descendants", "list_proportional_bytes", "measure_tree_bytes", "measure_tree_seconds"]

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def measure_tree_bytes(pid: int) -> int:
    """Returns the resident bytes of all processes of the tree; what they share counts once for each."""
    total = 0
    for each in (pid, *list_descendants(pid)):
        try:
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            # It ended in between.
            continue
    return total


def list_proportional_bytes(pid: int) -> list[int]:
    """Returns the resident bytes of each process of the tree, the root first; what n of them share counts 1/n for each.

    Their sum is what the tree takes from the machine. Asking costs milliseconds for each gigabyte.
    """
    found: list[int] = []
    for each in (pid, *list_descendants(pid)):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            # It ended in between.
            continue
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")]
    return found


def measure_tree_seconds(pid: int) -> float:
    """Returns the processor time of all processes of the tree, those that ended included."""
    ticks = 0
    for each in (pid, *list_descendants(pid)):
        try:
            # After the name, which may hold blanks: state, parent, …, then own and waited-for times (`man 5 proc`).
            fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        ticks += sum(int(value) for value in fields[11:15])
    return ticks / _TICKS_PER_SECOND


def kill_tree(pid: int) -> None:
    """Ends a process and all below it."""
    for each in (*list_descendants(pid), pid):
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            continue


def list_descendants(pid: int) -> list[int]:
    """Returns the processes below one, those that ended in between perhaps."""
    found: list[int] = []
    try:
        for task in list(Path(f"/proc/{pid}/task").iterdir()):
            found += [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        return found
    return found + [below for child in found for below in list_descendants(child)]
