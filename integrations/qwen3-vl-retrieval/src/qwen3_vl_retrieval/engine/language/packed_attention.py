"""How the rows of a batch meet in attention: side by side in groups of similar lengths, or end to end in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.bias import (
    causal_lower_right,  # pyright: ignore[reportUnknownVariableType] - not typed
)

from qwen3_vl_retrieval.engine.kernels.varlen import VarlenKernel, build_spans

__all__ = [
    "Arrangement",
    "AttentionGroup",
    "CausalMasks",
    "EndToEnd",
    "HeadLayout",
    "LayerPrefixes",
    "SideBySide",
    "attend_by_kernel",
    "attend_causally",
    "attend_from_last",
    "group_rows",
]


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
        heads: Heads of the queries.
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


_QUERY_BLOCK = 512
"""Tokens whose attention is computed at once: later keys, which none of them may see, are left out."""

_KEPT_MASK_ELEMENTS = 1 << 20
"""Elements of the largest mask that is kept; a batch has a mask for each group of similar lengths, about eight."""


class CausalMasks:
    """Masks of one batch: what a token may not see is minus infinity. Every layer asks for the same few."""

    def __init__(self) -> None:
        self._masks: dict[tuple[int, int, int], Tensor] = {}

    def find(self, length: int, before: int, shared: int, like: Tensor) -> Float[Tensor, "queries keys"]:
        """Returns the mask of `length` tokens with `shared` queries each, behind `before` more keys."""
        found = self._masks.get((length, before, shared))
        if found is None:
            hidden = torch.full((length, before + length), -torch.inf, dtype=like.dtype, device=like.device)
            found = hidden.triu_(before + 1).repeat_interleave(shared, dim=0)
            # Those of long rows are as large as the states of the row, and are made again for each layer.
            if found.numel() <= _KEPT_MASK_ELEMENTS:
                self._masks[length, before, shared] = found
        return found


def attend_causally(
    query: Float[Tensor, "rows groups queries size"],
    key: Float[Tensor, "rows groups keys size"],
    value: Float[Tensor, "rows groups keys size"],
    *,
    shared: int,
    masks: CausalMasks,
) -> Float[Tensor, "rows groups queries size"]:
    """Returns what each token takes from itself and those before it.

    There may be more keys than tokens with queries: the first ones belong to tokens before them all. Heads that share
    keys are further queries of a token, so that keys are repeated neither in memory nor in arithmetic.

    Args:
        query: Queries of the tokens, `shared` for each token side by side.
        key: Keys of the tokens, behind those of the prefix that all of them see.
        value: Values in the same order as the keys.
        shared: Heads for each head of the keys.
        masks: The masks of the batch.
    """
    length = query.shape[2] // shared
    before = key.shape[2] - length
    blocks: list[Tensor] = []
    for start in range(0, length, _QUERY_BLOCK):
        end = min(start + _QUERY_BLOCK, length)
        seen = masks.find(end - start, before + start, shared, query)
        own, keys, values = (
            query[:, :, start * shared : end * shared],
            key[:, :, : before + end],
            value[:, :, : before + end],
        )
        blocks.append(functional.scaled_dot_product_attention(own, keys, values, attn_mask=seen))
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)


def attend_by_kernel(
    query: Float[Tensor, "rows heads length size"],
    key: Float[Tensor, "rows heads keys size"],
    value: Float[Tensor, "rows heads keys size"],
) -> Float[Tensor, "rows heads length size"]:
    """Returns the same as `attend_causally`, in the form that GPUs have fused kernels for: no mask in memory.

    Keys are there for every head; the kernels skip what a token may not see.
    """
    # A tensor for dispatch only; torch's stubs do not know that it is one.
    seen = cast("Tensor", causal_lower_right(query.shape[2], key.shape[2]))
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)


def attend_from_last(
    query: Float[Tensor, "rows groups shared size"],
    key: Float[Tensor, "rows groups keys size"],
    value: Float[Tensor, "rows groups keys size"],
    key_counts: Int64[Tensor, " rows"] | None,
) -> Float[Tensor, "rows groups shared size"]:
    """Returns what the last token of each row takes from the row.

    Args:
        query: Queries of the last tokens.
        key: Keys of all tokens, padded on the right.
        value: Values of all tokens, padded on the right.
        key_counts: Keys of each row that are not padding; `None` if none is.
    """
    seen = None
    if key_counts is not None:
        seen = (torch.arange(key.shape[2], device=key.device) < key_counts[:, None])[:, None, None]
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)


LayerPrefixes: TypeAlias = Sequence[tuple[Float[Tensor, "_ groups size"], Float[Tensor, "_ groups size"]]]
"""Keys and values of each prefix in one layer."""

_Move: TypeAlias = Callable[[np.ndarray[Any, Any]], Tensor]


class Arrangement(Protocol):
    """Attention of packed rows, each of which may continue a prefix."""

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, prefixes: LayerPrefixes
    ) -> Float[Tensor, "tokens heads size"]:
        """Returns what each token takes from those before it, its prefix included."""
        ...

    def attend_last(
        self, query: Tensor, key: Tensor, value: Tensor, prefixes: LayerPrefixes
    ) -> Float[Tensor, "rows heads size"]:
        """Returns the same for the last tokens alone, whose queries are given."""
        ...


class SideBySide:
    """Groups of rows of similar lengths as rectangles, for kernels that take nothing else.

    Args:
        lengths: Tokens of each row.
        prefixes: Which prefix each row continues, if any.
        prefix_lengths: Tokens of each prefix.
        layout: Layout of the heads.
        move: Copies an array to the device.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        prefixes: Sequence[int | None],
        prefix_lengths: Sequence[int],
        *,
        layout: HeadLayout,
        move: _Move,
    ) -> None:
        shared = _place_prefixes(prefix_lengths)
        self._groups = [
            _PlacedGroup(group, shared[group.prefix], sum(prefix_lengths), layout, move)
            for group in group_rows(lengths, prefixes)
        ]
        self._masks = CausalMasks()
        self._layout = layout

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, prefixes: LayerPrefixes
    ) -> Float[Tensor, "tokens heads size"]:
        """Returns what each token takes from those before it, its prefix included."""
        keys, values = _join_prefixes(key, value, prefixes)
        mixed = torch.empty_like(query)
        for placed in self._groups:
            placed.pack(self._attend_group(placed.spread(query), *placed.spread_keys(keys, values)), mixed)
        return mixed

    def attend_last(
        self, query: Tensor, key: Tensor, value: Tensor, prefixes: LayerPrefixes
    ) -> Float[Tensor, "rows heads size"]:
        """Returns the same for the last tokens alone, whose queries are given."""
        keys, values = _join_prefixes(key, value, prefixes)
        mixed: list[Tensor] = []
        first = 0
        for placed in self._groups:
            rows = placed.row_count
            own = query[first : first + rows].reshape(rows, -1, self._layout.shared, query.shape[-1])
            mixed.append(attend_from_last(own, *placed.spread_keys(keys, values), placed.key_counts).flatten(1, 2))
            first += rows
        return torch.cat(mixed)

    def _attend_group(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if self._layout.folds:
            return attend_causally(query, key, value, shared=self._layout.shared, masks=self._masks)
        return attend_by_kernel(query, key, value)


class EndToEnd:
    """All rows in one call, as they lie in memory.

    Args:
        lengths: Tokens of each row.
        prefixes: Which prefix each row continues, if any.
        prefix_lengths: Tokens of each prefix.
        move: Copies an array to the device.
        kernel: That takes rows so.
        device: Device of the rows.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        prefixes: Sequence[int | None],
        prefix_lengths: Sequence[int],
        *,
        move: _Move,
        kernel: VarlenKernel,
        device: torch.device,
    ) -> None:
        self._kernel = kernel
        before = [0 if prefix is None else prefix_lengths[prefix] for prefix in prefixes]
        key_counts = [own + shared for own, shared in zip(lengths, before, strict=True)]
        self._order = move(_place_keys(lengths, prefixes, prefix_lengths)) if any(before) else None
        self._spans = build_spans(lengths, key_counts, is_causal=True, device=device)
        self._last_spans = build_spans([1] * len(lengths), key_counts, is_causal=False, device=device)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, prefixes: LayerPrefixes
    ) -> Float[Tensor, "tokens heads size"]:
        """Returns what each token takes from those before it, its prefix included."""
        return self._kernel(query, *self._order_keys(key, value, prefixes), self._spans)

    def attend_last(
        self, query: Tensor, key: Tensor, value: Tensor, prefixes: LayerPrefixes
    ) -> Float[Tensor, "rows heads size"]:
        """Returns the same for the last tokens alone, whose queries are given."""
        return self._kernel(query, *self._order_keys(key, value, prefixes), self._last_spans)

    def _order_keys(self, key: Tensor, value: Tensor, prefixes: LayerPrefixes) -> tuple[Tensor, Tensor]:
        if self._order is None:
            return key, value
        keys, values = _join_prefixes(key, value, prefixes)
        return keys.index_select(0, self._order), values.index_select(0, self._order)


def _join_prefixes(key: Tensor, value: Tensor, prefixes: LayerPrefixes) -> tuple[Tensor, Tensor]:
    """Keys and values of all prefixes, and behind them those of all rows."""
    if not prefixes:
        return key, value
    return torch.cat([*(keys for keys, _ in prefixes), key]), torch.cat([*(values for _, values in prefixes), value])


def _place_prefixes(prefix_lengths: Sequence[int]) -> dict[int | None, np.ndarray[Any, Any]]:
    """Places of each prefix among the tokens of all; none for rows that are whole."""
    ends = [0, *accumulate(prefix_lengths)]
    return {None: np.arange(0), **{number: np.arange(*span) for number, span in enumerate(pairwise(ends))}}


def _place_keys(
    lengths: Sequence[int], prefixes: Sequence[int | None], prefix_lengths: Sequence[int]
) -> np.ndarray[Any, Any]:
    """Places of each row's keys, those of its prefix first, where all prefixes lie before all rows."""
    shared = _place_prefixes(prefix_lengths)
    places: list[np.ndarray[Any, Any]] = []
    start = sum(prefix_lengths)
    for length, prefix in zip(lengths, prefixes, strict=True):
        places += [shared[prefix], np.arange(start, start + length)]
        start += length
    return np.concatenate(places)


class _PlacedGroup:
    """An attention group with its indices on the device.

    Args:
        group: The group to place.
        prefix: Places of its prefix among the tokens of all prefixes.
        before: Tokens of all prefixes.
        layout: Layout of the heads.
        move: Copies an array to the device.
    """

    def __init__(
        self, group: AttentionGroup, prefix: np.ndarray[Any, Any], before: int, layout: HeadLayout, move: _Move
    ) -> None:
        self.row_count = len(group.lengths)
        self.key_counts = None if group.is_even else move(np.array(group.lengths) + len(prefix))
        self._tokens = slice(group.start, group.start + group.token_count)
        shared_keys = np.broadcast_to(prefix, (self.row_count, len(prefix)))
        keys = np.concatenate([shared_keys, before + group.place_tokens()], axis=1)
        self._keyed = layout.rows_of_keys
        self._queries = move(layout.place_queries(group).reshape(-1))
        self._keys = move(layout.place_keys(keys).reshape(-1))
        self._mixed = move(layout.place_mixed(group).reshape(-1))

    def spread(self, query: Float[Tensor, "tokens heads size"]) -> Float[Tensor, "rows keyed queries size"]:
        """Returns the queries of the group's rows, head after head."""
        return self._gather(query, self._queries)

    def spread_keys(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Returns keys and values of the group's rows likewise, those of their prefix before each."""
        return self._gather(key, self._keys), self._gather(value, self._keys)

    def pack(
        self, states: Float[Tensor, "rows keyed queries size"], packed: Float[Tensor, "tokens heads size"]
    ) -> None:
        """Writes what the queries took where their tokens are among all."""
        own = packed[self._tokens].view(-1, packed.shape[-1])
        torch.index_select(states.reshape(-1, packed.shape[-1]), 0, self._mixed, out=own)

    def _gather(self, states: Tensor, places: Tensor) -> Tensor:
        size = states.shape[-1]
        return states.reshape(-1, size).index_select(0, places).view(self.row_count, self._keyed, -1, size)
