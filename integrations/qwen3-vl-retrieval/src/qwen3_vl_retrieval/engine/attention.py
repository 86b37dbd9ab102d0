"""Causal attention of rows that begin alike: what they share is held once, and each row sees it before its own."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.bias import (
    causal_lower_right,  # pyright: ignore[reportUnknownVariableType] - not typed
)

__all__ = ["CausalMasks", "attend_by_kernel", "attend_causally", "attend_from_last"]

_QUERY_BLOCK = 512
"""Queries whose attention is computed at once: later keys, which none of them may see, are left out."""

_KEPT_MASK_ELEMENTS = 1 << 20
"""Of one mask; a batch has as many masks as groups of similar lengths, eight or so."""


class CausalMasks:
    """Masks of one batch: what a token may not see is minus infinity. Every layer asks for the same few."""

    def __init__(self) -> None:
        self._masks: dict[tuple[int, int, int], Tensor] = {}

    def find(self, length: int, before: int, shared: int, like: Tensor) -> Float[Tensor, "queries keys"]:
        """Returns the mask of `length` queries, for `shared` heads one after the other, behind `before` more keys."""
        found = self._masks.get((length, before, shared))
        if found is None:
            hidden = torch.full((length, before + length), -torch.inf, dtype=like.dtype, device=like.device)
            found = hidden.triu_(before + 1).repeat(shared, 1)
            # Those of long rows are as large as the states of the row, and are made again for each layer.
            if found.numel() <= _KEPT_MASK_ELEMENTS:
                self._masks[length, before, shared] = found
        return found


def attend_causally(
    query: Float[Tensor, "rows length heads size"],
    key: Float[Tensor, "rows keys groups size"],
    value: Float[Tensor, "rows keys groups size"],
    masks: CausalMasks | None = None,
) -> Float[Tensor, "rows length heads size"]:
    """Returns what each token takes from itself and those before it.

    There may be more keys than queries: the first ones belong to tokens before them all. Heads that share keys are
    laid side by side as further queries, so that keys are repeated neither in memory nor in arithmetic.

    Args:
        query: Of the tokens.
        key: Of the tokens, and before them of those that all of them see.
        value: Likewise.
        masks: Of the batch, if there are more layers to come.
    """
    if query.is_cuda:
        return attend_by_kernel(query, key, value)
    masks = CausalMasks() if masks is None else masks
    length, before, shared = query.shape[1], key.shape[1] - query.shape[1], query.shape[2] // key.shape[2]
    blocks: list[Tensor] = []
    for start in range(0, length, _QUERY_BLOCK):
        end = min(start + _QUERY_BLOCK, length)
        seen = masks.find(end - start, before + start, shared, query)
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
    mixed = functional.scaled_dot_product_attention(folded, key.transpose(1, 2), value.transpose(1, 2), attn_mask=seen)
    mixed = mixed.reshape(rows, groups, shared, length, size).permute(0, 3, 1, 2, 4)
    return mixed.reshape(rows, length, heads, size)
