"""The vision tower over many images at once.

The computation is that of `Qwen3VLVisionModel` of transformers, with its own weights and modules;
`tests/core/test_vision_tower.py` compares the two. What differs is the arrangement: upstream attends image after
image, and cuts patches with a three-dimensional convolution, which some versions of torch compute ten times slower
than the matrix product that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from qwen3_vl_retrieval.engine.kernels.cpu_linear import Upcast, add_linear, apply_linear, apply_linear_gelu
from qwen3_vl_retrieval.engine.kernels.varlen import VarlenKernel, build_spans, find_varlen_kernel
from qwen3_vl_retrieval.engine.states import RotaryAngles

__all__ = ["Grid", "ImagesEndToEnd", "ImagesSideBySide", "PatchPositions", "VisionTower"]


@dataclass(frozen=True, slots=True, eq=False)
class PatchPositions:
    """Where the patches of an image are, in their order.

    Attributes:
        learned: Added to the patches before the first layer.
        angles: By which each layer angles queries and keys.
    """

    learned: Float32[Tensor, "patches hidden"]
    angles: RotaryAngles


class ImagesSideBySide:
    """Images of one size as a rectangle, for kernels that take nothing else.

    Args:
        positions: Positions of the patches for each size.
        counts: Images of each size, which lie end to end.
    """

    def __init__(self, positions: Sequence[PatchPositions], counts: Sequence[int]) -> None:
        self._runs = list(zip(positions, counts, strict=True))

    def attend(self, attention: Any, hidden: Float[Tensor, "patches hidden"]) -> Float[Tensor, "patches hidden"]:
        """Returns what each patch takes from its image."""
        states = apply_linear(attention.qkv, hidden).view(len(hidden), 3, attention.num_heads, -1)
        mixed: list[Tensor] = []
        start = 0
        for positions, count in self._runs:
            size = len(positions.learned)
            own = states[start : start + count * size].view(count, size, *states.shape[1:])
            query, key, value = (own[:, :, number].transpose(1, 2) for number in range(3))
            query, key = (_rotate(rotated, positions.angles) for rotated in (query, key))
            # On a CPU, rows of one head that lie together take a tenth less time than those of all heads side by side:
            # so do queries and keys, which are written anew.
            value = value if value.is_cuda else value.contiguous()
            attended = functional.scaled_dot_product_attention(query, key, value)
            mixed.append(attended.transpose(1, 2).reshape(count * size, -1))
            start += count * size
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


class ImagesEndToEnd:
    """All images in one call, as they lie in memory.

    Args:
        positions: Positions of the patches for each size.
        counts: Images of each size, which lie end to end.
        kernel: That takes rows so.
    """

    def __init__(self, positions: Sequence[PatchPositions], counts: Sequence[int], kernel: VarlenKernel) -> None:
        self._kernel = kernel
        runs = list(zip(positions, counts, strict=True))
        sizes = [len(own.learned) for own, count in runs for _ in range(count)]
        self._spans = build_spans(sizes, sizes, is_causal=False, device=positions[0].learned.device)
        cos = torch.cat([own.angles.cos.repeat(count, 1) for own, count in runs])[:, None]
        sin = torch.cat([own.angles.sin.repeat(count, 1) for own, count in runs])[:, None]
        self._angles = RotaryAngles(cos, sin)

    def attend(self, attention: Any, hidden: Float[Tensor, "patches hidden"]) -> Float[Tensor, "patches hidden"]:
        """Returns what each patch takes from its image."""
        query, key, value = apply_linear(attention.qkv, hidden).view(len(hidden), 3, attention.num_heads, -1).unbind(1)
        query, key = (_rotate(rotated, self._angles) for rotated in (query, key))
        return self._kernel(query, key, value, self._spans).flatten(1)


def _rotate(states: Float[Tensor, "*places size"], angles: RotaryAngles) -> Float[Tensor, "*places size"]:
    """Rotary positions, in float32 as upstream (`apply_rotary_pos_emb_vision`)."""
    return angles.rotate(states.float()).to(states.dtype)


Grid: TypeAlias = tuple[int, int]
"""Rows and columns of the patches of an image or pair of frames."""

_ROPE_THETA = 10_000.0
"""`Qwen3VLVisionRotaryEmbedding` of transformers 4.57."""

_MAX_GRIDS = 64
"""Sizes whose positions are kept; a collection of scans has one or two."""


class VisionTower:
    """Computes the features of images and pairs of frames.

    Args:
        model: `Qwen3VLVisionModel` in evaluation mode, on one device.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._widen = Upcast(model)
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
            patches: Patches of all images end to end, in the order of `cut_patches`.
            grids: One for each image or pair of frames; equal ones should be neighbours.
        """
        model = self._model
        projection = self._widen(model.patch_embed.proj)
        hidden = functional.linear(patches.to(projection.weight.dtype), projection.weight.flatten(1), projection.bias)
        runs = [(grid, len(list(same))) for grid, same in groupby(grids)]
        located, counts = [self._locate(grid) for grid, _ in runs], [count for _, count in runs]
        learned = torch.cat([own.learned.repeat(count, 1) for own, count in zip(located, counts, strict=True)])
        hidden = hidden.add_(learned.to(hidden.dtype))
        images = self._arrange(located, counts, hidden.dtype)
        deepstack: list[Tensor] = []
        for number, block in enumerate(map(self._widen, model.blocks)):
            mixed = images.attend(block.attn, block.norm1(hidden))
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
    ) -> ImagesSideBySide | ImagesEndToEnd:
        attention = self._model.blocks[0].attn
        heads, size = attention.num_heads, attention.head_dim
        kernel = find_varlen_kernel(self.device, dtype, heads=heads, groups=heads, size=size)
        return ImagesSideBySide(located, counts) if kernel is None else ImagesEndToEnd(located, counts, kernel)

    def _locate_patches(self, grid: Grid) -> PatchPositions:
        """Positions of one image's patches, in their order: merged patches are neighbours."""
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
        return PatchPositions(order(resampled), RotaryAngles(angles.cos(), angles.sin()))
