"""The space that vectors of a model lie in: which model, what it sees of an item, and what the vectors are for."""

from __future__ import annotations

from typing import Unpack, get_args

from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.items import ImageReading, check_instruction
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
from qwen3_vl_retrieval.options import InputType, Precision, VectorOptions
from qwen3_vl_retrieval.outputs.precision import check_precision
from qwen3_vl_retrieval.outputs.vectors import VectorFormat, check_dimensions
from qwen3_vl_retrieval.prompting.prompts import (
    DEFAULT_INSTRUCTION,
    DEFAULT_QUERY_INSTRUCTION,
    PROMPT_VERSION,
    normalize_instruction,
)

__all__ = ["VectorSpace"]


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
