"""What PyTorch computes on a CPU in a process that was forked from one that had computed: with one thread."""

from __future__ import annotations

import torch

from qwen3_vl_retrieval.forks import renew_in_children

__all__ = ["compute_alone_in_children"]


class _OneThread:
    """Keeps a forked child from waiting for threads that only its parent has.

    GNU OpenMP, with which PyTorch is built for Linux, hands work to the threads that the forking thread had started
    before, and waits for them; a fork copies none (https://gcc.gnu.org/bugzilla/show_bug.cgi?id=58378). A single thread
    waits for nobody. The workers of PyTorch's `DataLoader` compute with one as well.
    """

    def renew(self) -> None:
        """Sets what the forked thread, and all that it starts, compute with."""
        torch.set_num_threads(1)


_ONE_THREAD = _OneThread()


def compute_alone_in_children() -> None:
    """Makes child processes that are forked from now on compute with one thread each; this process is not changed."""
    renew_in_children(_ONE_THREAD)
