"""How a call wants its vectors: length, scale and number format, checked before and applied after the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from jaxtyping import Float32
from torch import Tensor

from qwen3_vl_retrieval.pooling import check_dimensions, truncate_dimensions
from qwen3_vl_retrieval.precision import Precision, check_precision, quantize_embeddings

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

    def check(self, *, hidden_size: int) -> None:
        """Passes silently if a model of this hidden size can give such vectors.

        Raises:
            ValueError: It cannot; the message names the option.
        """
        check_dimensions(self.dimensions, hidden_size=hidden_size)
        check_precision(self.precision, dimensions=self.dimensions, normalize=self.normalize)

    def apply(self, hidden_states: Float32[Tensor, "n hidden"]) -> npt.NDArray[Any]:
        """Returns pooled states as vectors of this format, one per row."""
        vectors = truncate_dimensions(hidden_states, self.dimensions, normalize=self.normalize)
        return quantize_embeddings(vectors.numpy(), self.precision)
