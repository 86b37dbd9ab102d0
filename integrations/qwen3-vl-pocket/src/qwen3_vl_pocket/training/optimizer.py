"""Muon for the matrices inside the model, AdamW for everything else.

Muon orthogonalises the momentum of each matrix (K. Jordan et al., https://kellerjordan.github.io/posts/muon/). On this
world it needs about half of AdamW's steps (benchmarks/LOG.md). `torch.optim.Muon` computes in bfloat16, which CPUs
without bfloat16 units emulate three times slower than float32, and one matrix at a time; here all matrices of a shape
are one batch, in float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Optimizer", "orthogonalize"]

# Coefficients of the quintic Newton-Schulz iteration, and momentum: the values of the page above.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_MOMENTUM = 0.95


class Optimizer:
    """Steps all trainable parameters of modules; the learning rates of a run are scaled by a schedule.

    Args:
        modules: Whose parameters to train; parameters that several share are taken once.
        matrix_rate: Learning rate of Muon.
        other_rate: Learning rate of AdamW: embeddings, biases, norms.
    """

    def __init__(self, modules: Iterable[nn.Module], *, matrix_rate: float, other_rate: float) -> None:
        named = {id(p): (name, p) for module in modules for name, p in module.named_parameters() if p.requires_grad}
        is_matrix = {key: p.dim() == 2 and "embed" not in name for key, (name, p) in named.items()}
        self._others = [p for key, (_, p) in named.items() if not is_matrix[key]]
        self._adamw = torch.optim.AdamW(self._others, lr=other_rate, betas=(0.9, 0.98), weight_decay=0.01)
        self._groups: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for key, (_, parameter) in named.items():
            if is_matrix[key]:
                self._groups.setdefault(tuple(parameter.shape), []).append(parameter)
        self._momenta = {shape: torch.zeros(len(group), *shape) for shape, group in self._groups.items()}
        self._matrix_rate, self._other_rate = matrix_rate, other_rate

    def step(self, *, scale: float) -> None:
        """Moves all parameters by their gradients, at `scale` times the learning rates, and clears the gradients."""
        torch.nn.utils.clip_grad_norm_(self._others, 1.0)
        for group in self._adamw.param_groups:
            group["lr"] = self._other_rate * scale
        self._adamw.step()
        for shape, parameters in self._groups.items():
            self._step_matrices(shape, parameters, self._matrix_rate * scale)
        for parameter in (*self._others, *(p for group in self._groups.values() for p in group)):
            parameter.grad = None

    @torch.no_grad()
    def _step_matrices(self, shape: tuple[int, ...], parameters: list[nn.Parameter], rate: float) -> None:
        gradients = torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in parameters])
        momentum = self._momenta[shape].to(gradients.device).lerp_(gradients, 1 - _MOMENTUM)
        self._momenta[shape] = momentum
        updates = orthogonalize(gradients.lerp(momentum, _MOMENTUM))
        scale = max(1.0, shape[0] / shape[1]) ** 0.5
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.mul_(1 - rate * 0.01).add_(update, alpha=-rate * scale)

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint needs to go on."""
        return {"adamw": self._adamw.state_dict(), "momenta": self._momenta}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint's state."""
        self._adamw.load_state_dict(state["adamw"])
        self._momenta = state["momenta"]


def orthogonalize(matrices: Float[Tensor, "n rows columns"]) -> Float[Tensor, "n rows columns"]:
    """Returns, about, the nearest matrices whose singular values are all one."""
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    states = matrices.transpose(-2, -1) if is_tall else matrices
    sizes: Tensor = cast("Any", torch.linalg).vector_norm(states, dim=(-2, -1), keepdim=True)
    states = states / (sizes + 1e-7)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        gram = states @ states.transpose(-2, -1)
        states = a * states + (b * gram + c * gram @ gram) @ states
    return states.transpose(-2, -1) if is_tall else states
