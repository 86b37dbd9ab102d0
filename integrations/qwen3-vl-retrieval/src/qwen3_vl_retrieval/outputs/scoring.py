"""From hidden states to the log-odds of yes against no: one row of weights, in float32."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32
from torch import Tensor

__all__ = ["compute_margins"]


def compute_margins(
    hidden_states: Float[Tensor, "batch hidden"], score_weight: Float32[Tensor, " hidden"]
) -> Float32[Tensor, " batch"]:
    """Returns the log-odds of yes against no, (w_yes - w_no)·h, in float32 whatever the model's dtype.

    In bfloat16, as the official script has it, log-odds lie on a grid of 1/16 and documents tie that differ.
    """
    return hidden_states.to(torch.float32) @ score_weight
