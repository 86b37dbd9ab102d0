"""An embedder whose model computes elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

import numpy.typing as npt

from qwen3_vl_retrieval.engine.requests.builder import Request
from qwen3_vl_retrieval.engine.requests.outcome import form_vectors
from qwen3_vl_retrieval.engine.requests.preparation import build_preparer
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.items import Item, OnError, check_on_error
from qwen3_vl_retrieval.loading.origins import ModelOrigin, reduce_model
from qwen3_vl_retrieval.media import MediaPolicy
from qwen3_vl_retrieval.options import (
    EMBEDDING_MAX_LENGTH,
    EmbeddingOptions,
    EmbedOptions,
    FormatOptions,
    InputType,
    VectorOptions,
    split_options,
)
from qwen3_vl_retrieval.outputs.vectors import VectorFormat, VectorSpace
from qwen3_vl_retrieval.prompting.prompts import DEFAULT_INSTRUCTION, DEFAULT_QUERY_INSTRUCTION
from qwen3_vl_retrieval.protocols import CountedVectors, Embedder, implements
from qwen3_vl_retrieval.remote.checkpoint import RemoteCheckpoint
from qwen3_vl_retrieval.remote.connecting import ConnectingOptions, connect_engine
from qwen3_vl_retrieval.remote.engine import RemoteEngine
from qwen3_vl_retrieval.remote.self_test import SelfTest

__all__ = ["RemoteEmbedder"]


class RemoteEmbedderOptions(EmbeddingOptions, ConnectingOptions, total=False):
    """The options of `RemoteEmbedder.connect`."""


class RemoteEmbedder(Embedder):
    """Embeds with a Qwen3-VL-Embedding model that somebody else runs: a vLLM, or `qwen3vl serve`.

    ```python
    embedder = RemoteEmbedder.connect("http://gpu-1:8000", checkpoint="Qwen/Qwen3-VL-Embedding-2B")
    vectors = embedder.embed_documents(["a text", {"image": Path("page.png")}])
    ```

    Images and videos are opened, sized and sampled here, by the code that does it in process, and prompts are made
    here: the vectors are those of the model in process, and so is the fingerprint. Neither torch nor weights are
    needed. One instance may be used from any number of threads and event loops.

    Args:
        engine: The server, and how it is asked.
        checkpoint: The model's tokenizer, sizes and name.
        self_test: What was compared with the server; `None` if nothing was.
        **options: Those of `Qwen3VLEmbedder` that are not about computing, see `EmbeddingOptions`.

    Raises:
        ValueError: An option is out of range.
    """

    def __init__(
        self,
        engine: RemoteEngine,
        checkpoint: RemoteCheckpoint,
        *,
        self_test: SelfTest | None = None,
        **options: Unpack[EmbeddingOptions],
    ) -> None:
        self.self_test = self_test
        self._origin: ModelOrigin | None = None
        self._engine = engine
        seen = checkpoint.choose_sight(options)
        self._media_policy = seen["media_policy"]
        max_length = options.get("max_length", EMBEDDING_MAX_LENGTH)
        self._space = VectorSpace(
            model_id=checkpoint.model_id,
            revision=checkpoint.revision,
            hidden_size=checkpoint.hidden_size,
            dimensions=options.get("dimensions"),
            document_instruction=options.get("document_instruction", DEFAULT_INSTRUCTION),
            query_instruction=options.get("query_instruction", DEFAULT_QUERY_INSTRUCTION),
            pixel_budget=seen["pixel_budget"],
            frame_sampling=seen["frame_sampling"],
            image_reading=seen["image_reading"],
            max_length=max_length,
        )
        self._preparer = build_preparer(
            checkpoint.tokenizer,
            role="item",
            max_length=max_length,
            on_overflow=options.get("on_overflow", "fit"),
            **seen,
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
        **options: Unpack[RemoteEmbedderOptions],
    ) -> Self:
        """Returns the embedder of what serves a model at an address.

        Args:
            base_url: Where the server is, with or without `/v1`.
            model: Name of the model on a vLLM; `None` takes the only one that it serves.
            checkpoint: Folder, hub id or `"pocket"` that tokenizer and sizes are read from; `qwen3vl serve` tells them
                itself.
            verify: Whether the server is asked, once a process, whether it computes what the model computes.
            golden: File of `qwen3vl golden`, for a model whose figures are neither in its folder nor in this package.
            **options: Those of the class, `ConnectionOptions`, and `HubOptions` of the checkpoint.

        Raises:
            ModelError: The server has no such model, or another setting than the model needs; the message names it.
            RemoteError: The server cannot be reached, or is none of those that are known.
            TypeError: An option does not exist.
        """
        connecting, own = split_options(options, ConnectingOptions, EmbeddingOptions)
        connected = connect_engine(
            base_url, "embedding", name=model, checkpoint=checkpoint, golden=golden, verify=verify, **connecting
        )
        built = cls(connected.engine, connected.checkpoint, self_test=connected.self_test, **own)
        known = {"model": model, "checkpoint": checkpoint, "verify": verify, "golden": golden, **options}
        built._origin = ModelOrigin(cls.connect, base_url, known)
        return built

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors of documents with the default options."""
        return self.compute_fingerprint()

    @property
    def dimensions(self) -> int:
        """Length of a vector unless a call asks for another."""
        return self._space.dimensions

    @property
    def media_policy(self) -> MediaPolicy:
        """What may be opened."""
        return self._media_policy

    def compute_fingerprint(
        self, *, input_type: InputType = "document", **options: Unpack[VectorOptions]
    ) -> Fingerprint:
        """Returns the identity of vectors that `embed` would return with these options."""
        return self._space.compute_fingerprint(input_type=input_type, **options)

    def prepare(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        instruction: str | None = None,
        on_error: OnError = "raise",
        show_progress: bool = False,
    ) -> list[Request | InputError]:
        """Returns what the server would be asked, read, sized and tokenised; the arguments are those of `embed`."""
        return self._preparer.prepare_items(
            inputs,
            instruction=self._space.choose_instruction(instruction, input_type),
            on_error=on_error,
            show_progress=show_progress,
        )

    @implements(Embedder.embed)
    def embed(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        on_error: OnError = "raise",
        **options: Unpack[EmbedOptions],
    ) -> Any:
        """Returns one vector per item, `(n, dimensions)`, as `Qwen3VLEmbedder.embed` does.

        Raises:
            InputError: An item cannot be embedded; the message begins with its position.
            RemoteError: The server cannot be reached, or keeps failing.
            ValueError: An option is out of range.
        """
        form, prepared = self._begin(inputs, input_type, on_error, **options)
        shows_progress = options.get("show_progress", False)
        outcome = self._engine.run(prepared, show_progress=shows_progress, description="embedding")
        return form_vectors(outcome, form, on_error)

    def embed_prepared(
        self, prepared: Sequence[Request | InputError], *, on_error: OnError = "raise"
    ) -> npt.NDArray[Any] | list[npt.NDArray[Any] | InputError]:
        """Returns the vectors of what `prepare` returned, in its order, with the default options of `embed`."""
        check_on_error(on_error)
        return form_vectors(self._engine.run(prepared), self._space.choose_format(), on_error)

    @implements(Embedder.aembed)
    async def aembed(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        on_error: OnError = "raise",
        **options: Unpack[EmbedOptions],
    ) -> Any:
        """Returns the same as `embed`; cancelling ends the requests that are under way.

        `show_progress` covers reading only.
        """
        form, prepared = await asyncio.to_thread(self._begin, inputs, input_type, on_error, **options)
        return form_vectors(await self._engine.run_shared(prepared), form, on_error)

    async def aembed_counted(
        self, inputs: Iterable[Item], *, input_type: InputType = "document", **options: Unpack[EmbedOptions]
    ) -> CountedVectors:
        """Returns the same as `aembed`, with the number of tokens of each item as it was embedded."""
        form, prepared = await asyncio.to_thread(self._begin, inputs, input_type, "raise", **options)
        outcome = await self._engine.run_shared(prepared)
        outcome.raise_failures("raise")
        counts = [len(request) for request in prepared if isinstance(request, Request)]
        return CountedVectors(form.apply(outcome.values), counts)

    def _begin(
        self,
        inputs: Iterable[Item],
        input_type: InputType,
        on_error: OnError,
        instruction: str | None = None,
        show_progress: bool = False,
        **form: Unpack[FormatOptions],
    ) -> tuple[VectorFormat, list[Request | InputError]]:
        """The format of a call's vectors, and what the server is asked for them."""
        vector_format = self._space.choose_format(**form)
        prepared = self.prepare(
            inputs, input_type=input_type, instruction=instruction, on_error=on_error, show_progress=show_progress
        )
        return vector_format, prepared

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Frameworks copy their chains; the copies share the connections.
        return self

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Another process connects anew.
        return reduce_model(self, self._origin)

    def close(self) -> None:
        """Closes the connections to the server; the next call opens others."""
        self._engine.connection.close()
