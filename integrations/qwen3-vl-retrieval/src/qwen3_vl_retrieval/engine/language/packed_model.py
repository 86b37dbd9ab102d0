"""The language model over packed tokens: no padding outside attention, shared beginnings computed once.

The computation is that of `Qwen3VLTextModel` of transformers, with its own weights and modules (quantised ones
included); `tests/core/test_language.py` compares the two. What differs is which tokens pass through: rows lie end to
end, rows that continue a prefix begin behind it, and in the last layer only the tokens whose state is asked for go
further than their keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from qwen3_vl_retrieval.engine.kernels.cpu_linear import Upcast, add_linear
from qwen3_vl_retrieval.engine.kernels.varlen import find_varlen_kernel
from qwen3_vl_retrieval.engine.language.packed_attention import (
    Arrangement,
    EndToEnd,
    HeadLayout,
    LayerPrefixes,
    SideBySide,
)
from qwen3_vl_retrieval.engine.states import PackedRow, PrefixStates, RotaryAngles, copy_to_device

__all__ = ["PackedLanguageModel"]


class PackedLanguageModel:
    """Computes the states of last tokens, and of prefixes what rows need that continue them.

    Args:
        model: `Qwen3VLTextModel` in evaluation mode, on one device.
    """

    shares_prefixes = True

    def __init__(self, model: Any) -> None:
        self._model = model
        self._widen = Upcast(model)

    @staticmethod
    def count_tokens(lengths: Sequence[int]) -> int:
        """Returns how many tokens pass through the layers for rows of these lengths."""
        return sum(lengths)

    @torch.inference_mode()
    def compute_prefix(self, row: PackedRow) -> PrefixStates:
        """Returns the keys and values of a whole row."""
        batch = _Batch([row], [], self._model, self._widen.dtype)
        keys: list[Tensor] = []
        values: list[Tensor] = []
        hidden = batch.embed()
        *layers, last = self._model.layers
        for number, layer in enumerate(map(self._widen, layers)):
            query, key, value = project_states(layer, hidden, batch.angles)
            keys.append(key)
            values.append(value)
            mixed = batch.attend(number, query, key, value)
            hidden = batch.add_deepstack(finish_layer(layer, hidden, mixed), number)
        _, key, value = project_states(self._widen(last), hidden, batch.angles)
        return PrefixStates((*keys, key), (*values, value))

    @torch.inference_mode()
    def compute_last(self, rows: Sequence[PackedRow], prefixes: Sequence[PrefixStates]) -> Float[Tensor, "rows hidden"]:
        """Returns the normalised state of each row's last token.

        Args:
            rows: In an order that puts those of one prefix and of similar lengths together.
            prefixes: What rows continue, by the number in their `prefix`.
        """
        batch = _Batch(rows, prefixes, self._model, self._widen.dtype)
        hidden = batch.embed()
        *layers, last = self._model.layers
        for number, layer in enumerate(map(self._widen, layers)):
            mixed = batch.attend(number, *project_states(layer, hidden, batch.angles))
            hidden = batch.add_deepstack(finish_layer(layer, hidden, mixed), number)
        last = self._widen(last)
        query, key, value = project_states(last, hidden, batch.angles, queries=batch.last_places)
        mixed = batch.attend_last(len(layers), query, key, value)
        hidden = finish_layer(last, hidden[batch.last_places], mixed)
        return normalize_states(self._model.norm, hidden)


class _Batch:
    """Rows end to end on the device, with what every layer needs to know about them."""

    def __init__(
        self, rows: Sequence[PackedRow], prefixes: Sequence[PrefixStates], model: Any, dtype: torch.dtype | None
    ) -> None:
        self._rows, self._prefixes, self._model = rows, prefixes, model
        weight = model.embed_tokens.weight
        self._device, self._dtype = weight.device, dtype or weight.dtype
        lengths = [len(row.token_ids) for row in rows]
        ends = np.cumsum(lengths)
        self.last_places = self._move(ends - 1)
        self._arrangement = self._arrange(lengths)
        positions = self._move(np.concatenate([row.positions for row in rows], axis=1))
        cos, sin = model.rotary_emb(torch.empty(0, dtype=self._dtype, device=self._device), positions[:, None])
        half = cos.shape[-1] // 2
        # Both halves are equal.
        self.angles = RotaryAngles(cos[0, :, None, :half], sin[0, :, None, :half])
        starts = ends - lengths
        self._visual_places = self._move(
            np.concatenate([row.visual_places + start for row, start in zip(rows, starts, strict=True)])
        )
        self._features = [features for row in rows for features in row.features]

    def _arrange(self, lengths: Sequence[int]) -> Arrangement:
        continued, prefix_lengths = [row.prefix for row in self._rows], [len(prefix) for prefix in self._prefixes]
        config = self._model.config
        heads, groups = config.num_attention_heads, config.num_key_value_heads
        kernel = find_varlen_kernel(self._device, self._dtype, heads=heads, groups=groups, size=config.head_dim)
        if kernel is None:
            layout = HeadLayout(heads, groups, folds=self._device.type != "cuda")
            return SideBySide(lengths, continued, prefix_lengths, layout=layout, move=self._move)
        return EndToEnd(lengths, continued, prefix_lengths, move=self._move, kernel=kernel, device=self._device)

    def embed(self) -> Float[Tensor, "tokens hidden"]:
        """Returns the input embeddings, visual features in their places."""
        token_ids = self._move(np.concatenate([row.token_ids for row in self._rows]))
        embeddings = self._model.embed_tokens(token_ids).to(self._dtype)
        if self._features:
            visuals = torch.cat([features.embeddings for features in self._features]).to(embeddings)
            embeddings[self._visual_places] = visuals
        return embeddings

    def add_deepstack(self, hidden: Float[Tensor, "tokens hidden"], number: int) -> Float[Tensor, "tokens hidden"]:
        """Adds to the states behind layer `number` what the vision tower has for them, if it has anything."""
        if self._features and number < len(self._features[0].deepstack):
            added = torch.cat([features.deepstack[number] for features in self._features]).to(hidden)
            hidden.index_add_(0, self._visual_places, added)
        return hidden

    def attend(self, number: int, query: Tensor, key: Tensor, value: Tensor) -> Float[Tensor, "tokens heads size"]:
        """Returns what each token takes from those before it, its prefix included."""
        return self._arrangement.attend(query, key, value, self._list_prefixes(number))

    def attend_last(self, number: int, query: Tensor, key: Tensor, value: Tensor) -> Float[Tensor, "rows heads size"]:
        """Returns the same for the last tokens alone, whose queries are given."""
        return self._arrangement.attend_last(query, key, value, self._list_prefixes(number))

    def _list_prefixes(self, number: int) -> LayerPrefixes:
        return [(prefix.keys[number], prefix.values[number]) for prefix in self._prefixes]

    def _move(self, values: np.ndarray[Any, Any]) -> Tensor:
        return copy_to_device(values, self._device)


def project_states(
    layer: Any,
    hidden: Float[Tensor, "tokens hidden"],
    angles: RotaryAngles,
    *,
    queries: Int64[Tensor, " asked"] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns queries (of all tokens, or of `queries`), keys and values, each `(tokens, heads, size)`."""
    attention = layer.self_attn
    normalized = normalize_states(layer.input_layernorm, hidden)
    size = attention.head_dim
    key = attention.k_proj(normalized).view(len(hidden), -1, size)
    value = attention.v_proj(normalized).view(len(hidden), -1, size)
    key = angles.rotate(normalize_states(attention.k_norm, key))
    if queries is not None:
        normalized, angles = normalized[queries], angles.select(queries)
    query = attention.q_proj(normalized).view(len(normalized), -1, size)
    return angles.rotate(normalize_states(attention.q_norm, query)), key, value


def finish_layer(
    layer: Any, hidden: Float[Tensor, "tokens hidden"], mixed: Float[Tensor, "tokens heads size"]
) -> Float[Tensor, "tokens hidden"]:
    """Returns the layer behind its attention; `hidden` is the residual, which the result may be written into."""
    hidden = add_linear(layer.self_attn.o_proj, mixed.flatten(1), hidden)
    normalized = normalize_states(layer.post_attention_layernorm, hidden)
    gate = functional.silu(layer.mlp.gate_proj(normalized), inplace=True)
    return add_linear(layer.mlp.down_proj, gate.mul_(layer.mlp.up_proj(normalized)), hidden)


def normalize_states(norm: Any, hidden: Float[Tensor, "*places size"]) -> Float[Tensor, "*places size"]:
    """Returns the states divided by their root mean square, times the weights of `norm`."""
    # Quantised models keep these weights in another precision.
    weight, size = norm.weight.to(hidden.dtype), hidden.shape[-1]
    if hidden.device.type != "cpu" or hidden.dtype != torch.float32:
        return functional.rms_norm(hidden, (size,), weight, norm.variance_epsilon)
    # The same in four passes over the states instead of six: on a CPU torch has no kernel of its own for it.
    length = cast("Tensor", torch.linalg.vector_norm(hidden, dim=-1, keepdim=True))
    return torch.mul(hidden, length.square_().div_(size).add_(norm.variance_epsilon).rsqrt_()).mul_(weight)
