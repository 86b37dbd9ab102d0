"""Layers whose steps between the matrix products are fused by `torch.compile`: for long-running programs, by choice.

Compiling takes most of a minute at the first batch. What is compiled takes weights as arguments, so that all layers
share one program, and any number of tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from qwen3_vl_retrieval.engine.kernels.rotary import RotaryTurns
from qwen3_vl_retrieval.engine.language.layers import PlainLayers
from qwen3_vl_retrieval.errors import ModelError

__all__ = ["CompiledLayers"]


class CompiledLayers(PlainLayers):
    """Gives what `PlainLayers` gives; one token alone, which would need a program of its own, goes through it.

    Args:
        model: `Qwen3VLTextModel`, whose layers they will be.

    Raises:
        ModelError: Its weights are quantised or adapted: then they are not those of plain linear layers.
    """

    def __init__(self, model: Any) -> None:
        for name, module in model.layers.named_modules():
            if name.endswith("_proj") and (type(module) is not nn.Linear or getattr(module, "bias", None) is not None):
                raise ModelError(
                    f"compile_layers=True cannot compile layers.{name}, a {type(module).__name__}: it takes weights "
                    "that are neither quantised nor adapted; merge the adapters, or leave compile_layers out"
                )
        self._project: Callable[..., Any] = torch.compile(_project, dynamic=True)
        self._finish: Callable[..., Any] = torch.compile(_finish, dynamic=True)

    def project(
        self,
        layer: Any,
        hidden: Float[Tensor, "tokens hidden"],
        turns: RotaryTurns,
        *,
        queries: Int64[Tensor, " asked"] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns queries (of all tokens, or of `queries`), keys and values, each `(tokens, heads, size)`."""
        if queries is not None or len(hidden) == 1:
            return super().project(layer, hidden, turns, queries=queries)
        attention = layer.self_attn
        return _run(
            self._project,
            hidden,
            layer.input_layernorm.weight,
            *(own.weight for own in (attention.q_proj, attention.k_proj, attention.v_proj)),
            *(own.weight for own in (attention.q_norm, attention.k_norm)),
            turns.cos,
            turns.sin,
            turns.both is not None,
            layer.input_layernorm.variance_epsilon,
            attention.head_dim,
        )

    def finish(
        self, layer: Any, hidden: Float[Tensor, "tokens hidden"], mixed: Float[Tensor, "tokens heads size"]
    ) -> Float[Tensor, "tokens hidden"]:
        """Returns the layer behind its attention; `hidden` is the residual."""
        if len(hidden) == 1:
            return super().finish(layer, hidden, mixed)
        norm = layer.post_attention_layernorm
        linears = (layer.self_attn.o_proj, layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj)
        weights = [linear.weight for linear in linears]
        return _run(self._finish, hidden, mixed.flatten(1), norm.weight, *weights, norm.variance_epsilon)


def _run(compiled: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return compiled(*arguments)
    except RuntimeError as error:
        # Their classes have no public name, and importing them takes a second.
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        said = " ".join(str(error).split("\n\n")[0].split())
        raise ModelError(
            "compile_layers=True could not compile: it needs a C++ compiler on a CPU and Triton on a GPU. "
            f"Leave it out, or install what is missing. PyTorch says: {said}"
        ) from error


def _project(
    hidden: Float[Tensor, "tokens hidden"],
    norm: Float[Tensor, " hidden"],
    query_weight: Float[Tensor, "queries hidden"],
    key_weight: Float[Tensor, "keys hidden"],
    value_weight: Float[Tensor, "keys hidden"],
    query_norm: Float[Tensor, " size"],
    key_norm: Float[Tensor, " size"],
    cos: Float[Tensor, "tokens 1 half"],
    sin: Float[Tensor, "tokens 1 half"],
    pairs_are_neighbours: bool,
    epsilon: float,
    size: int,
) -> tuple[Tensor, Tensor, Tensor]:
    normalized = _normalize(hidden, norm, epsilon)
    tokens = len(hidden)
    query, key, value = (
        functional.linear(normalized, weight).view(tokens, -1, size)
        for weight in (query_weight, key_weight, value_weight)
    )
    query, key = (
        _turn(_normalize(states, own_norm, epsilon), cos, sin, pairs_are_neighbours)
        for states, own_norm in ((query, query_norm), (key, key_norm))
    )
    return query, key, value


def _finish(
    hidden: Float[Tensor, "tokens hidden"],
    mixed: Float[Tensor, "tokens mixed"],
    norm: Float[Tensor, " hidden"],
    output_weight: Float[Tensor, "hidden mixed"],
    gate_weight: Float[Tensor, "inner hidden"],
    up_weight: Float[Tensor, "inner hidden"],
    down_weight: Float[Tensor, "hidden inner"],
    epsilon: float,
) -> Float[Tensor, "tokens hidden"]:
    hidden = hidden + functional.linear(mixed, output_weight)
    normalized = _normalize(hidden, norm, epsilon)
    gate = functional.silu(functional.linear(normalized, gate_weight))
    return hidden + functional.linear(gate * functional.linear(normalized, up_weight), down_weight)


def _normalize(
    states: Float[Tensor, "*places size"], weight: Float[Tensor, " size"], epsilon: float
) -> Float[Tensor, "*places size"]:
    return functional.rms_norm(states, (states.shape[-1],), weight, epsilon)


def _turn(
    states: Float[Tensor, "tokens heads size"],
    cos: Float[Tensor, "tokens 1 half"],
    sin: Float[Tensor, "tokens 1 half"],
    pairs_are_neighbours: bool,
) -> Float[Tensor, "tokens heads size"]:
    """As `RotaryTurns.turn`, order of the values included: keys of a prefix come from there."""
    first, second = states.chunk(2, dim=-1)
    left, right = first * cos - second * sin, second * cos + first * sin
    return torch.stack((left, right), dim=-1).flatten(-2) if pairs_are_neighbours else torch.cat((left, right), dim=-1)
