"""Linear layers on a CPU in one pass over memory: bias, activation and residual are part of the matrix product.

PyTorch's own `linear` copies the bias into the result before it multiplies, and an activation reads and writes the
result once more: on a CPU a third of the time of the vision tower's first feed-forward layer (benchmarks/LOG.md).
oneDNN, which PyTorch brings, multiplies and finishes at once. PyTorch reaches it through `_linear_pointwise`, the
operator that `torch.compile` emits for CPUs (torch/_inductor/fx_passes/mkldnn_fusion.py at v2.6.0): it has no public
name, so it is used only where it is there and has agreed with the plain computation in this process.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["add_linear", "add_linear_in_place", "agrees_with_plain", "apply_linear", "apply_linear_gelu"]

_logger = logging.getLogger(__name__)

_TOLERANCE = 1e-5


def apply_linear(layer: Any, states: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows outputs"]:
    """Returns what the layer makes of `states`."""
    if not _is_served(layer, states):
        return layer(states)
    return torch.ops.mkldnn._linear_pointwise(states, layer.weight, layer.bias, "none", [], "")


def apply_linear_gelu(layer: Any, states: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows outputs"]:
    """Returns GELU, in its approximation by tanh, of what the layer makes of `states`."""
    if not _is_served(layer, states):
        return functional.gelu(layer(states), approximate="tanh")
    return torch.ops.mkldnn._linear_pointwise(states, layer.weight, layer.bias, "gelu", [], "tanh")


def add_linear(
    layer: Any, states: Float[Tensor, "rows inputs"], residual: Float[Tensor, "rows outputs"]
) -> Float[Tensor, "rows outputs"]:
    """Returns the sum of `residual` and what the layer makes of `states`."""
    if not _is_served(layer, states):
        return layer(states).add_(residual)
    return torch.ops.mkldnn._linear_pointwise.binary(states, residual, layer.weight, layer.bias, "add")


def add_linear_in_place(
    layer: Any, states: Float[Tensor, "rows inputs"], residual: Float[Tensor, "rows outputs"]
) -> Float[Tensor, "rows outputs"]:
    """Returns the same sum of a layer without a bias; `residual` may be where it is written."""
    if _is_plain(layer, states) and layer.bias is None:
        return residual.addmm_(states, layer.weight.t())
    return layer(states).add_(residual)


def _is_served(layer: Any, states: Tensor) -> bool:
    """Whether oneDNN computes this layer."""
    return _is_plain(layer, states) and agrees_with_plain()


def _is_plain(layer: Any, states: Tensor) -> bool:
    """Whether a layer is its weights and no more: quantised, adapted and half-precision ones stay what they are."""
    return (
        type(layer) is nn.Linear
        # Quantised weights are of a class of their own that calls itself float32.
        and type(layer.weight) is nn.Parameter
        and states.device.type == layer.weight.device.type == "cpu"
        and states.dtype == layer.weight.dtype == torch.float32
        and _is_untouched(vars(layer))
    )


def _is_untouched(attributes: Mapping[str, Any]) -> bool:
    """Whether nobody hung hooks on a layer, or a forward in place of its own as accelerate does: they must run."""
    return not (attributes["_forward_hooks"] or attributes["_forward_pre_hooks"] or "forward" in attributes)


@lru_cache(maxsize=1)
def agrees_with_plain() -> bool:
    """Whether the operator exists, takes these arguments and gives what the plain computation gives."""
    if not torch.backends.mkldnn.is_available():
        return False
    random = torch.Generator().manual_seed(0)
    states, weight, bias, residual = (
        torch.randn(size, generator=random) for size in ((5, 24), (40, 24), (40,), (5, 40))
    )
    plain = functional.linear(states, weight, bias)
    try:
        fused = torch.ops.mkldnn._linear_pointwise
        results = (
            (fused(states, weight, bias, "none", [], ""), plain),
            (fused(states, weight, bias, "gelu", [], "tanh"), functional.gelu(plain, approximate="tanh")),
            (fused.binary(states, residual, weight, bias, "add"), plain + residual),
        )
    except (AttributeError, RuntimeError, TypeError) as error:
        _logger.info("linear layers are computed without oneDNN's fused operator: %s", error)
        return False
    return all(torch.allclose(own, wanted, rtol=_TOLERANCE, atol=_TOLERANCE) for own, wanted in results)
