"""From hidden states to the yes/no score, and from scores to an order. Without torch, for everyone who ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float32

from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.options import ScoreOutput

__all__ = ["Ranked", "check_output", "compute_log_odds", "compute_margins", "compute_probabilities", "rank_scores"]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document's place in a ranking.

    Attributes:
        index: Position of the document in the list that was ranked.
        score: Probability that the document answers the query, in [0, 1].
        margin: Log-odds of the same judgement: `score == 1 / (1 + exp(-margin))`.
    """

    index: int
    score: float
    margin: float


def check_output(output: str) -> None:
    """Raises `ValueError` unless `output` is a kind of score."""
    if output not in get_args(ScoreOutput):
        raise ValueError(f'output={quote(output)} is unknown; allowed are "probability" and "margin"')


def compute_margins(
    hidden_states: Float[np.ndarray, "n hidden"], score_weight: Float32[np.ndarray, " hidden"]
) -> Float32[np.ndarray, " n"]:
    """Returns the log-odds of yes against no, (w_yes - w_no)·h, in float32 whatever the model's dtype.

    In bfloat16, as the official script has it, log-odds lie on a grid of 1/16 and documents tie that differ.
    """
    return hidden_states.astype(np.float32) @ score_weight


def compute_probabilities(margins: Float[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    """Returns the probability of yes: 1 / (1 + exp(-margin)), without overflow for large margins."""
    decay = np.exp(-np.abs(margins))
    return np.where(margins >= 0, 1 / (1 + decay), decay / (1 + decay)).astype(np.float32)


def compute_log_odds(probabilities: Float[np.ndarray, " n"]) -> npt.NDArray[np.float64]:
    """Returns the margin of each probability, log(p / (1 - p)); infinite at 0 and 1."""
    exact = probabilities.astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.log(exact) - np.log1p(-exact)


def rank_scores(
    margins: Float[np.ndarray, " n"], *, top_n: int | None = None, threshold: float | None = None
) -> list[Ranked]:
    """Returns the documents' places, best first; equal scores keep the order of the input.

    Ordered by margin: it tells documents apart whose probabilities round to 1.

    Args:
        margins: Log-odds of each document.
        top_n: Places to return at most.
        threshold: Lowest probability to return.
    """
    probabilities = compute_probabilities(margins)
    order = np.argsort(-margins, kind="stable")
    ranked = [Ranked(int(index), float(probabilities[index]), float(margins[index])) for index in order]
    if threshold is not None:
        ranked = [place for place in ranked if place.score >= threshold]
    return ranked if top_n is None else ranked[:top_n]
