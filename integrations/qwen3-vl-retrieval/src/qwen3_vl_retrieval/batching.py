"""Which sequences share a forward pass: longest first, within a token budget, with little padding."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["plan_batches", "split_batch"]

MAX_PADDING_SHARE = 0.15
"""Largest share of a batch that may be padding."""


def plan_batches(lengths: Sequence[int], *, max_batch_tokens: int) -> list[list[int]]:
    """Returns positions into `lengths`, grouped into batches; every position occurs once.

    Batches come longest first, so that a batch too large for the memory shows at once. A batch holds at most
    `max_batch_tokens` tokens, padding included; a sequence beyond that is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    batches: list[list[int]] = []
    longest = real_tokens = 0
    for position in order:
        length = lengths[position]
        padded_tokens = longest * (len(batches[-1]) + 1) if batches else 0
        fits = 0 < padded_tokens <= max_batch_tokens
        if fits and padded_tokens - (real_tokens + length) <= MAX_PADDING_SHARE * padded_tokens:
            batches[-1].append(position)
            real_tokens += length
        else:
            batches.append([position])
            longest = real_tokens = length
    return batches


def split_batch(batch: Sequence[int]) -> tuple[list[int], list[int]]:
    """Returns the two halves of a batch that did not fit the memory."""
    middle = (len(batch) + 1) // 2
    return list(batch[:middle]), list(batch[middle:])
