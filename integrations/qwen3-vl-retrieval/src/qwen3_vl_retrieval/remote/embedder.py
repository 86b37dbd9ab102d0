"""An embedder whose model computes elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

import numpy.typing as npt

from qwen3_vl_retrieval.engine.requests.builder import Request, RequestBuilder
from qwen3_vl_retrieval.engine.requests.media_reader import MediaReader
from qwen3_vl_retrieval.engine.requests.outcome import form_vectors
from qwen3_vl_retrieval.engine.requests.preparation import RequestPreparer
from qwen3_vl_retrieval.engine.statistics import StatisticsRecorder
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.items import ImageReading, Item, OnError, check_on_error
from qwen3_vl_retrieval.loading.origins import ModelOrigin, reduce_model
from qwen3_vl_retrieval.media import FrameSampling, MediaPolicy, PixelBudget
from qwen3_vl_retrieval.media.images import check_image_reading
from qwen3_vl_retrieval.options import (
    EMBEDDING_MAX_LENGTH,
    EmbeddingOptions,
    InputType,
    OnOverflow,
    Precision,
    VectorOptions,
    split_options,
)
from qwen3_vl_retrieval.prompting.prompts import DEFAULT_INSTRUCTION, DEFAULT_QUERY_INSTRUCTION
from qwen3_vl_retrieval.protocols import Embedder, implements
from qwen3_vl_retrieval.remote.checkpoint import RemoteCheckpoint
from qwen3_vl_retrieval.remote.connecting import ConnectingOptions, connect_engine
from qwen3_vl_retrieval.remote.engine import RemoteEngine
from qwen3_vl_retrieval.remote.self_test import SelfTest
from qwen3_vl_retrieval.vector_space import VectorSpace

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
        dimensions: Default length of a vector; `None` is the hidden size.
        document_instruction: Instruction of `embed` and `embed_documents`.
        query_instruction: Instruction of `embed_queries`.
        media_policy: What may be opened; by default local files, no URLs.
        pixel_budget: Limits on the pixels that the model sees; `None` takes the checkpoint's.
        frame_sampling: How frames are taken from videos; `None` likewise.
        image_reading: How images are read, as in `Qwen3VLEmbedder`.
        max_length: Tokens of an item at most, up to 32,768, and to what the server takes.
        on_overflow: `"fit"` shortens what is too long, with one warning a call; `"error"` raises `InputTooLongError`.

    Raises:
        ValueError: An option is out of range.
    """

    def __init__(
        self,
        engine: RemoteEngine,
        checkpoint: RemoteCheckpoint,
        *,
        self_test: SelfTest | None = None,
        dimensions: int | None = None,
        document_instruction: str = DEFAULT_INSTRUCTION,
        query_instruction: str = DEFAULT_QUERY_INSTRUCTION,
        media_policy: MediaPolicy | None = None,
        pixel_budget: PixelBudget | None = None,
        frame_sampling: FrameSampling | None = None,
        image_reading: ImageReading = "viewer",
        max_length: int = EMBEDDING_MAX_LENGTH,
        on_overflow: OnOverflow = "fit",
    ) -> None:
        self.self_test = self_test
        self._origin: ModelOrigin | None = None
        self._engine = engine
        self._media_policy = MediaPolicy() if media_policy is None else media_policy
        self._space = VectorSpace(
            model_id=checkpoint.model_id,
            revision=checkpoint.revision,
            hidden_size=checkpoint.hidden_size,
            dimensions=dimensions,
            document_instruction=document_instruction,
            query_instruction=query_instruction,
            pixel_budget=checkpoint.defaults.pixel_budget if pixel_budget is None else pixel_budget,
            frame_sampling=checkpoint.defaults.frame_sampling if frame_sampling is None else frame_sampling,
            image_reading=check_image_reading(image_reading),
            max_length=max_length,
        )
        reader = MediaReader(
            policy=self._media_policy,
            budget=self._space.pixel_budget,
            sampling=self._space.frame_sampling,
            reading=self._space.image_reading,
        )
        builder = RequestBuilder(checkpoint.tokenizer, reader, max_length=max_length, on_overflow=on_overflow)
        self._preparer = RequestPreparer(builder, role="item", statistics=StatisticsRecorder())

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
        instruction: str | None = None,
        dimensions: int | None = None,
        precision: Precision = "float32",
        normalize: bool = True,
        on_error: OnError = "raise",
        show_progress: bool = False,
    ) -> npt.NDArray[Any] | list[npt.NDArray[Any] | InputError]:
        """Returns one vector per item, `(n, dimensions)`, as `Qwen3VLEmbedder.embed` does.

        Raises:
            InputError: An item cannot be embedded; the message begins with its position.
            RemoteError: The server cannot be reached, or keeps failing.
            ValueError: An option is out of range.
        """
        form = self._space.choose_format(dimensions=dimensions, precision=precision, normalize=normalize)
        prepared = self.prepare(
            inputs, input_type=input_type, instruction=instruction, on_error=on_error, show_progress=show_progress
        )
        outcome = self._engine.run(prepared, show_progress=show_progress, description="embedding")
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
        instruction: str | None = None,
        dimensions: int | None = None,
        precision: Precision = "float32",
        normalize: bool = True,
        on_error: OnError = "raise",
        show_progress: bool = False,
    ) -> npt.NDArray[Any] | list[npt.NDArray[Any] | InputError]:
        """Returns the same as `embed`; cancelling ends the requests that are under way.

        `show_progress` covers reading only.
        """
        form = self._space.choose_format(dimensions=dimensions, precision=precision, normalize=normalize)
        prepared = await asyncio.to_thread(
            self.prepare,
            inputs,
            input_type=input_type,
            instruction=instruction,
            on_error=on_error,
            show_progress=show_progress,
        )
        return form_vectors(await self._engine.run_shared(prepared), form, on_error)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Frameworks copy their chains; the copies share the connections.
        return self

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Another process connects anew.
        return reduce_model(self, self._origin)

    def close(self) -> None:
        """Closes the connections to the server; the next call opens others."""
        self._engine.connection.close()
