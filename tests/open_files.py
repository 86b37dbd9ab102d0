"""What a process holds open: files, sockets and the events of native threads."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest

DESCRIPTORS = Path("/proc/self/fd")

needs_proc = pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="only Linux lists the open files of a process")


def count_left_open(work: Callable[[], object]) -> int:
    """Returns how many descriptors more are open after running `work` twice than after running it once."""

    def run() -> int:
        work()
        gc.collect()
        return len(list(DESCRIPTORS.iterdir()))

    first = run()
    return run() - first
