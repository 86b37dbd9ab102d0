"""Causal attention of rows that begin alike: what they share is held once, and each row sees it before its own."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.bias import (
    causal_lower_right,  # pyright: ignore[reportUnknownVariableType] - not typed
)

__all__ = ["attend_by_kernel", "attend_causally", "attend_from_last"]

_QUERY_BLOCK = 512
"""Queries whose attention is computed at once: later keys, which none of them may see, are left out."""


def attend_causally(
    query: Float[Tensor, "rows length heads size"],
    key: Float[Tensor, "rows keys groups size"],
    value: Float[Tensor, "rows keys groups size"],
) -> Float[Tensor, "rows length heads size"]:
    """Returns what each token takes from itself and those before it.

    There may be more keys than queries: the first ones belong to tokens before them all. Heads that share keys are
    laid side by side as further queries, so that keys are repeated neither in memory nor in arithmetic.
    """
    if query.is_cuda:
        return attend_by_kernel(query, key, value)
    length, before = query.shape[1], key.shape[1] - query.shape[1]
    blocks: list[Tensor] = []
    for start in range(0, length, _QUERY_BLOCK):
        end = min(start + _QUERY_BLOCK, length)
        seen = _see_back(end - start, before + start, query.device)
        blocks.append(_mix(query[:, start:end], key[:, : before + end], value[:, : before + end], seen))
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)


def attend_by_kernel(
    query: Float[Tensor, "rows length heads size"],
    key: Float[Tensor, "rows keys groups size"],
    value: Float[Tensor, "rows keys groups size"],
) -> Float[Tensor, "rows length heads size"]:
    """Returns the same as `attend_causally`, in the form that GPUs have fused kernels for: no mask in memory.

    Keys are repeated for the heads that share them; the kernels skip what a token may not see.
    """
    shared = query.shape[2] // key.shape[2]
    mixed = functional.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.repeat_interleave(shared, dim=2).transpose(1, 2),
        value.repeat_interleave(shared, dim=2).transpose(1, 2),
        # A tensor for dispatch only; torch's stubs do not know that it is one.
        attn_mask=cast("Tensor", causal_lower_right(query.shape[1], key.shape[1])),
    )
    return mixed.transpose(1, 2)


def attend_from_last(
    query: Float[Tensor, "rows 1 heads size"],
    key: Float[Tensor, "rows keys groups size"],
    value: Float[Tensor, "rows keys groups size"],
    key_counts: Int64[Tensor, " rows"] | None,
) -> Float[Tensor, "rows 1 heads size"]:
    """Returns what the last token of each row takes from the row.

    Args:
        query: Of the last tokens alone.
        key: Of all tokens, padded on the right.
        value: Likewise.
        key_counts: Keys of each row that are not padding; `None` if none is.
    """
    if key_counts is None:
        return _mix(query, key, value, None)
    places = torch.arange(key.shape[1], device=key.device)
    return _mix(query, key, value, (places < key_counts[:, None])[:, None, None])


def _mix(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None) -> Tensor:
    rows, length, heads, size = query.shape
    groups = key.shape[2]
    shared = heads // groups
    folded = query.reshape(rows, length, groups, shared, size).permute(0, 2, 3, 1, 4)
    folded = folded.reshape(rows, groups, shared * length, size)
    if seen is not None and seen.shape[-2] > 1:
        seen = seen.repeat(shared, 1)
    mixed = functional.scaled_dot_product_attention(folded, key.transpose(1, 2), value.transpose(1, 2), attn_mask=seen)
    mixed = mixed.reshape(rows, groups, shared, length, size).permute(0, 3, 1, 2, 4)
    return mixed.reshape(rows, length, heads, size)


def _see_back(length: int, before: int, device: torch.device) -> Bool[Tensor, "length keys"]:
    return torch.ones(length, before + length, dtype=torch.bool, device=device).tril(before)
