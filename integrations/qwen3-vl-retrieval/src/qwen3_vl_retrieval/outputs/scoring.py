"""From hidden states to relevance scores: one row of weights, in float32."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from qwen3_vl_retrieval.protocols import Ranked

__all__ = ["ScoreOutput", "compute_margins", "compute_probabilities", "rank_scores"]

ScoreOutput: TypeAlias = Literal["probability", "margin"]


def compute_margins(
    hidden_states: Float[Tensor, "batch hidden"], score_weight: Float32[Tensor, " hidden"]
) -> Float32[Tensor, " batch"]:
    """Returns the log-odds of yes against no, (w_yes - w_no)·h, in float32 whatever the model's dtype.

    In bfloat16, as the official script has it, log-odds lie on a grid of 1/16 and documents tie that differ.
    """
    return hidden_states.to(torch.float32) @ score_weight


def compute_probabilities(margins: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    """Returns the probability of yes: 1 / (1 + exp(-margin)), without overflow for large margins."""
    decay = np.exp(-np.abs(margins))
    return np.where(margins >= 0, 1 / (1 + decay), decay / (1 + decay)).astype(np.float32)


def rank_scores(margins: Float32[np.ndarray, " n"], *, top_n: int | None, threshold: float | None) -> list[Ranked]:
    """Returns the documents' places, best first; equal scores keep the order of the input.

    `threshold` drops documents whose probability is below it; `top_n` then keeps the first so many.
    """
    probabilities = compute_probabilities(margins)
    order = np.argsort(-margins, kind="stable")
    ranked = [Ranked(int(index), float(probabilities[index]), float(margins[index])) for index in order]
    if threshold is not None:
        ranked = [place for place in ranked if place.score >= threshold]
    return ranked if top_n is None else ranked[:top_n]
