"""The memory of the process: freed tensors that the next layer will ask for again are not given back to the system."""

from __future__ import annotations

import torch

__all__ = ["keep_freed_memory"]

_LARGEST_KEPT_BYTES = (32 << 20) - (64 << 10)
"""A little less than the largest block for which glibc raises its thresholds (`DEFAULT_MMAP_THRESHOLD_MAX` on 64 bits,
malloc/malloc.c of glibc 2.36)."""


def keep_freed_memory() -> None:
    """Lets the C library keep freed blocks of up to 32 MiB, 64 MiB in all, as it does once one of that size was freed.

    Until then it gives the states of a layer back to the system and asks for them again in the next one: a quarter of a
    million page faults for 100 texts, a twentieth of the time (benchmarks/LOG.md). Nothing is written to the block, so
    that it takes no memory; where the C library is another one, nothing happens.
    """
    torch.empty(_LARGEST_KEPT_BYTES, dtype=torch.uint8)
