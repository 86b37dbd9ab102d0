"""Half-precision weights on a CPU without half-precision instructions: kept in half the memory, computed in float32.

PyTorch emulates such arithmetic there, six times slower than float32 (benchmarks/LOG.md, speed). Writing a layer's
weights out in float32 before it computes costs a pass over them, and rounds nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import nn

from qwen3_vl_retrieval.loading import find_arithmetic

__all__ = ["Widening"]

_Layout: TypeAlias = tuple[tuple[str, torch.Size], ...]

_PLAIN = (torch.float32, torch.bfloat16, torch.float16)


class Widening:
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
