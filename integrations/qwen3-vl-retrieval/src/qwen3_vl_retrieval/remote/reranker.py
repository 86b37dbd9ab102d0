"""A reranker whose model computes elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.engine.requests.builder import Request, RequestBuilder
from qwen3_vl_retrieval.engine.requests.media_reader import MediaReader
from qwen3_vl_retrieval.engine.requests.outcome import form_scores
from qwen3_vl_retrieval.engine.requests.preparation import RequestPreparer
from qwen3_vl_retrieval.engine.statistics import StatisticsRecorder
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.items import ImageReading, Item, OnError, check_instruction
from qwen3_vl_retrieval.loading.origins import ModelOrigin, reduce_model
from qwen3_vl_retrieval.media import FrameSampling, MediaPolicy, PixelBudget
from qwen3_vl_retrieval.media.images import check_image_reading
from qwen3_vl_retrieval.options import (
    RERANKING_MAX_LENGTH,
    JudgingOptions,
    OnOverflow,
    PairTruncation,
    ScoreOutput,
    split_options,
)
from qwen3_vl_retrieval.outputs.scoring import check_output
from qwen3_vl_retrieval.prompting.prompts import DEFAULT_RERANKING_INSTRUCTION
from qwen3_vl_retrieval.protocols import Reranker, implements
from qwen3_vl_retrieval.remote.checkpoint import RemoteCheckpoint
from qwen3_vl_retrieval.remote.connecting import ConnectingOptions, connect_engine
from qwen3_vl_retrieval.remote.engine import RemoteEngine
from qwen3_vl_retrieval.remote.self_test import SelfTest

__all__ = ["RemoteReranker"]


class RemoteRerankerOptions(JudgingOptions, ConnectingOptions, total=False):
    """The options of `RemoteReranker.connect`."""


class RemoteReranker(Reranker):
    """Judges documents with a Qwen3-VL-Reranker that somebody else runs: a vLLM, or `qwen3vl serve`.

    ```python
    reranker = RemoteReranker.connect("http://gpu-2:8000", checkpoint="Qwen/Qwen3-VL-Reranker-2B")
    scores = reranker.score("a contract signed in Lyon", ["a text", {"image": Path("page.png")}])
    ```

    As `RemoteEmbedder`: what the model sees is made here, and the scores are those of the model in process.

    Args:
        engine: The server, and how it is asked.
        checkpoint: The model's tokenizer, sizes and name.
        self_test: What was compared with the server; `None` if nothing was.
        instruction: What makes a document relevant.
        media_policy: What may be opened; by default local files, no URLs.
        pixel_budget: Limits on the pixels that the model sees; `None` takes the checkpoint's.
        frame_sampling: How frames are taken from videos; `None` likewise.
        image_reading: How images are read, as in `Qwen3VLEmbedder`.
        max_length: Tokens of a pair at most, up to 32,768, and to what the server takes.
        on_overflow: `"fit"` shortens what is too long, with one warning a call; `"error"` raises `InputTooLongError`.
        truncation: Which text of a long pair is cut, as in `Qwen3VLReranker`.

    Raises:
        ValueError: An option is out of range.
    """

    def __init__(
        self,
        engine: RemoteEngine,
        checkpoint: RemoteCheckpoint,
        *,
        self_test: SelfTest | None = None,
        instruction: str = DEFAULT_RERANKING_INSTRUCTION,
        media_policy: MediaPolicy | None = None,
        pixel_budget: PixelBudget | None = None,
        frame_sampling: FrameSampling | None = None,
        image_reading: ImageReading = "viewer",
        max_length: int = RERANKING_MAX_LENGTH,
        on_overflow: OnOverflow = "fit",
        truncation: PairTruncation = "longest_first",
    ) -> None:
        check_instruction(instruction)
        self.self_test = self_test
        self._origin: ModelOrigin | None = None
        self._engine = engine
        self._model_id = checkpoint.model_id
        self._instruction = instruction if instruction else DEFAULT_RERANKING_INSTRUCTION
        reader = MediaReader(
            policy=MediaPolicy() if media_policy is None else media_policy,
            budget=checkpoint.defaults.pixel_budget if pixel_budget is None else pixel_budget,
            sampling=checkpoint.defaults.frame_sampling if frame_sampling is None else frame_sampling,
            reading=check_image_reading(image_reading),
        )
        builder = RequestBuilder(
            checkpoint.tokenizer, reader, max_length=max_length, on_overflow=on_overflow, pair_truncation=truncation
        )
        self._preparer = RequestPreparer(builder, role="document", statistics=StatisticsRecorder())

    @classmethod
    def connect(
        cls,
        base_url: str,
        *,
        model: str | None = None,
        checkpoint: str | Path | None = None,
        verify: bool = True,
        golden: Path | None = None,
        **options: Unpack[RemoteRerankerOptions],
    ) -> Self:
        """Returns the reranker of what serves one at an address; arguments and errors as `RemoteEmbedder.connect`."""
        connecting, own = split_options(options, ConnectingOptions, JudgingOptions)
        connected = connect_engine(
            base_url, "reranker", name=model, checkpoint=checkpoint, golden=golden, verify=verify, **connecting
        )
        built = cls(connected.engine, connected.checkpoint, self_test=connected.self_test, **own)
        known = {"model": model, "checkpoint": checkpoint, "verify": verify, "golden": golden, **options}
        built._origin = ModelOrigin(cls.connect, base_url, known)
        return built

    @property
    def model_id(self) -> str:
        """Name of the model."""
        return self._model_id

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
        """Returns one relevance score per document, `(n,)`, as `Qwen3VLReranker.score` does.

        Raises:
            InputError: The query or a document cannot be judged; the message begins with its position.
            RemoteError: The server cannot be reached, or keeps failing.
            ValueError: An option is unknown.
        """
        check_output(output)
        prepared = self._prepare(query, documents, instruction, on_error, show_progress)
        outcome = self._engine.run(prepared, show_progress=show_progress, description="reranking")
        return form_scores(outcome, outcome.values[:, 0], output, on_error)

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
        """Returns the same as `score`; cancelling ends the requests that are under way."""
        check_output(output)
        prepared = await asyncio.to_thread(self._prepare, query, documents, instruction, on_error, show_progress)
        outcome = await self._engine.run_shared(prepared)
        return form_scores(outcome, outcome.values[:, 0], output, on_error)

    def _prepare(
        self,
        query: Item,
        documents: Iterable[Item],
        instruction: str | None,
        on_error: OnError,
        show_progress: bool,
    ) -> list[Request | InputError]:
        check_instruction(instruction)
        return self._preparer.prepare_pairs(
            query,
            documents,
            instruction=instruction or self._instruction,
            on_error=on_error,
            show_progress=show_progress,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Frameworks copy their chains; the copies share the connections.
        return self

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Another process connects anew.
        return reduce_model(self, self._origin)

    def close(self) -> None:
        """Closes the connections to the server; the next call opens others."""
        self._engine.connection.close()
