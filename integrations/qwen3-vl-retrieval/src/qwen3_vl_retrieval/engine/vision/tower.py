"""The vision tower over many pictures at once.

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

from qwen3_vl_retrieval.engine.kernels.cpu_linear import add_linear, apply_linear_gelu
from qwen3_vl_retrieval.engine.kernels.cpu_upcast import Widening
from qwen3_vl_retrieval.engine.kernels.rotary import RotaryTurns
from qwen3_vl_retrieval.engine.kernels.varlen import find_varlen_kernel
from qwen3_vl_retrieval.engine.vision.attention import PatchPositions, PicturesEndToEnd, PicturesSideBySide

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
        located, counts = [self._locate(grid) for grid, _ in runs], [count for _, count in runs]
        learned = torch.cat([own.learned.repeat(count, 1) for own, count in zip(located, counts, strict=True)])
        hidden = hidden.add_(learned.to(hidden.dtype))
        pictures = self._arrange(located, counts, hidden.dtype)
        deepstack: list[Tensor] = []
        for number, block in enumerate(map(self._widen, model.blocks)):
            mixed = pictures.attend(block.attn, block.norm1(hidden))
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

    def _arrange(
        self, located: Sequence[PatchPositions], counts: Sequence[int], dtype: torch.dtype
    ) -> PicturesSideBySide | PicturesEndToEnd:
        attention = self._model.blocks[0].attn
        heads, size = attention.num_heads, attention.head_dim
        kernel = find_varlen_kernel(self.device, dtype, heads=heads, groups=heads, size=size)
        return PicturesSideBySide(located, counts) if kernel is None else PicturesEndToEnd(located, counts, kernel)

    def _locate_patches(self, grid: Grid) -> PatchPositions:
        """Positions of one picture's patches, in their order: merged patches are neighbours."""
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
        return PatchPositions(order(resampled), RotaryTurns.build(angles.cos(), angles.sin()))
