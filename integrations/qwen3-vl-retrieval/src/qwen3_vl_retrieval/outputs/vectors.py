"""From pooled states to vectors: length, scale and number format."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32

from qwen3_vl_retrieval.options import Precision
from qwen3_vl_retrieval.outputs.precision import quantize_embeddings

__all__ = ["MIN_DIMENSIONS", "VectorFormat", "check_dimensions", "truncate_dimensions"]


MIN_DIMENSIONS = 32
"""Shortest Matryoshka vector; the published models are trained for 64 and more (technical report, arXiv 2601.04720)."""


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


def truncate_dimensions(
    states: Float32[np.ndarray, "n hidden"], dimensions: int, *, normalize: bool
) -> Float32[np.ndarray, "n dimensions"]:
    """Returns the first `dimensions` of each row, scaled to unit length again unless `normalize` is false."""
    shortened = states[:, :dimensions]
    if not normalize:
        return shortened
    # A row of zeros stays one, as with torch.nn.functional.normalize.
    lengths = np.maximum(np.linalg.norm(shortened, axis=1, keepdims=True), 1e-12)
    return (shortened / lengths).astype(np.float32)


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

    def apply(self, states: Float32[np.ndarray, "n hidden"]) -> npt.NDArray[Any]:
        """Returns pooled states as vectors of this format, one per row."""
        vectors = truncate_dimensions(states, self.dimensions, normalize=self.normalize)
        return quantize_embeddings(vectors, self.precision)
