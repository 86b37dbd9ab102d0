"""An embedder as an encoder of mteb."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32
from tqdm.auto import tqdm

from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.evaluation.mteb_batches import Batch, list_items
from qwen3_vl_retrieval.evaluation.mteb_instructions import Task, choose_embedding_instruction
from qwen3_vl_retrieval.evaluation.mteb_model_meta import describe_model
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.options import InputType, Precision
from qwen3_vl_retrieval.outputs.vectors import decode_embeddings
from qwen3_vl_retrieval.protocols import Embedder

__all__ = ["MTEBEncoder"]


class MTEBEncoder:
    """An embedder as an encoder of mteb (its `EncoderProtocol`), for tasks of text and images.

    ```python
    results = mteb.evaluate(MTEBEncoder(embedder, dimensions=512), mteb.get_tasks(tasks=["Vidore3HrRetrieval"]))
    ```

    Documents are compared as an index with these vectors compares them: those of a shorter length or a coarser format
    stand for the documents, and queries keep their format. Name and revision tell all settings apart, so that mteb
    does not take kept results of others for these.

    Args:
        embedder: The embedder.
        dimensions: Length of the vectors; `None` is the embedder's.
        precision: Number format of the vectors of documents.
        use_task_instructions: Whether the instructions are those that mteb's own wrapper of these models gives;
            otherwise they are the embedder's.

    Attributes:
        mteb_model_meta: What mteb is told of it.

    Raises:
        ValueError: `dimensions` or `precision` is out of range.
        StoreError: mteb is not installed.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        dimensions: int | None = None,
        precision: Precision = "float32",
        use_task_instructions: bool = True,
    ) -> None:
        self._embedder = embedder
        self._precision: Precision = precision
        self._use_task_instructions = use_task_instructions
        fingerprint = embedder.compute_fingerprint(dimensions=dimensions, precision=precision)
        self._dimensions = fingerprint.dimensions
        self.mteb_model_meta = describe_model(
            f"{fingerprint.model}-{fingerprint.dimensions}d-{precision}",
            _name_revision(fingerprint, use_task_instructions=use_task_instructions),
            model_type="dense",
            dimensions=fingerprint.dimensions,
        )

    def encode(
        self,
        inputs: Iterable[Batch],
        *,
        task_metadata: Task,
        hf_split: str,  # noqa: ARG002 - of mteb's protocol
        hf_subset: str,  # noqa: ARG002 - of mteb's protocol
        prompt_type: Enum | None = None,
        batch_size: int | None = None,  # noqa: ARG002 - the loader has made the batches
        show_progress_bar: bool = True,
        precision: str | None = None,
    ) -> Float32[np.ndarray, "n dimensions"]:
        """Returns the vectors of the rows of batches.

        Args:
            inputs: Batches.
            task_metadata: The task, whose instruction is used.
            hf_split: Not used.
            hf_subset: Not used.
            prompt_type: Whether they are queries or documents; `None` if the task makes no difference.
            batch_size: Not used.
            show_progress_bar: Whether a progress bar is shown.
            precision: Of mteb's `encode_kwargs`; it may only repeat the one of the encoder, whose name says it.

        Raises:
            InputError: A row cannot be embedded; the message begins with its position.
            ValueError: `precision` is another one.
        """
        if precision is not None and precision != self._precision:
            raise ValueError(
                f"precision={quote(precision)} is in encode_kwargs, and this encoder's is {self._precision!r}, as its "
                "name in the results says; give it to MTEBEncoder"
            )
        input_type: InputType = "query" if prompt_type is not None and prompt_type.value == "query" else "document"
        instruction = choose_embedding_instruction(task_metadata, prompt_type) if self._use_task_instructions else None
        parts = [np.zeros((0, self._dimensions), dtype=np.float32)]
        done = 0
        for batch in tqdm(inputs, desc="embedding", unit="batch", disable=not show_progress_bar):
            items = list_items(batch)
            # Queries keep their format, as in a search.
            form: Precision = "float32" if input_type == "query" else self._precision
            try:
                codes = self._embedder.embed(
                    items,
                    input_type=input_type,
                    instruction=instruction,
                    dimensions=self._dimensions,
                    precision=form,
                )
            except InputError as error:
                raise error.at(done + (error.index or 0)) from error
            parts.append(decode_embeddings(codes, form, dimensions=self._dimensions))
            done += len(items)
        return np.concatenate(parts)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Float32[np.ndarray, "first second"]:
        """Returns the dot product of each of the first vectors with each of the second: of unit vectors, the cosine."""
        return _to_rows(embeddings1) @ _to_rows(embeddings2).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Float32[np.ndarray, " n"]:
        """Returns the dot product of each of the first vectors with the one in its place."""
        return np.einsum("nd,nd->n", _to_rows(embeddings1), _to_rows(embeddings2))


def _name_revision(fingerprint: Fingerprint, *, use_task_instructions: bool) -> str:
    """The revision of the weights, with a hash of all that decides about a vector."""
    values = fingerprint.to_dict() | {"use_task_instructions": use_task_instructions}
    return f"{fingerprint.revision}-{hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]}"


def _to_rows(embeddings: Any) -> npt.NDArray[np.float32]:
    """Vectors as mteb gives them, arrays or tensors, one or several."""
    return np.atleast_2d(np.asarray(embeddings, dtype=np.float32))
