"""Text, images, videos and mixtures of them to vectors of one space."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32
from transformers import PreTrainedModel, ProcessorMixin

from qwen3_vl_retrieval._model import ModelInProcess
from qwen3_vl_retrieval.engine.requests.builder import Request
from qwen3_vl_retrieval.engine.requests.outcome import form_vectors
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.items import (
    ImageReading,
    Item,
    OnError,
    check_on_error,
)
from qwen3_vl_retrieval.loading import Choices, LoadedModel, hash_parameters, name_quantization
from qwen3_vl_retrieval.media import FrameSampling, MediaPolicy, PixelBudget
from qwen3_vl_retrieval.options import (
    EMBEDDING_MAX_LENGTH,
    EmbedderOptions,
    InputType,
    LoadOptions,
    OnOverflow,
    Precision,
    VectorOptions,
)
from qwen3_vl_retrieval.outputs.vectors import VectorSpace
from qwen3_vl_retrieval.prompting.prompts import (
    DEFAULT_INSTRUCTION,
    DEFAULT_QUERY_INSTRUCTION,
)
from qwen3_vl_retrieval.protocols import CountedVectors, Embedder, implements

__all__ = ["Qwen3VLEmbedder"]


class EmbedderLoadOptions(EmbedderOptions, LoadOptions, total=False):
    """The options of `Qwen3VLEmbedder.from_pretrained`."""


class Qwen3VLEmbedder(ModelInProcess, Embedder):
    """Embeds text, images, videos and mixtures with a Qwen3-VL-Embedding model.

    Vectors are the state of the trailing end-of-text token, cut to `dimensions` (Matryoshka) and scaled to unit
    length, so that a dot product is a cosine. One instance may be used from any number of threads and event loops.

    Args:
        model: A ready `Qwen3VLModel` or `Qwen3VLForConditionalGeneration` in evaluation mode.
        processor: Its `Qwen3VLProcessor`.
        model_id: Name of the model in the fingerprint; the last part of the name that the model was loaded by, if not
            given.
        revision: Commit or weight hash in the fingerprint; a hash of the parameters if not given. To open a store that
            `from_pretrained` wrote, give its `model` and `revision`.
        dimensions: Default length of a vector; `None` is the hidden size.
        document_instruction: Instruction of `embed` and `embed_documents`.
        query_instruction: Instruction of `embed_queries`.
        media_policy: What may be opened; by default local files, no URLs.
        pixel_budget: Limits on the pixels that the model sees; `None` takes the official scripts', and with
            `from_pretrained` those of the checkpoint's `retrieval_config.json`, if it has one.
        frame_sampling: How frames are taken from videos; `None` likewise.
        image_reading: `"viewer"`: images as a viewer shows them, upright, on white where they are transparent, in
            sRGB; `"reference"`: as the official scripts see them. It belongs to the fingerprint; docs/semantics.md
            lists the differences.
        max_length: Tokens of an item at most, up to 32,768.
        on_overflow: `"fit"` cuts text from its end and gives images and videos fewer pixels and frames, with one
            warning a call; `"error"` raises `InputTooLongError`.
        max_batch_tokens: Tokens of a forward pass at most; `None` chooses by device. Halved when memory runs out.
        choices: What `from_pretrained` chose (device, dtype, attention), each with its reason.

    Raises:
        ModelError: The model or processor is not of the Qwen3-VL family.
        ValueError: An option is out of range.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        *,
        model_id: str | None = None,
        revision: str | None = None,
        dimensions: int | None = None,
        document_instruction: str = DEFAULT_INSTRUCTION,
        query_instruction: str = DEFAULT_QUERY_INSTRUCTION,
        media_policy: MediaPolicy | None = None,
        pixel_budget: PixelBudget | None = None,
        frame_sampling: FrameSampling | None = None,
        image_reading: ImageReading = "viewer",
        max_length: int = EMBEDDING_MAX_LENGTH,
        on_overflow: OnOverflow = "fit",
        max_batch_tokens: int | None = None,
        choices: Choices | None = None,
    ) -> None:
        super().__init__(
            model,
            processor,
            role="item",
            model_id=model_id,
            media_policy=media_policy,
            pixel_budget=pixel_budget,
            frame_sampling=frame_sampling,
            image_reading=image_reading,
            max_length=max_length,
            on_overflow=on_overflow,
            max_batch_tokens=max_batch_tokens,
            # Documents are embedded once.
            vision_cache_bytes=0,
            choices=choices,
        )
        self._space = VectorSpace(
            model_id=self.model_id,
            revision=hash_parameters(self.model) if revision is None else revision,
            hidden_size=self._engine.hidden_size,
            dimensions=dimensions,
            document_instruction=document_instruction,
            query_instruction=query_instruction,
            pixel_budget=self.pixel_budget,
            frame_sampling=self.frame_sampling,
            image_reading=self.image_reading,
            max_length=max_length,
        )

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, **options: Unpack[EmbedderLoadOptions]) -> Self:
        """Returns an embedder with the weights of a model hub or a folder.

        ```python
        embedder = Qwen3VLEmbedder.from_pretrained("Qwen/Qwen3-VL-Embedding-2B", device="cuda", dimensions=1024)
        ```

        Args:
            name_or_path: Hub id (`"Qwen/Qwen3-VL-Embedding-2B"`), folder, or `"pocket"`.
            **options: How the model is loaded, see `LoadOptions`, and those of the class.

        Raises:
            ModelError: The model cannot be found or loaded, or weights are missing.
            TypeError: An option does not exist.
        """

        def build(loaded: LoadedModel, own: dict[str, Any]) -> Self:
            quantization = options.get("quantization")
            # Quantised weights make other vectors than the stored ones.
            suffix = "" if quantization is None else f"+{name_quantization(quantization)}"
            return cls(
                loaded.model,
                loaded.processor,
                model_id=loaded.checkpoint.model_id,
                revision=loaded.checkpoint.revision + suffix,
                choices=loaded.choices,
                **own,
            )

        return cls._load(name_or_path, "embedding", options, EmbedderOptions, build)

    @property
    def dimensions(self) -> int:
        """Length of a vector unless a call asks for another."""
        return self._space.dimensions

    @property
    def document_instruction(self) -> str:
        """Instruction of `embed` and `embed_documents`."""
        return self._space.document_instruction

    @property
    def query_instruction(self) -> str:
        """Instruction of `embed_queries`."""
        return self._space.query_instruction

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors of `embed_documents` with the default options."""
        return self.compute_fingerprint()

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
        """Returns what `embed` would compute, read, sized and tokenised: `len(request)` is an item's token count.

        The arguments are those of `embed`.

        Raises:
            InputError: An item cannot be embedded; the message begins with its position.
        """
        return self._engine.preparer.prepare_items(
            inputs,
            instruction=self._space.choose_instruction(instruction, input_type),
            on_error=on_error,
            show_progress=show_progress,
        )

    def tokenize(
        self, inputs: Iterable[Item], *, input_type: InputType = "document", instruction: str | None = None
    ) -> list[list[int]]:
        """Returns the token ids of the prompt of each item as it would be embedded, placeholders of images included.

        The arguments are those of `embed`.

        Raises:
            InputError: An item cannot be embedded; the message begins with its position.
        """
        prepared = self.prepare(inputs, input_type=input_type, instruction=instruction)
        return [request.tokens.token_ids.tolist() for request in prepared if isinstance(request, Request)]

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
        """Returns one vector per item, `(n, dimensions)`; row i is item i.

        All items are read and checked before the first forward pass.

        Args:
            inputs: Items, see `Item`; a `str` is always text.
            input_type: Whether `document_instruction` or `query_instruction` holds where none is given.
            instruction: What the items are to be represented for; an item's own instruction goes before it.
            dimensions: Length of a vector, from 32 to the hidden size.
            precision: Number format, see `quantize_embeddings`; `binary` and `ubinary` return `dimensions / 8` bytes.
            normalize: Scale to unit length after cutting.
            on_error: `"raise"` raises the first bad item's error; `"return"` computes the others and returns a list
                with the error in place of each bad item's vector.
            show_progress: Show a progress bar for reading and one for computing.

        Raises:
            InputError: An item cannot be embedded; the message begins with its position.
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
        """Returns the vectors of what `prepare` returned, in its order, with the default options of `embed`.

        With the two apart, a thread can read the next items while this computes; see `qwen3_vl_retrieval.index`.

        Raises:
            InputError: One of `prepared` is an error, and `on_error` is `"raise"`.
        """
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
        """Returns the same as `embed`, in forward passes shared with concurrent callers; may be cancelled.

        `show_progress` covers reading only: the forward passes belong to all callers.
        """
        form = self._space.choose_format(dimensions=dimensions, precision=precision, normalize=normalize)
        prepare = partial(
            self.prepare,
            inputs,
            input_type=input_type,
            instruction=instruction,
            on_error=on_error,
            show_progress=show_progress,
        )
        prepared = await self._engine.prepare_shared(prepare)
        return form_vectors(await self._engine.run_shared(prepared), form, on_error)

    @implements(Embedder.aembed_counted)
    async def aembed_counted(
        self,
        inputs: Iterable[Item],
        *,
        input_type: InputType = "document",
        instruction: str | None = None,
        dimensions: int | None = None,
        precision: Precision = "float32",
        normalize: bool = True,
        show_progress: bool = False,
    ) -> CountedVectors:
        """Returns the same as `aembed`, with the number of tokens of each item as it was embedded."""
        form = self._space.choose_format(dimensions=dimensions, precision=precision, normalize=normalize)
        prepare = partial(
            self.prepare, inputs, input_type=input_type, instruction=instruction, show_progress=show_progress
        )
        prepared = await self._engine.prepare_shared(prepare)
        counts = [len(request) for request in prepared if isinstance(request, Request)]
        return CountedVectors(form.apply(await self.acompute_states(prepared)), counts)

    async def acompute_states(self, prepared: Sequence[Request | InputError]) -> Float32[np.ndarray, "requests hidden"]:
        """Returns the states of what `prepare` returned, uncut and unscaled, one row each; for servers.

        Raises:
            InputError: One of `prepared` is an error, or cannot be computed; the message begins with its position.
        """
        outcome = await self._engine.run_shared(prepared)
        outcome.raise_failures("raise")
        return outcome.values
