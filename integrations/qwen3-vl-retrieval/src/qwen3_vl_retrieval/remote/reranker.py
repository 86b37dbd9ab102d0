"""A reranker whose model computes elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self, Unpack

from qwen3_vl_retrieval.engine.requests.builder import Request
from qwen3_vl_retrieval.engine.requests.outcome import form_scores
from qwen3_vl_retrieval.engine.requests.preparation import build_preparer
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.items import Item, OnError, check_instruction
from qwen3_vl_retrieval.loading.origins import ModelOrigin, reduce_model
from qwen3_vl_retrieval.options import (
    RERANKING_MAX_LENGTH,
    JudgingOptions,
    ScoreOptions,
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
        **options: Those of `Qwen3VLReranker` that are not about computing, see `JudgingOptions`.

    Raises:
        ValueError: An option is out of range.
    """

    def __init__(
        self,
        engine: RemoteEngine,
        checkpoint: RemoteCheckpoint,
        *,
        self_test: SelfTest | None = None,
        **options: Unpack[JudgingOptions],
    ) -> None:
        instruction = options.get("instruction")
        check_instruction(instruction)
        self.self_test = self_test
        self._origin: ModelOrigin | None = None
        self._engine = engine
        self._model_id = checkpoint.model_id
        self._instruction = instruction or DEFAULT_RERANKING_INSTRUCTION
        self._preparer = build_preparer(
            checkpoint.tokenizer,
            role="document",
            max_length=options.get("max_length", RERANKING_MAX_LENGTH),
            on_overflow=options.get("on_overflow", "fit"),
            pair_truncation=options.get("truncation", "longest_first"),
            **checkpoint.choose_sight(options),
        )

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
        self, query: Item, documents: Iterable[Item], *, on_error: OnError = "raise", **options: Unpack[ScoreOptions]
    ) -> Any:
        """Returns one relevance score per document, `(n,)`, as `Qwen3VLReranker.score` does.

        Raises:
            InputError: The query or a document cannot be judged; the message begins with its position.
            RemoteError: The server cannot be reached, or keeps failing.
            ValueError: An option is unknown.
        """
        output, prepared = self._begin(query, documents, on_error, **options)
        shows_progress = options.get("show_progress", False)
        outcome = self._engine.run(prepared, show_progress=shows_progress, description="reranking")
        return form_scores(outcome, outcome.values[:, 0], output, on_error)

    @implements(Reranker.ascore)
    async def ascore(
        self, query: Item, documents: Iterable[Item], *, on_error: OnError = "raise", **options: Unpack[ScoreOptions]
    ) -> Any:
        """Returns the same as `score`; cancelling ends the requests that are under way."""
        output, prepared = await asyncio.to_thread(self._begin, query, documents, on_error, **options)
        outcome = await self._engine.run_shared(prepared)
        return form_scores(outcome, outcome.values[:, 0], output, on_error)

    def _begin(
        self,
        query: Item,
        documents: Iterable[Item],
        on_error: OnError,
        instruction: str | None = None,
        output: ScoreOutput = "probability",
        show_progress: bool = False,
    ) -> tuple[ScoreOutput, list[Request | InputError]]:
        """What a score is, and what the server is asked for them."""
        check_output(output)
        check_instruction(instruction)
        prepared = self._preparer.prepare_pairs(
            query,
            documents,
            instruction=instruction or self._instruction,
            on_error=on_error,
            show_progress=show_progress,
        )
        return output, prepared

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Frameworks copy their chains; the copies share the connections.
        return self

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Another process connects anew.
        return reduce_model(self, self._origin)

    def close(self) -> None:
        """Closes the connections to the server; the next call opens others."""
        self._engine.connection.close()
