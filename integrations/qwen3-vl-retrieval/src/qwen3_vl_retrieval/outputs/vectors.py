"""How a call wants its vectors: length, scale and number format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from jaxtyping import Float32
from torch import Tensor

from qwen3_vl_retrieval.options import Precision
from qwen3_vl_retrieval.outputs.pooling import truncate_dimensions
from qwen3_vl_retrieval.outputs.precision import quantize_embeddings

__all__ = ["VectorFormat"]


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
