"""How the rows of a forward pass lie in memory: end to end, and side by side where attention needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

__all__ = ["AttentionGroup", "group_rows"]

_MAX_PADDING_SHARE = 0.15
"""Largest share of a group that may be padding: a little more to compute against one kernel call more."""


@dataclass(frozen=True, slots=True, eq=False)
class AttentionGroup:
    """Neighbouring rows whose attention is computed at once.

    Attributes:
        start: Place of the first row's first token among the packed tokens.
        lengths: Tokens of each row.
        prefix: Which of the prefixes the rows continue; `None` for rows that are whole.
    """

    start: int
    lengths: tuple[int, ...]
    prefix: int | None

    @property
    def token_count(self) -> int:
        """Tokens of all rows."""
        return sum(self.lengths)

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(self.lengths)

    @property
    def is_even(self) -> bool:
        """Whether all rows are of one length, so that the packed tokens are a rectangle already."""
        return len(set(self.lengths)) == 1

    def place_tokens(self) -> Int64[np.ndarray, "rows length"]:
        """Returns the place of each row's tokens within the group; padding repeats the row's last."""
        starts = np.cumsum([0, *self.lengths[:-1]])
        lengths = np.array(self.lengths)
        return starts[:, None] + np.minimum(np.arange(self.longest), lengths[:, None] - 1)

    def place_real(self) -> Int64[np.ndarray, " tokens"]:
        """Returns the places of the group's tokens in the rectangle, row after row."""
        width = np.arange(self.longest)
        return np.flatnonzero(width[None] < np.array(self.lengths)[:, None])


def group_rows(lengths: Sequence[int], prefixes: Sequence[int | None]) -> list[AttentionGroup]:
    """Returns the groups of rows that lie end to end in this order.

    Args:
        lengths: Tokens of each row; rows of similar lengths should be neighbours.
        prefixes: Which prefix each row continues, if any.
    """
    groups: list[AttentionGroup] = []
    start = first = 0
    for row in range(1, len(lengths) + 1):
        chosen = lengths[first : row + 1]
        padded = len(chosen) * max(chosen)
        if (
            row < len(lengths)
            and prefixes[row] == prefixes[first]
            and padded - sum(chosen) <= _MAX_PADDING_SHARE * padded
        ):
            continue
        groups.append(AttentionGroup(start, tuple(lengths[first:row]), prefixes[first]))
        start += groups[-1].token_count
        first = row
    return groups
