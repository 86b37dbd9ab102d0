"""Which sequences share a forward pass: within a token budget, those of similar length together."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["pack_batches", "plan_batches", "split_batch"]

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


def pack_batches(lengths: Sequence[int], families: Sequence[int], *, max_batch_tokens: int) -> list[list[int]]:
    """Returns positions into `lengths`, grouped into batches without padding; every position occurs once.

    Sequences of one family (of one beginning) are neighbours, longest first; the family with the longest comes first.
    A batch holds at most `max_batch_tokens` tokens; a sequence beyond that is a batch of its own.
    """
    longest: dict[int, int] = {}
    for length, family in zip(lengths, families, strict=True):
        longest[family] = max(longest.get(family, 0), length)
    order = sorted(
        range(len(lengths)), key=lambda position: (-longest[families[position]], families[position], -lengths[position])
    )
    batches: list[list[int]] = []
    tokens = 0
    for position in order:
        if batches and tokens + lengths[position] <= max_batch_tokens:
            batches[-1].append(position)
            tokens += lengths[position]
        else:
            batches.append([position])
            tokens = lengths[position]
    return batches


def split_batch(batch: Sequence[int]) -> tuple[list[int], list[int]]:
    """Returns the two halves of a batch that did not fit the memory."""
    middle = (len(batch) + 1) // 2
    return list(batch[:middle]), list(batch[middle:])
