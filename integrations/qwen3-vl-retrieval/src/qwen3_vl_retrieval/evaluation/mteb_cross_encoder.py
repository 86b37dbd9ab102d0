"""A reranker as a cross-encoder of mteb."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from itertools import groupby, islice

import numpy as np
from jaxtyping import Float32
from tqdm.auto import tqdm

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.evaluation.mteb_batches import Batch, iterate_rows
from qwen3_vl_retrieval.evaluation.mteb_instructions import Task, choose_reranking_instruction
from qwen3_vl_retrieval.evaluation.mteb_model_meta import describe_model
from qwen3_vl_retrieval.protocols import Reranker

__all__ = ["MTEBCrossEncoder"]

_DOCUMENTS_AT_ONCE = 32
"""Documents of a query whose images are in memory at a time: the size of mteb's own batches."""


class MTEBCrossEncoder:
    """A reranker as a cross-encoder of mteb (its `CrossEncoderProtocol`), for tasks of text and images.

    ```python
    candidates = task.convert_to_reranking("predictions", top_k=100)
    results = mteb.evaluate(MTEBCrossEncoder(reranker, revision=reranker.revision), candidates, cache=None)
    ```

    Args:
        reranker: The reranker.
        revision: Its weights and settings, in words: mteb takes results that it has kept under the same name and
            revision for these.
        use_task_instructions: Whether the instruction is the one that mteb's own wrapper of these models gives;
            otherwise it is the reranker's.

    Attributes:
        mteb_model_meta: What mteb is told of it.

    Raises:
        StoreError: mteb is not installed.
    """

    def __init__(self, reranker: Reranker, *, revision: str, use_task_instructions: bool = True) -> None:
        self._reranker = reranker
        self._use_task_instructions = use_task_instructions
        name = reranker.model_id.rstrip("/").rpartition("/")[2]
        self.mteb_model_meta = describe_model(
            name if use_task_instructions else f"{name}-own-instruction", revision, model_type="cross-encoder"
        )

    def predict(
        self,
        inputs1: Iterable[Batch],
        inputs2: Iterable[Batch],
        *,
        task_metadata: Task,
        hf_split: str,  # noqa: ARG002 - of mteb's protocol
        hf_subset: str,  # noqa: ARG002 - of mteb's protocol
        prompt_type: Enum | None = None,  # noqa: ARG002 - a pair has both
        batch_size: int | None = None,  # noqa: ARG002 - the loader has made the batches
        show_progress_bar: bool = True,
    ) -> Float32[np.ndarray, " pairs"]:
        """Returns the log-odds that each document answers its query: probabilities near 1 are equal where these differ.

        Args:
            inputs1: Batches of queries, one for each pair; pairs of the same query follow each other.
            inputs2: Batches of documents.
            task_metadata: The task, whose instruction is used.
            hf_split: Not used.
            hf_subset: Not used.
            prompt_type: Not used.
            batch_size: Not used.
            show_progress_bar: Whether a progress bar is shown.

        Raises:
            InputError: A pair cannot be judged; the message begins with its position.
            ValueError: There are more of the one than of the other.
        """
        instruction = choose_reranking_instruction(task_metadata) if self._use_task_instructions else None
        documents = iterate_rows(tqdm(inputs2, desc="reranking", unit="batch", disable=not show_progress_bar))
        pairs = zip(iterate_rows(inputs1), documents, strict=True)
        parts = [np.zeros(0, dtype=np.float32)]
        done = 0
        for _, of_query in groupby(pairs, key=lambda pair: pair[0].key):
            while chunk := list(islice(of_query, _DOCUMENTS_AT_ONCE)):
                try:
                    parts.append(
                        self._reranker.score(
                            chunk[0][0].item,
                            [document.item for _, document in chunk],
                            instruction=instruction,
                            output="margin",
                        )
                    )
                except InputError as error:
                    raise error.at(done + (error.index or 0), role="pair") from error
                done += len(chunk)
        return np.concatenate(parts)
