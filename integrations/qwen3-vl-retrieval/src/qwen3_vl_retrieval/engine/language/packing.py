"""How the rows of a forward pass lie in memory: end to end, and side by side where attention needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

__all__ = ["AttentionGroup", "HeadLayout", "group_rows"]

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
        """Returns the place of each row's tokens among the packed ones; padding repeats the row's last."""
        starts = self.start + np.cumsum([0, *self.lengths[:-1]])
        lengths = np.array(self.lengths)
        return starts[:, None] + np.minimum(np.arange(self.longest), lengths[:, None] - 1)


@dataclass(frozen=True, slots=True)
class HeadLayout:
    """How heads lie in attention.

    Attributes:
        heads: Of the queries.
        groups: Heads of keys and values; neighbouring heads of the queries share one.
        folds: Whether heads that share keys are laid side by side as further queries. Otherwise keys are repeated.
    """

    heads: int
    groups: int
    folds: bool

    @property
    def shared(self) -> int:
        """Heads side by side in place of one."""
        return self.heads // self.groups if self.folds else 1

    @property
    def rows_of_keys(self) -> int:
        """Heads that keys are laid out for."""
        return self.heads // self.shared

    def place_queries(self, group: AttentionGroup) -> Int64[np.ndarray, "rows keyed length shared"]:
        """Returns the places of a group's queries among those of all tokens, head after head."""
        heads = np.arange(self.heads).reshape(self.rows_of_keys, 1, self.shared)
        return group.place_tokens()[:, None, :, None] * self.heads + heads

    def place_keys(self, places: Int64[np.ndarray, "rows keys"]) -> Int64[np.ndarray, "rows keyed keys"]:
        """Returns the same for keys, or values, of the tokens at these places."""
        groups = np.arange(self.rows_of_keys) * self.groups // self.rows_of_keys
        return places[:, None] * self.groups + groups[:, None]

    def place_mixed(self, group: AttentionGroup) -> Int64[np.ndarray, "tokens heads"]:
        """Returns where each token's heads lie in what `place_queries` laid out, padding left out."""
        rows, tokens = np.nonzero(np.arange(group.longest) < np.array(group.lengths)[:, None])
        heads = np.arange(self.heads)
        keyed = rows[:, None] * self.rows_of_keys + heads // self.shared
        return (keyed * group.longest + tokens[:, None]) * self.shared + heads % self.shared


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
