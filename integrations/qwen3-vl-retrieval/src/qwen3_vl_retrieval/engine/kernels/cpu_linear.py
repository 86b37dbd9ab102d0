"""Linear layers on CPUs: oneDNN with what surrounds them, and half-precision weights computed in float32."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from qwen3_vl_retrieval.loading import find_arithmetic

__all__ = ["Upcast", "add_linear", "agrees_with_plain", "apply_linear", "apply_linear_gelu", "has_wide_vectors"]


_logger = logging.getLogger(__name__)

_TOLERANCE = 1e-5


def apply_linear(layer: Any, states: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows outputs"]:
    """Returns what the layer makes of `states`."""
    if not _is_served(layer, states):
        return layer(states)
    return torch.ops.mkldnn._linear_pointwise(states, layer.weight, layer.bias, "none", [], "")


def apply_linear_gelu(layer: Any, states: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows outputs"]:
    """Returns GELU, in its approximation by tanh, of what the layer makes of `states`."""
    if _is_served(layer, states):
        return torch.ops.mkldnn._linear_pointwise(states, layer.weight, layer.bias, "gelu", [], "tanh")
    return functional.gelu(layer(states), approximate="tanh")


def add_linear(
    layer: Any, states: Float[Tensor, "rows inputs"], residual: Float[Tensor, "rows outputs"]
) -> Float[Tensor, "rows outputs"]:
    """Returns the sum of `residual` and what the layer makes of `states`; `residual` may be where it is written."""
    if not _is_plain(layer, states):
        return layer(states).add_(residual)
    if layer.bias is None:
        return residual.addmm_(states, layer.weight.t())
    if _is_served(layer, states):
        return torch.ops.mkldnn._linear_pointwise.binary(states, residual, layer.weight, layer.bias, "add")
    return residual.add_(layer.bias).addmm_(states, layer.weight.t())


def _is_served(layer: Any, states: Tensor) -> bool:
    """Whether oneDNN computes this layer."""
    return _is_plain(layer, states) and has_wide_vectors() and agrees_with_plain()


@lru_cache(maxsize=1)
def has_wide_vectors() -> bool:
    """Whether the CPU has AVX-512, with which oneDNN is the faster one."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


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


_Layout: TypeAlias = tuple[tuple[str, torch.Size], ...]

_PLAIN = (torch.float32, torch.bfloat16, torch.float16)


class Upcast:
    """Gives the parts of a model in the precision of computation. One thread at a time may use it.

    Args:
        model: Whose parts they will be.

    Attributes:
        dtype: What the parts are computed in; `None` where they stay what they are.
    """

    def __init__(self, model: Any) -> None:
        self.dtype = _find_wider(list(model.parameters()))
        self._copies: dict[_Layout, Any] = {}

    def __call__(self, part: Any) -> Any:
        """Returns `part`, or a copy that holds its weights until another one of its shape is asked for."""
        if self.dtype is None:
            return part
        layout = tuple((name, parameter.shape) for name, parameter in part.named_parameters())
        if layout not in self._copies:
            self._copies[layout] = copy.deepcopy(part).to(self.dtype)
        else:
            for own, stored in zip(self._copies[layout].parameters(), part.parameters(), strict=True):
                own.copy_(stored)
        return self._copies[layout]


def _find_wider(parameters: Sequence[nn.Parameter]) -> torch.dtype | None:
    # Quantised weights bring their own arithmetic.
    if any(type(parameter) is not nn.Parameter or parameter.dtype not in _PLAIN for parameter in parameters):
        return None
    own = parameters[0].dtype
    wider = find_arithmetic(own, parameters[0].device)
    return None if wider == own else wider
