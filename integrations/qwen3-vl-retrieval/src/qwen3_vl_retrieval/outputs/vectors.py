"""From hidden states to vectors: pooling, length, scale and number format."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import Any

import numpy.typing as npt
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from qwen3_vl_retrieval.options import Precision
from qwen3_vl_retrieval.outputs.precision import quantize_embeddings

__all__ = ["MIN_DIMENSIONS", "VectorFormat", "check_dimensions", "pool_last_token", "truncate_dimensions"]


MIN_DIMENSIONS = 32
"""Shortest Matryoshka vector; the published models are trained for 64 and more (technical report, arXiv 2601.04720)."""


def pool_last_token(
    hidden_states: Float[Tensor, "batch length hidden"], lengths: Int64[Tensor, " batch"]
) -> Float[Tensor, "batch hidden"]:
    """Returns the state of each row's last real token; rows are padded on the right."""
    rows = torch.arange(len(lengths), device=hidden_states.device)
    return hidden_states[rows, lengths - 1]


def truncate_dimensions(
    vectors: Float[Tensor, "batch hidden"], dimensions: int, *, normalize: bool
) -> Float[Tensor, "batch dimensions"]:
    """Returns the first `dimensions` of each vector, scaled to unit length again unless `normalize` is false."""
    shortened = vectors[:, :dimensions]
    return torch.nn.functional.normalize(shortened, p=2.0, dim=-1) if normalize else shortened


def check_dimensions(dimensions: int | None, *, hidden_size: int) -> int:
    """Returns the length of a vector: `dimensions`, or all of `hidden_size` if it is `None`.

    Raises:
        ValueError: It is not between 32 and the hidden size.
        TypeError: It is not a whole number.
    """
    if dimensions is None:
        return hidden_size
    dimensions = index(dimensions)
    if not MIN_DIMENSIONS <= dimensions <= hidden_size:
        raise ValueError(f"dimensions={dimensions} must be between {MIN_DIMENSIONS} and {hidden_size}, the hidden size")
    return dimensions


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFormat:
    """Length, scale and number format of the vectors of one call.

    Attributes:
        dimensions: Leading dimensions that are kept.
        precision: Number format, see `quantize_embeddings`.
        normalize: Whether vectors are scaled to unit length after cutting.
    """

    dimensions: int
    precision: Precision
    normalize: bool

    def apply(self, hidden_states: Float32[Tensor, "n hidden"]) -> npt.NDArray[Any]:
        """Returns pooled states as vectors of this format, one per row."""
        vectors = truncate_dimensions(hidden_states, self.dimensions, normalize=self.normalize)
        return quantize_embeddings(vectors.numpy(), self.precision)
