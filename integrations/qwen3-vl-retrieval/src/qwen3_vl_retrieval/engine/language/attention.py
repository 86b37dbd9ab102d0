"""Causal attention of rows that begin alike: what they share is held once, and each row sees it before its own.

Heads lie one after the other, each with its tokens: kernels for CPUs take a tenth less time so than from tokens with
all their heads side by side.
"""

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
"""Tokens whose attention is computed at once: later keys, which none of them may see, are left out."""

_KEPT_MASK_ELEMENTS = 1 << 20
"""Of one mask; a batch has as many masks as groups of similar lengths, eight or so."""


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
        query: Of the tokens, `shared` of each side by side.
        key: Of the tokens, and before them of those that all of them see.
        value: Likewise.
        shared: Heads for each head of the keys.
        masks: Of the batch.
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
        query: Of the last tokens alone.
        key: Of all tokens, padded on the right.
        value: Likewise.
        key_counts: Keys of each row that are not padding; `None` if none is.
    """
    seen = None
    if key_counts is not None:
        seen = (torch.arange(key.shape[2], device=key.device) < key_counts[:, None])[:, None, None]
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
