"""The arithmetic of a layer of the language model on both sides of its attention."""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from qwen3_vl_retrieval.engine.kernels.cpu_linear import add_linear
from qwen3_vl_retrieval.engine.kernels.rotary import RotaryTurns

__all__ = ["PlainLayers"]


class PlainLayers:
    """Runs the layers' own modules, quantised ones included, with few passes over memory between them."""

    def project(
        self,
        layer: Any,
        hidden: Float[Tensor, "tokens hidden"],
        turns: RotaryTurns,
        *,
        queries: Int64[Tensor, " asked"] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns queries (of all tokens, or of `queries`), keys and values, each `(tokens, heads, size)`."""
        attention = layer.self_attn
        normalized = self.normalize(layer.input_layernorm, hidden)
        size = attention.head_dim
        key = attention.k_proj(normalized).view(len(hidden), -1, size)
        value = attention.v_proj(normalized).view(len(hidden), -1, size)
        key = turns.turn(self.normalize(attention.k_norm, key))
        if queries is not None:
            normalized, turns = normalized[queries], turns.select(queries)
        query = attention.q_proj(normalized).view(len(normalized), -1, size)
        return turns.turn(self.normalize(attention.q_norm, query)), key, value

    def finish(
        self, layer: Any, hidden: Float[Tensor, "tokens hidden"], mixed: Float[Tensor, "tokens heads size"]
    ) -> Float[Tensor, "tokens hidden"]:
        """Returns the layer behind its attention; `hidden` is the residual, which the result may be written into."""
        hidden = add_linear(layer.self_attn.o_proj, mixed.flatten(1), hidden)
        normalized = self.normalize(layer.post_attention_layernorm, hidden)
        gate = functional.silu(layer.mlp.gate_proj(normalized), inplace=True)
        return add_linear(layer.mlp.down_proj, gate.mul_(layer.mlp.up_proj(normalized)), hidden)

    def normalize(self, norm: Any, hidden: Float[Tensor, "*places size"]) -> Float[Tensor, "*places size"]:
        """Returns the states divided by their root mean square, times the weights of `norm`."""
        # Quantised models keep these weights in another precision.
        weight, size = norm.weight.to(hidden.dtype), hidden.shape[-1]
        if hidden.device.type != "cpu" or hidden.dtype != torch.float32:
            return functional.rms_norm(hidden, (size,), weight, norm.variance_epsilon)
        # The same in four passes over the states instead of six: on a CPU torch has no kernel of its own for it.
        length = cast("Tensor", torch.linalg.vector_norm(hidden, dim=-1, keepdim=True))
        return torch.mul(hidden, length.square_().div_(size).add_(norm.variance_epsilon).rsqrt_()).mul_(weight)
