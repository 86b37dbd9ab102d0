"""The vision tower over many pictures at once: those of one size share attention, all share everything else.

The computation is that of `Qwen3VLVisionModel` of transformers, with its own weights and modules;
`tests/core/test_vision_tower.py` compares the two. What differs is the arrangement: upstream attends picture after
picture, and cuts patches with a three-dimensional convolution, which some versions of torch compute ten times slower
than the matrix product that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from qwen3_vl_retrieval.engine.fused import add_linear, apply_linear, apply_linear_gelu
from qwen3_vl_retrieval.engine.widening import Widening

__all__ = ["Grid", "VisionTower"]

Grid: TypeAlias = tuple[int, int]
"""Rows and columns of the patches of a picture or pair of frames."""

_ROPE_THETA = 10_000.0
"""`Qwen3VLVisionRotaryEmbedding` of transformers 4.57."""

_MAX_GRIDS = 64
"""Sizes whose positions are kept; a collection of scans has one or two."""


class VisionTower:
    """Computes the features of pictures and pairs of frames.

    Args:
        model: `Qwen3VLVisionModel` in evaluation mode, on one device.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._widen = Widening(model)
        self._is_known_activation = model.config.hidden_act == "gelu_pytorch_tanh"
        self._locate = lru_cache(maxsize=_MAX_GRIDS)(self._locate_patches)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self._model.pos_embed.weight.device

    @torch.inference_mode()
    def compute(
        self, patches: Float[Tensor, "patches values"], grids: Sequence[Grid]
    ) -> tuple[Float[Tensor, "tokens hidden"], list[Float[Tensor, "tokens hidden"]]]:
        """Returns the input embeddings of the language model, and what is added behind each of its first layers.

        Args:
            patches: Of all pictures end to end, in the order of `cut_patches`.
            grids: One for each picture or pair of frames; equal ones should be neighbours.
        """
        model = self._model
        projection = self._widen(model.patch_embed.proj)
        hidden = functional.linear(patches.to(projection.weight.dtype), projection.weight.flatten(1), projection.bias)
        runs = [(grid, len(list(same))) for grid, same in groupby(grids)]
        located = [self._locate(grid) for grid, _ in runs]
        places = torch.cat([own[0].repeat(count, 1) for own, (_, count) in zip(located, runs, strict=True)])
        turns = [torch.cat([own[i] for own in located]) for i in (1, 2)]
        counts = [count for _, count in runs]
        sizes = [height * width for (height, width), _ in runs]
        hidden = hidden.add_(places.to(hidden.dtype))
        deepstack: list[Tensor] = []
        for number, block in enumerate(map(self._widen, model.blocks)):
            mixed = _attend(block.attn, block.norm1(hidden), turns, counts, sizes)
            hidden = add_linear(block.attn.proj, mixed, hidden)
            normalized = block.norm2(hidden)
            if self._is_known_activation:
                hidden = add_linear(block.mlp.linear_fc2, apply_linear_gelu(block.mlp.linear_fc1, normalized), hidden)
            else:
                hidden = block.mlp(normalized).add_(hidden)
            if number in model.deepstack_visual_indexes:
                merger = model.deepstack_merger_list[model.deepstack_visual_indexes.index(number)]
                deepstack.append(self._widen(merger)(hidden))
        return self._widen(model.merger)(hidden), deepstack

    def _locate_patches(self, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
        """Learned and rotary positions of one picture's patches, in their order: merged patches are neighbours."""
        model, (height, width), merge = self._model, grid, self._model.spatial_merge_size

        def order(values: Tensor) -> Tensor:
            blocks = values.reshape(height // merge, merge, width // merge, merge, *values.shape[2:])
            return blocks.transpose(1, 2).reshape(height * width, *values.shape[2:])

        side = model.num_grid_per_side
        table = model.pos_embed.weight.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
        resampled = functional.interpolate(table, size=grid, mode="bilinear", align_corners=True)[0].permute(1, 2, 0)
        size = model.blocks[0].attn.head_dim
        exponents = torch.arange(0, size // 2, 2, dtype=torch.float32) / (size // 2)
        frequencies = _ROPE_THETA**-exponents
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        angles = torch.cat([order(rows)[:, None] * frequencies, order(columns)[:, None] * frequencies], dim=-1)
        angles = angles.to(self.device)
        return order(resampled), angles.cos(), angles.sin()


def _attend(
    attention: Any, hidden: Tensor, turns: Sequence[Tensor], counts: Sequence[int], sizes: Sequence[int]
) -> Float[Tensor, "patches hidden"]:
    """What each patch takes from its picture; `counts` pictures of each of `sizes` patches lie end to end."""
    states = apply_linear(attention.qkv, hidden).view(len(hidden), 3, attention.num_heads, -1)
    mixed: list[Tensor] = []
    start = turned = 0
    for count, size in zip(counts, sizes, strict=True):
        own = states[start : start + count * size].view(count, size, *states.shape[1:])
        cos, sin = (values[turned : turned + size, None] for values in turns)
        query, key, value = _rotate(own[:, :, 0], cos, sin), _rotate(own[:, :, 1], cos, sin), own[:, :, 2]
        # On a CPU, rows of one head that lie together take a tenth less time than those of all heads side by side.
        value = value.transpose(1, 2) if value.is_cuda else value.transpose(1, 2).contiguous()
        attended = functional.scaled_dot_product_attention(query, key, value)
        mixed.append(attended.transpose(1, 2).reshape(count * size, -1))
        start, turned = start + count * size, turned + size
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


def _rotate(
    states: Float[Tensor, "pictures patches heads size"], cos: Tensor, sin: Tensor
) -> Float[Tensor, "pictures heads patches size"]:
    """Rotary positions, in float32 as upstream (`apply_rotary_pos_emb_vision`)."""
    first, second = states.float().chunk(2, dim=-1)
    pictures, patches, heads, size = states.shape
    turned = torch.empty((pictures, heads, patches, size), dtype=torch.float32, device=states.device)
    left, right = turned.transpose(1, 2).chunk(2, dim=-1)
    torch.mul(first, cos, out=left).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=right).addcmul_(first, sin)
    return turned.to(states.dtype)
