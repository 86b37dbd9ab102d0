"""Text, pictures, clips and mixtures of them to vectors of one space."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, Unpack, overload

import numpy.typing as npt
from transformers import PreTrainedModel, ProcessorMixin

from qwen3_vl_retrieval.engine.engine import Engine
from qwen3_vl_retrieval.engine.requests.builder import Contents, OnOverflow, Request
from qwen3_vl_retrieval.engine.scheduling.outcome import OnError, Outcome, check_on_error, raise_first_failure
from qwen3_vl_retrieval.engine.statistics import EngineStatistics
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.items import CoercedInput, Item, check_instruction, list_items
from qwen3_vl_retrieval.loading import Choices, ModelHub, check_model, hash_parameters, load_model, name_quantization
from qwen3_vl_retrieval.loading.origins import ModelOrigin, reduce_model
from qwen3_vl_retrieval.media import FrameSampling, ImageReading, MediaPolicy, PixelBudget
from qwen3_vl_retrieval.media.images import check_image_reading
from qwen3_vl_retrieval.outputs.pooling import check_dimensions
from qwen3_vl_retrieval.outputs.precision import Precision, check_precision
from qwen3_vl_retrieval.outputs.vectors import VectorFormat
from qwen3_vl_retrieval.prompting.prompts import (
    DEFAULT_INSTRUCTION,
    DEFAULT_QUERY_INSTRUCTION,
    PROMPT_VERSION,
    normalize_instruction,
)

__all__ = ["MAX_LENGTH", "EmbedOptions", "Qwen3VLEmbedder"]

MAX_LENGTH = 8192
"""Default tokens of an item: `MAX_LENGTH` of the official `qwen3_vl_embedding.py` at commit 8ce3aab."""


class EmbedOptions(TypedDict, total=False):
    """The options of `Qwen3VLEmbedder.embed`, which describes them; any other fails."""

    instruction: str | None
    dimensions: int | None
    precision: Precision
    normalize: bool
    show_progress: bool


class Qwen3VLEmbedder:
    """Embeds text, pictures, clips and mixtures with a Qwen3-VL-Embedding model.

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
        frame_sampling: How frames are taken from clips; `None` likewise.
        image_reading: `"viewer"`: images as a viewer shows them, upright, on white where they are transparent, in
            sRGB; `"reference"`: as the official scripts see them. It belongs to the fingerprint; docs/semantics.md
            lists the differences.
        max_length: Tokens of an item at most, up to 32,768.
        on_overflow: `"fit"` cuts text from its end and gives pictures and clips fewer pixels and frames, with one
            warning a call; `"error"` raises `InputTooLongError`.
        max_batch_tokens: Tokens of a forward pass at most; `None` chooses by device. Halved when memory runs out.
        compile_layers: Whether the layers of the language model are compiled at the first batch, which takes a minute:
            for programs that run for long.
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
        max_length: int = MAX_LENGTH,
        on_overflow: OnOverflow = "fit",
        max_batch_tokens: int | None = None,
        compile_layers: bool = False,
        choices: Choices | None = None,
    ) -> None:
        base_model = check_model(model)
        self.pixel_budget = PixelBudget() if pixel_budget is None else pixel_budget
        self.frame_sampling = FrameSampling() if frame_sampling is None else frame_sampling
        self.image_reading = check_image_reading(image_reading)
        self.media_policy = MediaPolicy() if media_policy is None else media_policy
        self._engine = Engine(
            base_model,
            processor,
            role="item",
            media_policy=self.media_policy,
            pixel_budget=self.pixel_budget,
            frame_sampling=self.frame_sampling,
            image_reading=self.image_reading,
            max_length=max_length,
            on_overflow=on_overflow,
            max_batch_tokens=max_batch_tokens,
            # Documents are embedded once.
            vision_cache_bytes=0,
            compile_layers=compile_layers,
        )
        self._dimensions = check_dimensions(dimensions, hidden_size=self._engine.hidden_size)
        self.document_instruction = normalize_instruction(document_instruction, default=DEFAULT_INSTRUCTION)
        self.query_instruction = normalize_instruction(query_instruction, default=DEFAULT_QUERY_INSTRUCTION)
        self._max_length = max_length
        self._model_id = Path(base_model.config.name_or_path or "").name if model_id is None else model_id
        self._revision = hash_parameters(base_model) if revision is None else revision
        self._origin: ModelOrigin | None = None
        self.model = base_model
        self.processor = processor
        self.choices = choices

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        model_hub: ModelHub = "huggingface",
        token: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        device: str | None = None,
        dtype: str = "auto",
        attn_implementation: str = "auto",
        quantization: Any | None = None,
        dimensions: int | None = None,
        document_instruction: str = DEFAULT_INSTRUCTION,
        query_instruction: str = DEFAULT_QUERY_INSTRUCTION,
        media_policy: MediaPolicy | None = None,
        pixel_budget: PixelBudget | None = None,
        frame_sampling: FrameSampling | None = None,
        image_reading: ImageReading = "viewer",
        max_length: int = MAX_LENGTH,
        on_overflow: OnOverflow = "fit",
        max_batch_tokens: int | None = None,
        compile_layers: bool = False,
    ) -> Self:
        """Returns an embedder with the weights of a model hub or a folder.

        The arguments from `dimensions` on are those of the class.

        Args:
            name_or_path: Hub id (`"Qwen/Qwen3-VL-Embedding-2B"`), folder, or `"pocket"`.
            revision: Commit, tag or branch of the hub; pin a commit for vectors that stay comparable.
            model_hub: `"huggingface"` or `"modelscope"`.
            token: Access token of the hub, for private models.
            cache_dir: Where downloads are kept.
            local_files_only: Never contact the hub.
            device: `"cuda"`, `"cuda:1"`, `"mps"`, `"cpu"`; `None` takes the first of these that exists.
            dtype: `"auto"` (bfloat16 where the hardware runs it natively, else float32), `"float32"`, `"bfloat16"`
                or `"float16"`.
            attn_implementation: `"auto"` (PyTorch's, for which rows are packed without padding), or a name that
                transformers knows, whose padded forward pass is taken then.
            quantization: `"bitsandbytes-4bit"`, `"bitsandbytes-8bit"`, `"torchao-int8"` or a configuration object of
                transformers; the vision tower is left as it is.

        Raises:
            ModelError: The model cannot be found or loaded, or weights are missing.
        """
        loaded = load_model(
            name_or_path,
            kind="embedding",
            revision=revision,
            model_hub=model_hub,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            device=device,
            dtype=dtype,
            attn_implementation=attn_implementation,
            quantization=quantization,
        )
        # Quantised weights make other vectors than the stored ones.
        suffix = "" if quantization is None else f"+{name_quantization(quantization)}"
        built = cls(
            loaded.model,
            loaded.processor,
            model_id=loaded.checkpoint.model_id,
            revision=loaded.checkpoint.revision + suffix,
            dimensions=dimensions,
            document_instruction=document_instruction,
            query_instruction=query_instruction,
            media_policy=media_policy,
            pixel_budget=loaded.defaults.pixel_budget if pixel_budget is None else pixel_budget,
            frame_sampling=loaded.defaults.frame_sampling if frame_sampling is None else frame_sampling,
            image_reading=image_reading,
            max_length=max_length,
            on_overflow=on_overflow,
            max_batch_tokens=max_batch_tokens,
            compile_layers=compile_layers,
            choices=loaded.choices,
        )
        built._origin = ModelOrigin(
            cls.from_pretrained,
            str(name_or_path),
            {
                "revision": revision,
                "model_hub": model_hub,
                "cache_dir": cache_dir,
                "local_files_only": local_files_only,
                "device": device,
                "dtype": dtype,
                "attn_implementation": attn_implementation,
                "quantization": quantization,
                "dimensions": dimensions,
                "document_instruction": document_instruction,
                "query_instruction": query_instruction,
                "media_policy": media_policy,
                "pixel_budget": pixel_budget,
                "frame_sampling": frame_sampling,
                "image_reading": image_reading,
                "max_length": max_length,
                "on_overflow": on_overflow,
                "max_batch_tokens": max_batch_tokens,
                "compile_layers": compile_layers,
            },
        )
        return built

    def share_origin(self, other: Self, limits: dict[str, Any]) -> None:
        """Notes that the weights are those of `other`: a pickle of this loads them by the same name, with `limits`."""
        self._origin = None if other._origin is None else other._origin.change(limits)

    def __copy__(self) -> Self:
        # Any number of threads may use one model; a copy would only take its memory again.
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Frameworks copy their chains; the copies share the weights.
        return self

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return reduce_model(self, self._origin)

    @property
    def dimensions(self) -> int:
        """Length of a vector unless a call asks for another."""
        return self._dimensions

    @property
    def max_batch_tokens(self) -> int:
        """Tokens of a forward pass at most; lower than at first if memory has run out."""
        return self._engine.executor.max_batch_tokens

    @property
    def stats(self) -> EngineStatistics:
        """What has been computed so far; the difference of two is what happened between them."""
        return self._engine.statistics

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors of `embed_documents` with the default options."""
        return self.compute_fingerprint()

    def compute_fingerprint(
        self, *, dimensions: int | None = None, precision: Precision = "float32", instruction: str | None = None
    ) -> Fingerprint:
        """Returns the identity of vectors that `embed` would return with these options."""
        budget, sampling = self.pixel_budget, self.frame_sampling
        return Fingerprint(
            model=self._model_id,
            revision=self._revision,
            dimensions=self._format(dimensions, precision, True).dimensions,
            precision=precision,
            instruction=normalize_instruction(instruction, default=self.document_instruction),
            pixel_budget=budget.describe(),
            frame_sampling=sampling.describe(),
            max_length=self._max_length,
            prompt_version=PROMPT_VERSION,
            image_reading=self.image_reading,
        )

    def prepare(
        self,
        inputs: Iterable[Item],
        *,
        instruction: str | None = None,
        on_error: OnError = "raise",
        show_progress: bool = False,
    ) -> list[Request | InputError]:
        """Returns what `embed` would compute, read, sized and tokenised: `len(request)` is an item's token count.

        The arguments are those of `embed`.

        Raises:
            InputError: An item cannot be embedded; the message begins with its position.
        """
        check_instruction(instruction)
        call_instruction = normalize_instruction(instruction, default=self.document_instruction)

        def build(contents: Contents, item: CoercedInput) -> Request:
            own = normalize_instruction(item.instruction, default=call_instruction)
            return self._engine.builder.build_item(contents, instruction=own)

        check_on_error(on_error)
        prepared = self._engine.prepare(list_items(inputs), build, show_progress=show_progress)
        if on_error == "raise":
            raise_first_failure([request for request in prepared if isinstance(request, InputError)])
        return prepared

    @overload
    def embed(
        self, inputs: Iterable[Item], *, on_error: Literal["raise"] = "raise", **options: Unpack[EmbedOptions]
    ) -> npt.NDArray[Any]: ...

    @overload
    def embed(
        self, inputs: Iterable[Item], *, on_error: Literal["return"], **options: Unpack[EmbedOptions]
    ) -> list[npt.NDArray[Any] | InputError]: ...

    def embed(
        self,
        inputs: Iterable[Item],
        *,
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
        form = self._format(dimensions, precision, normalize)
        prepared = self.prepare(inputs, instruction=instruction, on_error=on_error, show_progress=show_progress)
        outcome = self._engine.run(prepared, show_progress=show_progress, description="embedding")
        return self._finish(outcome, form, on_error)

    def embed_prepared(
        self, prepared: Sequence[Request | InputError], *, on_error: OnError = "raise"
    ) -> npt.NDArray[Any] | list[npt.NDArray[Any] | InputError]:
        """Returns the vectors of what `prepare` returned, in its order, with the default options of `embed`.

        With the two apart, a thread can read the next items while this computes; see `qwen3_vl_retrieval.index`.

        Raises:
            InputError: One of `prepared` is an error, and `on_error` is `"raise"`.
        """
        check_on_error(on_error)
        return self._finish(self._engine.run(prepared), self._format(None, "float32", True), on_error)

    def embed_queries(self, inputs: Iterable[Item], **options: Unpack[EmbedOptions]) -> npt.NDArray[Any]:
        """Returns the same as `embed`, with `query_instruction` where neither call nor item has an instruction."""
        instruction = options.pop("instruction", None)
        check_instruction(instruction)
        options["instruction"] = normalize_instruction(instruction, default=self.query_instruction)
        return self.embed(inputs, **options)

    def embed_documents(self, inputs: Iterable[Item], **options: Unpack[EmbedOptions]) -> npt.NDArray[Any]:
        """Returns the same as `embed`, with `document_instruction` where neither call nor item has an instruction."""
        return self.embed(inputs, **options)

    @overload
    async def aembed(
        self, inputs: Iterable[Item], *, on_error: Literal["raise"] = "raise", **options: Unpack[EmbedOptions]
    ) -> npt.NDArray[Any]: ...

    @overload
    async def aembed(
        self, inputs: Iterable[Item], *, on_error: Literal["return"], **options: Unpack[EmbedOptions]
    ) -> list[npt.NDArray[Any] | InputError]: ...

    async def aembed(
        self,
        inputs: Iterable[Item],
        *,
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
        form = self._format(dimensions, precision, normalize)
        prepared = await asyncio.to_thread(
            self.prepare, inputs, instruction=instruction, on_error=on_error, show_progress=show_progress
        )
        return self._finish(await self._engine.run_shared(prepared), form, on_error)

    def _format(self, dimensions: int | None, precision: Precision, normalize: bool) -> VectorFormat:
        wanted = self._dimensions if dimensions is None else dimensions
        length = check_dimensions(wanted, hidden_size=self._engine.hidden_size)
        check_precision(precision, dimensions=length, normalize=normalize)
        return VectorFormat(dimensions=length, precision=precision, normalize=normalize)

    def _finish(
        self, outcome: Outcome, form: VectorFormat, on_error: OnError
    ) -> npt.NDArray[Any] | list[npt.NDArray[Any] | InputError]:
        outcome.raise_failures(on_error)
        vectors = form.apply(outcome.hidden_states)
        return vectors if on_error == "raise" else outcome.place_failures(vectors)
