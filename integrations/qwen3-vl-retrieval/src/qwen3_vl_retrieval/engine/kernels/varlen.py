"""Attention kernels that take rows end to end: one call for all rows of a batch, no padding, no mask in memory.

PyTorch has one (`torch.nn.attention.varlen`, since 2.10), and so has flash-attn; both need a GPU and half precision.
Their arguments and the side on which causal masks are aligned have changed between versions, so a kernel is used only
after it has given what the formula gives, on the device, in the precision and for the heads that it will serve.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, TypeAlias, cast

import torch
from jaxtyping import Float, Int32
from torch import Tensor

__all__ = ["RowSpans", "VarlenKernel", "build_spans", "find_varlen_kernel"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class RowSpans:
    """Where rows lie among packed queries and keys.

    Attributes:
        query_bounds: Where each row's queries begin; at the end, where the last one's end.
        key_bounds: The same for keys; the same tensor where each row has as many keys as queries.
        longest_query: Queries of a row at most.
        longest_key: Keys of a row at most.
        is_causal: Whether a query sees no further than its own place, counted from the row's end.
    """

    query_bounds: Int32[Tensor, " bounds"]
    key_bounds: Int32[Tensor, " bounds"]
    longest_query: int
    longest_key: int
    is_causal: bool


VarlenKernel: TypeAlias = Callable[[Tensor, Tensor, Tensor, RowSpans], Tensor]
"""Queries `(tokens, heads, size)`, keys and values `(keys, groups, size)` to what the queries take from their rows."""


def build_spans(
    query_counts: Sequence[int], key_counts: Sequence[int], *, is_causal: bool, device: torch.device
) -> RowSpans:
    """Returns the spans of rows that have so many queries and keys."""

    def bound(counts: Sequence[int]) -> Int32[Tensor, " bounds"]:
        bounds = torch.tensor([0, *accumulate(counts)], dtype=torch.int32)
        return (bounds.pin_memory() if device.type == "cuda" else bounds).to(device, non_blocking=True)

    query_bounds = bound(query_counts)
    # Kernels recognise equal rows by the tensor, not by its values.
    key_bounds = query_bounds if list(query_counts) == list(key_counts) else bound(key_counts)
    return RowSpans(query_bounds, key_bounds, max(query_counts), max(key_counts), is_causal)


@lru_cache(maxsize=16)
def find_varlen_kernel(
    device: torch.device, dtype: torch.dtype, *, heads: int, groups: int, size: int
) -> VarlenKernel | None:
    """Returns the first kernel that works for heads of `size` values, or `None`: then rows are laid side by side."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return None
    for name, kernel in (("torch.nn.attention.varlen", _attend_by_torch), ("flash_attn", _attend_by_flash_attn)):
        try:
            if agrees_with_formula(kernel, device, dtype, heads=heads, groups=groups, size=size):
                return kernel
            _logger.info("%s is not used: its results differ from the formula", name)
        except Exception as error:  # noqa: BLE001 - one that is missing or built for another GPU has many ways to say so
            _logger.info("%s is not used: %s", name, error)
    return None


def _attend_by_torch(query: Tensor, key: Tensor, value: Tensor, spans: RowSpans) -> Tensor:
    varlen: Any = importlib.import_module("torch.nn.attention.varlen")
    return varlen.varlen_attn(
        query,
        key,
        value,
        spans.query_bounds,
        spans.key_bounds,
        spans.longest_query,
        spans.longest_key,
        window_size=(-1, 0) if spans.is_causal else (-1, -1),
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _attend_by_flash_attn(query: Tensor, key: Tensor, value: Tensor, spans: RowSpans) -> Tensor:
    flash: Any = importlib.import_module("flash_attn")
    return flash.flash_attn_varlen_func(
        query,
        key,
        value,
        cu_seqlens_q=spans.query_bounds,
        cu_seqlens_k=spans.key_bounds,
        max_seqlen_q=spans.longest_query,
        max_seqlen_k=spans.longest_key,
        causal=spans.is_causal,
    )


_TRIALS = (
    # (queries, keys, causal): whole rows, rows behind a prefix, last tokens alone, images.
    ((3, 70, 1, 200), (3, 70, 1, 200), True),
    ((3, 70, 1, 200), (20, 70, 18, 264), True),
    ((1, 1, 1), (5, 130, 31), False),
    ((64, 16, 300), (64, 16, 300), False),
)

_TOLERANCE = 2e-2
"""Allowed difference of values of about one: bfloat16 has eight bits."""


@torch.inference_mode()
def agrees_with_formula(
    kernel: VarlenKernel, device: torch.device, dtype: torch.dtype, *, heads: int, groups: int, size: int
) -> bool:
    """Whether a kernel gives what the formula gives for every arrangement of rows that it will be asked for."""
    random = torch.Generator().manual_seed(0)

    def draw(tokens: int, count: int) -> Tensor:
        return torch.randn(tokens, count, size, generator=random).to(device, dtype)

    for queries, keys, is_causal in _TRIALS:
        query, key, value = draw(sum(queries), heads), draw(sum(keys), groups), draw(sum(keys), groups)
        spans = build_spans(queries, keys, is_causal=is_causal, device=device)
        wanted = attend_by_formula(query.float(), key.float(), value.float(), spans)
        if not torch.allclose(kernel(query, key, value, spans).float(), wanted, atol=_TOLERANCE, rtol=_TOLERANCE):
            return False
    return True


def attend_by_formula(
    query: Float[Tensor, "queries heads size"],
    key: Float[Tensor, "keys groups size"],
    value: Float[Tensor, "keys groups size"],
    spans: RowSpans,
) -> Float[Tensor, "queries heads size"]:
    """Returns attention row by row, as it is defined."""
    shared = query.shape[1] // key.shape[1]
    query_bounds, key_bounds = (cast("list[int]", own.tolist()) for own in (spans.query_bounds, spans.key_bounds))
    mixed: list[Tensor] = []
    for (start, end), (key_start, key_end) in zip(pairwise(query_bounds), pairwise(key_bounds), strict=True):
        own_key, own_value = (states[key_start:key_end].repeat_interleave(shared, 1) for states in (key, value))
        weights = torch.einsum("qhs,khs->hqk", query[start:end], own_key) / query.shape[-1] ** 0.5
        if spans.is_causal:
            hidden = torch.ones(weights.shape[1:], dtype=torch.bool, device=query.device)
            weights = weights.masked_fill(hidden.triu_(1 + weights.shape[2] - weights.shape[1]), -torch.inf)
        mixed.append(torch.einsum("hqk,khs->qhs", weights.softmax(-1), own_value))
    return torch.cat(mixed)
