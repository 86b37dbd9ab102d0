"""How the rows of a batch meet in attention: side by side in groups of similar lengths, or end to end in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from qwen3_vl_retrieval.engine.kernels.varlen import VarlenKernel, build_spans
from qwen3_vl_retrieval.engine.language.attention import (
    CausalMasks,
    attend_by_kernel,
    attend_causally,
    attend_from_last,
)
from qwen3_vl_retrieval.engine.language.packing import AttentionGroup, HeadLayout, group_rows

__all__ = ["Arrangement", "EndToEnd", "LayerPrefixes", "SideBySide"]

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
        layout: Of the heads.
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
        device: Of the rows.
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
        group: It.
        prefix: Places of its prefix among the tokens of all prefixes.
        before: Tokens of all prefixes.
        layout: Of the heads.
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
