"""Number formats of vectors: six precisions whose codes are comparable between calls."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32

from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.options import Precision

__all__ = ["check_precision", "int8_step", "quantize_embeddings"]

_INT8_RANGE_DEVIATIONS = 8.0
"""Half the int8 range, in standard deviations of a component of a unit vector (1/√dimensions)."""


def int8_step(dimensions: int) -> float:
    """Returns the value of one int8 step for vectors of this length.

    A component of a unit vector of d dimensions has the standard deviation 1/√d. The range is fixed at ±8 of these
    (at most ±1), whatever the batch: 127 steps of 8/(127·√d). Larger components saturate. A scale taken from the data
    of each call, as elsewhere, would make the codes of two calls incomparable.
    """
    return float(min(_INT8_RANGE_DEVIATIONS / np.sqrt(dimensions), 1.0) / 127.0)


def check_precision(precision: str, *, dimensions: int, normalize: bool) -> None:
    """Raises `ValueError` unless vectors can be returned in `precision`.

    Raises:
        ValueError: The precision is unknown, needs unit vectors, or does not fill whole bytes.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision={quote(precision)} is unknown; allowed are {', '.join(get_args(Precision))}")
    if precision in ("int8", "uint8") and not normalize:
        raise ValueError(f"precision={quote(precision)} has a fixed scale for unit vectors and needs normalize=True")
    if precision in ("binary", "ubinary") and dimensions % 8:
        raise ValueError(
            f"precision={quote(precision)} packs eight dimensions a byte; {dimensions} is not a multiple of 8"
        )


def quantize_embeddings(vectors: Float32[np.ndarray, "n dimensions"], precision: Precision) -> npt.NDArray[Any]:
    """Returns unit vectors in another number format.

    - `float32`, `float16`: the values.
    - `int8`: round(value / `int8_step(dimensions)`), saturated at ±127; cosines of codes are cosines of vectors.
    - `uint8`: the int8 code plus 128.
    - `ubinary`: one bit a dimension, set where the value is positive, eight to a byte, first dimension in the highest
      bit (`numpy.packbits`); `binary`: the same bytes minus 128, as int8.
    """
    match precision:
        case "float32" | "float16":
            return vectors.astype(precision, copy=False)
        case "int8" | "uint8":
            codes = np.clip(np.rint(vectors / int8_step(vectors.shape[1])), -127, 127)
            return codes.astype(np.int8) if precision == "int8" else (codes + 128).astype(np.uint8)
        case "binary" | "ubinary":
            packed = np.packbits(vectors > 0, axis=1)
            return packed if precision == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)
