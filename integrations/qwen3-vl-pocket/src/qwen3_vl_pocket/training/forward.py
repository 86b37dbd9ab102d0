"""The model's own forward pass, arranged for training: images of one size as a batch, the common prompt once.

The computation is that of `transformers.models.qwen3_vl` with the same modules (a test compares the two). What differs
is the arrangement. The vision tower takes all images of one size as one batch instead of one after the other, and
the beginning of the prompt, which all rows of a step share, passes through the layers once instead of once a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor
from torch.nn import functional

__all__ = ["LAYERS_BEHIND_MIDDLE", "Rows", "VisualFeatures", "encode_patches", "run_language_model"]

LAYERS_BEHIND_MIDDLE = 2
"""Layers behind the middle state: enough to compare what it holds."""


@dataclass(frozen=True, slots=True)
class VisualFeatures:
    """Output of the vision tower for images of one size, or anything gathered from several such.

    Attributes:
        embeddings: Input embeddings of the language model.
        deepstack: What is added to its first hidden states, layer by layer.
    """

    embeddings: Float[Tensor, "_ hidden"]
    deepstack: tuple[Float[Tensor, "_ hidden"], ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Prompts of about the same length: the tokens that all of them begin with, and the rest of each.

    Attributes:
        prefix_ids: Tokens that every row begins with; batches of the same prefix hold the same object.
        token_ids: The other tokens of each row, padded on the right.
        positions: Rotary positions of the other tokens: time, row, column.
        visual_places: Places of the visual tokens in the flattened `token_ids`, in the order of the features.
    """

    prefix_ids: Int64[Tensor, " _"]
    token_ids: Int64[Tensor, "_ _"]
    positions: Int64[Tensor, "3 _ _"]
    visual_places: Int64[Tensor, " _"]


def encode_patches(
    tower: Any, patches: Float32[Tensor, "batch patches values"], *, grid: tuple[int, int]
) -> VisualFeatures:
    """Returns the features of images of one size; frames of videos are encoded pair by pair, as images are.

    Args:
        tower: `Qwen3VLVisionModel`.
        patches: Normalised patches, in the order of `cut_patches` of the core.
        grid: Rows and columns of patches.
    """
    batch, count, _ = patches.shape
    projection = tower.patch_embed.proj
    # The convolution's kernel is its stride: a matrix product, which CPUs do several times faster.
    hidden = functional.linear(patches, projection.weight.flatten(1), projection.bias)
    places, cos, sin = _locate_patches(tower, grid)
    hidden = (hidden + places.to(hidden.dtype)).reshape(batch, count, -1)
    deepstack: list[Tensor] = []
    for index, block in enumerate(tower.blocks):
        hidden = hidden + _attend_patches(block.attn, block.norm1(hidden), cos, sin)
        hidden = hidden + block.mlp(block.norm2(hidden))
        if index in tower.deepstack_visual_indexes:
            merger = tower.deepstack_merger_list[tower.deepstack_visual_indexes.index(index)]
            deepstack.append(merger(hidden.flatten(0, 1)))
    return VisualFeatures(tower.merger(hidden.flatten(0, 1)), tuple(deepstack))


def _locate_patches(tower: Any, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Learned and rotary positions of one image's patches, in their order: squares of merged patches are together."""
    height, width = grid
    merge, device = tower.spatial_merge_size, tower.pos_embed.weight.device
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")

    def order(values: Tensor) -> Tensor:
        blocks = values.reshape(height // merge, merge, width // merge, merge, *values.shape[2:])
        return blocks.transpose(1, 2).reshape(height * width, *values.shape[2:])

    side = tower.num_grid_per_side
    table = tower.pos_embed.weight.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resampled = functional.interpolate(table, size=(height, width), mode="bilinear", align_corners=True)[0].permute(
        1, 2, 0
    )
    head_size = tower.blocks[0].attn.head_dim
    exponents = torch.arange(0, head_size // 2, 2, dtype=torch.float32) / (head_size // 2)
    frequencies = 1.0 / 10000.0**exponents  # `rope_theta` of the vision tower
    angles = torch.cat([order(rows)[:, None] * frequencies, order(columns)[:, None] * frequencies], dim=-1)
    angles = torch.cat([angles, angles], dim=-1).to(device)
    return order(resampled), angles.cos(), angles.sin()


def _attend_patches(attention: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    batch, count, _ = hidden.shape
    states = attention.qkv(hidden).reshape(batch, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = states.unbind(0)
    mixed = functional.scaled_dot_product_attention(_rotate(query, cos, sin), _rotate(key, cos, sin), value)
    return attention.proj(mixed.transpose(1, 2).reshape(batch, count, -1))


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat([-second, first], dim=-1) * sin


def run_language_model(
    model: Any, batches: Sequence[Rows], visuals: VisualFeatures | None
) -> tuple[list[Float[Tensor, "_ _ hidden"]], list[Float[Tensor, "_ _ hidden"]]]:
    """Returns, for each batch, the normalised last hidden state of each token behind the prefix, and a middle one.

    What concerns tokens one by one is computed for all batches at once, attention batch by batch.

    Args:
        model: `Qwen3VLTextModel`.
        batches: The prompts.
        visuals: Features of all visual tokens, batch by batch, in the order of `visual_places`; `None` without any.
    """
    plan = _Plan(batches)
    hidden = model.embed_tokens(plan.token_ids)
    if visuals is not None:
        hidden = hidden.index_copy(0, plan.visual_places, visuals.embeddings.to(hidden.dtype))
    cos, sin = model.rotary_emb(hidden, plan.positions[:, None])
    turns = (cos[0, :, None], sin[0, :, None])
    middle = hidden
    for index, layer in enumerate(model.layers):
        hidden = hidden + _attend_batches(layer.self_attn, _normalize(layer.input_layernorm, hidden), turns, plan)
        hidden = hidden + layer.mlp(_normalize(layer.post_attention_layernorm, hidden))
        if visuals is not None and index < len(visuals.deepstack):
            hidden = hidden.index_add(0, plan.visual_places, visuals.deepstack[index].to(hidden.dtype))
        if index == len(model.layers) - 1 - LAYERS_BEHIND_MIDDLE:
            middle = hidden
    return plan.split(_normalize(model.norm, hidden)), plan.split(middle)


class _Plan:
    """All tokens of a step end to end: each prefix once, then the batches."""

    def __init__(self, batches: Sequence[Rows]) -> None:
        prefixes = list({id(rows.prefix_ids): rows.prefix_ids for rows in batches if len(rows.prefix_ids)}.values())
        places = {id(prefix): place for place, prefix in enumerate(prefixes)}
        self.batches = batches
        self.prefix_count = len(prefixes)
        self.prefix_of = [places.get(id(rows.prefix_ids)) for rows in batches]
        self.sizes = [len(prefix) for prefix in prefixes] + [rows.token_ids.numel() for rows in batches]
        self.token_ids = torch.cat([*prefixes, *(rows.token_ids.flatten() for rows in batches)])
        device = self.token_ids.device
        counted = [torch.arange(len(prefix), device=device).expand(3, -1) for prefix in prefixes]
        self.positions = torch.cat([*counted, *(rows.positions.flatten(1) for rows in batches)], dim=1)
        starts = [sum(self.sizes[:place]) for place in range(len(prefixes), len(self.sizes))]
        located = zip(starts, batches, strict=True)
        self.visual_places = torch.cat([rows.visual_places + start for start, rows in located])
        self.masks = [_see_back(rows.token_ids.shape[1], len(rows.prefix_ids), device) for rows in batches]

    def split(self, hidden: Float[Tensor, "all hidden"]) -> list[Float[Tensor, "_ _ hidden"]]:
        """Returns the states of each batch, without those of the prefixes."""
        parts = _cut(hidden, self.sizes)[self.prefix_count :]
        return [part.view(*rows.token_ids.shape, -1) for part, rows in zip(parts, self.batches, strict=True)]


def _see_back(length: int, common: int, device: torch.device) -> Bool[Tensor, "length keys"]:
    """What each token sees: the whole prefix, and of its row what stands before it."""
    return torch.ones(length, common + length, dtype=torch.bool, device=device).tril(common)


def _attend_batches(attention: Any, hidden: Tensor, turns: tuple[Tensor, Tensor], plan: _Plan) -> Tensor:
    """Self-attention of all tokens; queries, keys and values are computed at once, and mixed batch by batch."""
    shape = (len(hidden), -1, attention.head_dim)
    query = _rotate(_normalize(attention.q_norm, attention.q_proj(hidden).view(shape)), *turns)
    key = _rotate(_normalize(attention.k_norm, attention.k_proj(hidden).view(shape)), *turns)
    groups = attention.num_key_value_groups
    key = key.repeat_interleave(groups, dim=1)
    value = attention.v_proj(hidden).view(shape).repeat_interleave(groups, dim=1)
    queries, keys, values = (_cut(states, plan.sizes) for states in (query, key, value))
    mixed: list[Tensor] = [
        _mix(*(states[None].transpose(1, 2) for states in prefix), mask=None).transpose(1, 2).flatten(0, 1)
        for prefix in zip(*(parts[: plan.prefix_count] for parts in (queries, keys, values)), strict=True)
    ]
    for number, (rows, prefix) in enumerate(zip(plan.batches, plan.prefix_of, strict=True)):
        batch, place = len(rows.token_ids), plan.prefix_count + number
        shape = (batch, -1, *query.shape[1:])
        own: list[Tensor] = [parts[place].view(shape).transpose(1, 2) for parts in (queries, keys, values)]
        if prefix is not None:
            common = [parts[prefix][None].transpose(1, 2).expand(batch, -1, -1, -1) for parts in (keys, values)]
            own[1:] = [torch.cat(both, dim=2) for both in zip(common, own[1:], strict=True)]
        mixed.append(_mix(*own, mask=plan.masks[number]).transpose(1, 2).flatten(0, 1))
    return attention.o_proj(torch.cat(mixed).flatten(1))


def _cut(states: Tensor, sizes: list[int]) -> list[Tensor]:
    return list(cast("Any", states).split(sizes))  # without a type in torch's stubs


def _mix(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None) -> Tensor:
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)


def _normalize(norm: Any, hidden: Tensor) -> Tensor:
    return functional.rms_norm(hidden, (hidden.shape[-1],), norm.weight, norm.variance_epsilon)
