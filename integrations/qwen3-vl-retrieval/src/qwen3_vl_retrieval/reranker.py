"""Documents judged for a query by a model that sees both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float32
from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin

from qwen3_vl_retrieval._model import ModelInProcess
from qwen3_vl_retrieval.engine.requests.builder import Request
from qwen3_vl_retrieval.engine.requests.outcome import Outcome, form_scores
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.items import (
    ImageReading,
    Item,
    OnError,
    check_instruction,
)
from qwen3_vl_retrieval.loading import Choices, LoadedModel, read_score_weight
from qwen3_vl_retrieval.media import FrameSampling, MediaPolicy, PixelBudget
from qwen3_vl_retrieval.options import (
    RERANKING_MAX_LENGTH,
    LoadOptions,
    OnOverflow,
    PairTruncation,
    RerankerOptions,
    ScoreOutput,
)
from qwen3_vl_retrieval.outputs.scoring import check_output, compute_margins
from qwen3_vl_retrieval.prompting.prompts import DEFAULT_RERANKING_INSTRUCTION
from qwen3_vl_retrieval.protocols import Reranker, implements

__all__ = ["Qwen3VLReranker"]


class RerankerLoadOptions(RerankerOptions, LoadOptions, total=False):
    """The options of `Qwen3VLReranker.from_pretrained`."""


class Qwen3VLReranker(ModelInProcess, Reranker):
    """Judges how well documents answer a query with a Qwen3-VL-Reranker model.

    A cross-encoder: it reads query and document together, pixels included, and predicts yes or no. One instance may
    be used from any number of threads and event loops.

    Args:
        model: A ready `Qwen3VLForConditionalGeneration` in evaluation mode, or a `Qwen3VLModel` with `score_weight`.
        processor: Its `Qwen3VLProcessor`.
        score_weight: Row of yes minus row of no of the language model's head, in float32; read from `model` if not
            given.
        model_id: Name of the model, for reports.
        revision: Commit or weight hash, by which those who use it over a server know it.
        instruction: What makes a document relevant.
        media_policy: What may be opened; by default local files, no URLs.
        pixel_budget: Limits on the pixels that the model sees.
        frame_sampling: How frames are taken from videos.
        image_reading: How images are read, as in `Qwen3VLEmbedder`; give both models the same.
        max_length: Tokens of a pair at most, up to 32,768; the five tokens of the assistant's turn come on top.
        on_overflow: `"fit"` cuts text and gives images and videos fewer pixels and frames, with one warning a call;
            `"error"` raises `InputTooLongError`.
        truncation: Which text of a long pair is cut: `"longest_first"` the longer one, so that neither vanishes;
            `"reference"` the end of the pair, as the official script does, which can lose the whole document.
        max_batch_tokens: Tokens of a forward pass at most; `None` chooses by device. Halved when memory runs out.
        vision_cache_bytes: Memory for what the vision tower has made of documents' images, so that another query
            over the same ones costs a fraction: `None` is 1 GiB of the device, and on a GPU 4 GiB of the host's memory
            behind it; 0 keeps nothing. A page of 1,800 visual tokens takes 30 MB of the 2B model.
        choices: What `from_pretrained` chose (device, dtype, attention), each with its reason.

    Raises:
        ModelError: The model or processor is not of the Qwen3-VL family, or has no yes and no.
        ValueError: An option is out of range.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        *,
        score_weight: Float[Tensor, " hidden"] | None = None,
        model_id: str | None = None,
        revision: str = "",
        instruction: str = DEFAULT_RERANKING_INSTRUCTION,
        media_policy: MediaPolicy | None = None,
        pixel_budget: PixelBudget | None = None,
        frame_sampling: FrameSampling | None = None,
        image_reading: ImageReading = "viewer",
        max_length: int = RERANKING_MAX_LENGTH,
        on_overflow: OnOverflow = "fit",
        truncation: PairTruncation = "longest_first",
        max_batch_tokens: int | None = None,
        vision_cache_bytes: int | None = None,
        choices: Choices | None = None,
    ) -> None:
        weight = read_score_weight(model, processor) if score_weight is None else score_weight
        self.score_weight = weight.detach().cpu().float()
        self.revision = revision
        super().__init__(
            model,
            processor,
            role="document",
            model_id=model_id,
            media_policy=media_policy,
            pixel_budget=pixel_budget,
            frame_sampling=frame_sampling,
            image_reading=image_reading,
            max_length=max_length,
            on_overflow=on_overflow,
            pair_truncation=truncation,
            max_batch_tokens=max_batch_tokens,
            vision_cache_bytes=vision_cache_bytes,
            choices=choices,
        )
        check_instruction(instruction)
        self._instruction = instruction if instruction else DEFAULT_RERANKING_INSTRUCTION

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, **options: Unpack[RerankerLoadOptions]) -> Self:
        """Returns a reranker with the weights of a model hub or a folder.

        Whatever the quantisation, the two rows of the score head are read in full precision.

        Args:
            name_or_path: Hub id (`"Qwen/Qwen3-VL-Reranker-2B"`), folder, or `"pocket"`.
            **options: How the model is loaded, see `LoadOptions`, and those of the class.

        Raises:
            ModelError: The model cannot be found or loaded, or weights are missing.
            TypeError: An option does not exist.
        """

        def build(loaded: LoadedModel, own: dict[str, Any]) -> Self:
            return cls(
                loaded.model,
                loaded.processor,
                score_weight=loaded.score_weight,
                model_id=loaded.checkpoint.model_id,
                revision=loaded.checkpoint.revision,
                choices=loaded.choices,
                **own,
            )

        return cls._load(name_or_path, "reranker", options, RerankerOptions, build)

    def cache_media(self, documents: Iterable[Item], *, show_progress: bool = False) -> dict[int, InputError]:
        """Computes what the vision tower makes of documents' images and videos, for the queries to come.

        Returns:
            The documents that cannot be read, by position.
        """
        prepared = self._prepare("", documents, None, "return", show_progress)
        return self._engine.encode_media(prepared)

    @implements(Reranker.score)
    def score(
        self,
        query: Item,
        documents: Iterable[Item],
        *,
        instruction: str | None = None,
        output: ScoreOutput = "probability",
        on_error: OnError = "raise",
        show_progress: bool = False,
    ) -> npt.NDArray[np.float32] | list[float | InputError]:
        """Returns one relevance score per document, `(n,)`, in input order.

        All documents are read and checked before the first forward pass; the query's media is read and encoded once.

        Args:
            query: An item, see `Item`; its own instruction goes before the call's.
            documents: Items; an instruction of their own is not used.
            instruction: What makes a document relevant; taken as it is, as in the official script.
            output: `"probability"` that the document answers the query, in [0, 1]; or `"margin"`, its log-odds.
            on_error: `"raise"` raises the first bad document's error; `"return"` judges the others and returns a list
                with the error in place of each bad document's score. A bad query is always raised.
            show_progress: Show a progress bar for reading and one for judging.

        Raises:
            InputError: The query or a document cannot be judged; the message begins with its position.
            ValueError: An option is unknown.
        """
        check_output(output)
        prepared = self._prepare(query, documents, instruction, on_error, show_progress)
        outcome = self._engine.run(prepared, show_progress=show_progress, description="reranking")
        return self._finish(outcome, output, on_error)

    @implements(Reranker.ascore)
    async def ascore(
        self,
        query: Item,
        documents: Iterable[Item],
        *,
        instruction: str | None = None,
        output: ScoreOutput = "probability",
        on_error: OnError = "raise",
        show_progress: bool = False,
    ) -> npt.NDArray[np.float32] | list[float | InputError]:
        """Returns the same as `score`, in forward passes shared with concurrent callers; may be cancelled.

        `show_progress` covers reading only: the forward passes belong to all callers.
        """
        check_output(output)
        prepare = partial(self._prepare, query, documents, instruction, on_error, show_progress)
        prepared = await self._engine.prepare_shared(prepare)
        outcome = await self._engine.run_shared(prepared)
        return self._finish(outcome, output, on_error)

    async def acompute_margins(self, prepared: Sequence[Request | InputError]) -> Float32[np.ndarray, " requests"]:
        """Returns the log-odds of pairs that somebody else has prepared; for servers.

        Raises:
            InputError: One of `prepared` is an error, or cannot be computed; the message begins with its position.
        """
        outcome = await self._engine.run_shared(prepared)
        outcome.raise_failures("raise")
        return compute_margins(outcome.values, self.score_weight.numpy())

    def _prepare(
        self,
        query: Item,
        documents: Iterable[Item],
        instruction: str | None,
        on_error: OnError,
        show_progress: bool,
    ) -> list[Request | InputError]:
        check_instruction(instruction)
        return self._engine.preparer.prepare_pairs(
            query,
            documents,
            instruction=instruction or self._instruction,
            on_error=on_error,
            show_progress=show_progress,
        )

    def _finish(
        self, outcome: Outcome, output: ScoreOutput, on_error: OnError
    ) -> npt.NDArray[np.float32] | list[float | InputError]:
        margins = compute_margins(outcome.values, self.score_weight.numpy())
        return form_scores(outcome, margins, output, on_error)
