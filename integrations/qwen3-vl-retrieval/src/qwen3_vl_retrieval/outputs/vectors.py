"""The vectors of an embedding model: the space they lie in, their length, scale and number format."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import Any, Unpack, get_args

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32

from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.items import ImageReading, check_instruction
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
from qwen3_vl_retrieval.options import InputType, Precision, VectorOptions
from qwen3_vl_retrieval.prompting.prompts import (
    DEFAULT_INSTRUCTION,
    DEFAULT_QUERY_INSTRUCTION,
    PROMPT_VERSION,
    normalize_instruction,
)

__all__ = [
    "MIN_DIMENSIONS",
    "VectorFormat",
    "VectorSpace",
    "check_dimensions",
    "check_precision",
    "decode_embeddings",
    "int8_step",
    "quantize_embeddings",
    "truncate_dimensions",
]

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


def decode_embeddings(
    codes: npt.NDArray[Any], precision: Precision, *, dimensions: int
) -> Float32[np.ndarray, "n dimensions"]:
    """Returns the numbers that stand for the vectors of `quantize_embeddings`, in float32.

    Bits come back as plus and minus 1/√dimensions: their dot products with a unit vector are estimates of its cosines.
    """
    match precision:
        case "float32" | "float16":
            return codes.astype(np.float32)
        case "int8" | "uint8":
            steps = codes.astype(np.float32) - (128 if precision == "uint8" else 0)
            return steps * np.float32(int8_step(dimensions))
        case "binary" | "ubinary":
            packed = codes if precision == "ubinary" else codes.astype(np.int16) + 128
            signs = np.unpackbits(packed.astype(np.uint8), axis=1, count=dimensions).astype(np.float32)
            return (2 * signs - 1) / np.float32(np.sqrt(dimensions))


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


class VectorSpace:
    """What decides about the vectors of an embedding model, wherever it computes.

    Args:
        model_id: Name of the model.
        revision: Commit of the model hub, or a hash of the weights.
        hidden_size: Length of the model's states.
        dimensions: Length of a vector unless a call asks for another; `None` is the hidden size.
        document_instruction: What documents are represented for; a blank one is the model's default.
        query_instruction: What queries are represented for; a blank one is the model's default.
        pixel_budget: Limits on the pixels that the model sees.
        frame_sampling: How frames are taken from videos.
        image_reading: How images are read.
        max_length: Tokens of an item at most.

    Raises:
        ValueError: `dimensions` is out of range.
    """

    def __init__(
        self,
        *,
        model_id: str,
        revision: str,
        hidden_size: int,
        dimensions: int | None,
        document_instruction: str,
        query_instruction: str,
        pixel_budget: PixelBudget,
        frame_sampling: FrameSampling,
        image_reading: ImageReading,
        max_length: int,
    ) -> None:
        self.model_id = model_id
        self.revision = revision
        self.hidden_size = hidden_size
        self.dimensions = check_dimensions(dimensions, hidden_size=hidden_size)
        self.document_instruction = normalize_instruction(document_instruction, default=DEFAULT_INSTRUCTION)
        self.query_instruction = normalize_instruction(query_instruction, default=DEFAULT_QUERY_INSTRUCTION)
        self.pixel_budget = pixel_budget
        self.frame_sampling = frame_sampling
        self.image_reading: ImageReading = image_reading
        self.max_length = max_length

    def choose_instruction(self, instruction: str | None, input_type: InputType) -> str:
        """Returns the instruction of a call: its own, or that of documents or queries.

        Raises:
            ValueError: `input_type` is unknown.
        """
        check_instruction(instruction)
        if input_type not in get_args(InputType):
            raise ValueError(f'input_type={quote(input_type)} is unknown; allowed are "document" and "query"')
        own = self.query_instruction if input_type == "query" else self.document_instruction
        return normalize_instruction(instruction, default=own)

    def choose_format(
        self, *, dimensions: int | None = None, precision: Precision = "float32", normalize: bool = True
    ) -> VectorFormat:
        """Returns the format of a call's vectors.

        Raises:
            ValueError: An option is out of range.
        """
        wanted = self.dimensions if dimensions is None else dimensions
        length = check_dimensions(wanted, hidden_size=self.hidden_size)
        check_precision(precision, dimensions=length, normalize=normalize)
        return VectorFormat(dimensions=length, precision=precision, normalize=normalize)

    def compute_fingerprint(
        self, *, input_type: InputType = "document", **options: Unpack[VectorOptions]
    ) -> Fingerprint:
        """Returns the identity of the vectors that a call with these options returns."""
        precision = options.get("precision", "float32")
        return Fingerprint(
            model=self.model_id,
            revision=self.revision,
            dimensions=self.choose_format(dimensions=options.get("dimensions"), precision=precision).dimensions,
            precision=precision,
            instruction=self.choose_instruction(options.get("instruction"), input_type),
            pixel_budget=self.pixel_budget.describe(),
            frame_sampling=self.frame_sampling.describe(),
            max_length=self.max_length,
            prompt_version=PROMPT_VERSION,
            image_reading=self.image_reading,
        )
