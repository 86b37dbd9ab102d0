"""How the rows of a batch meet in attention: side by side in groups of similar lengths, or end to end in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from qwen3_vl_retrieval.engine.attention import CausalMasks, attend_causally, attend_from_last
from qwen3_vl_retrieval.engine.packing import AttentionGroup, group_rows
from qwen3_vl_retrieval.engine.varlen import VarlenKernel, build_spans

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
        move: Copies an array to the device.
        masks: Of the batch.
    """

    def __init__(self, lengths: Sequence[int], prefixes: Sequence[int | None], move: _Move, masks: CausalMasks) -> None:
        self._groups = [_PlacedGroup(group, move) for group in group_rows(lengths, prefixes)]
        self._masks = masks

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, prefixes: LayerPrefixes
    ) -> Float[Tensor, "tokens heads size"]:
        """Returns what each token takes from those before it, its prefix included."""
        mixed: list[Tensor] = []
        for placed in self._groups:
            keys, values = placed.join_prefix(key, value, prefixes)
            mixed.append(placed.pack(attend_causally(placed.spread(query), keys, values, self._masks)))
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def attend_last(
        self, query: Tensor, key: Tensor, value: Tensor, prefixes: LayerPrefixes
    ) -> Float[Tensor, "rows heads size"]:
        """Returns the same for the last tokens alone, whose queries are given."""
        mixed: list[Tensor] = []
        first = 0
        for placed in self._groups:
            rows = len(placed.group.lengths)
            keys, values = placed.join_prefix(key, value, prefixes)
            before = keys.shape[1] - placed.group.longest
            counts = None if placed.group.is_even else placed.lengths + before
            mixed.append(attend_from_last(query[first : first + rows, None], keys, values, counts)[:, 0])
            first += rows
        return torch.cat(mixed)


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
        self._order = move(_order_keys(lengths, prefixes, prefix_lengths)) if any(before) else None
        self._spans = build_spans(lengths, key_counts, is_causal=True, device=device)
        self._last_spans = build_spans([1] * len(lengths), key_counts, is_causal=False, device=device)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, prefixes: LayerPrefixes
    ) -> Float[Tensor, "tokens heads size"]:
        """Returns what each token takes from those before it, its prefix included."""
        return self._kernel(query, *self._join_prefixes(key, value, prefixes), self._spans)

    def attend_last(
        self, query: Tensor, key: Tensor, value: Tensor, prefixes: LayerPrefixes
    ) -> Float[Tensor, "rows heads size"]:
        """Returns the same for the last tokens alone, whose queries are given."""
        return self._kernel(query, *self._join_prefixes(key, value, prefixes), self._last_spans)

    def _join_prefixes(self, key: Tensor, value: Tensor, prefixes: LayerPrefixes) -> tuple[Tensor, Tensor]:
        if self._order is None:
            return key, value
        return (
            torch.cat([*(keys for keys, _ in prefixes), key]).index_select(0, self._order),
            torch.cat([*(values for _, values in prefixes), value]).index_select(0, self._order),
        )


def _order_keys(
    lengths: Sequence[int], prefixes: Sequence[int | None], prefix_lengths: Sequence[int]
) -> np.ndarray[Any, Any]:
    """Places of each row's keys, those of its prefix first, where all prefixes lie before all rows."""
    starts = [0, *accumulate(prefix_lengths)]
    places: list[np.ndarray[Any, Any]] = []
    start = starts[-1]
    for length, prefix in zip(lengths, prefixes, strict=True):
        if prefix is not None:
            places.append(np.arange(starts[prefix], starts[prefix] + prefix_lengths[prefix]))
        places.append(np.arange(start, start + length))
        start += length
    return np.concatenate(places)


class _PlacedGroup:
    """An attention group with its indices on the device."""

    def __init__(self, group: AttentionGroup, move: _Move) -> None:
        self.group = group
        self._end = group.start + group.token_count
        if not group.is_even:
            self.lengths = move(np.array(group.lengths))
            self._spread = move(group.place_tokens().reshape(-1))
            self._real = move(group.place_real())

    def spread(self, states: Float[Tensor, "tokens heads size"]) -> Float[Tensor, "rows length heads size"]:
        """Returns the states of the group's rows side by side."""
        own = states[self.group.start : self._end]
        if not self.group.is_even:
            own = own.index_select(0, self._spread)
        return own.view(len(self.group.lengths), -1, *states.shape[1:])

    def pack(self, states: Float[Tensor, "rows length heads size"]) -> Float[Tensor, "tokens heads size"]:
        """Returns the states end to end again."""
        flat = states.flatten(0, 1)
        return flat if self.group.is_even else flat.index_select(0, self._real)

    def join_prefix(self, key: Tensor, value: Tensor, prefixes: LayerPrefixes) -> tuple[Tensor, Tensor]:
        """Returns keys and values of the group's rows side by side, those of their prefix before each."""
        keys, values = self.spread(key), self.spread(value)
        if self.group.prefix is None:
            return keys, values
        prefix_keys, prefix_values = prefixes[self.group.prefix]
        return (
            torch.cat([prefix_keys.expand(len(keys), -1, -1, -1), keys], dim=1),
            torch.cat([prefix_values.expand(len(keys), -1, -1, -1), values], dim=1),
        )
