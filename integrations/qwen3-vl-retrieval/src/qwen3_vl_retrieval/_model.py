"""What embedder and reranker in process have in common: weights with an engine, loaded by name, shared by copies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from transformers import PreTrainedModel, ProcessorMixin

from qwen3_vl_retrieval.engine.engine import Engine
from qwen3_vl_retrieval.engine.statistics import EngineStatistics
from qwen3_vl_retrieval.loading import Choices, LoadedModel, check_model, load_model
from qwen3_vl_retrieval.loading.origins import ModelOrigin, reduce_model
from qwen3_vl_retrieval.media import FrameSampling, ImageReading, MediaPolicy, PixelBudget
from qwen3_vl_retrieval.media.images import check_image_reading
from qwen3_vl_retrieval.options import LoadOptions, ModelKind, OnOverflow, PairTruncation, split_options
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer

__all__ = ["ModelInProcess"]


class ModelInProcess(ABC):
    """A Qwen3-VL model in this process, ready to compute; the base of `Qwen3VLEmbedder` and `Qwen3VLReranker`.

    Attributes:
        model: The `Qwen3VLModel`.
        processor: Its `Qwen3VLProcessor`.
        pixel_budget: Limits on the pixels that the model sees.
        frame_sampling: How frames are taken from videos.
        image_reading: How images are read.
        choices: What `from_pretrained` chose (device, dtype, attention), each with its reason.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        *,
        role: str,
        model_id: str | None,
        media_policy: MediaPolicy | None,
        pixel_budget: PixelBudget | None,
        frame_sampling: FrameSampling | None,
        image_reading: ImageReading,
        max_length: int,
        on_overflow: OnOverflow,
        max_batch_tokens: int | None,
        vision_cache_bytes: int | None,
        choices: Choices | None,
        pair_truncation: PairTruncation = "longest_first",
    ) -> None:
        self.model = check_model(model)
        self.processor = processor
        self._model_id = Path(self.model.config.name_or_path or "").name if model_id is None else model_id
        self._media_policy = MediaPolicy() if media_policy is None else media_policy
        self.pixel_budget = PixelBudget() if pixel_budget is None else pixel_budget
        self.frame_sampling = FrameSampling() if frame_sampling is None else frame_sampling
        self.image_reading: ImageReading = check_image_reading(image_reading)
        self.choices = choices
        self._max_length = max_length
        self._origin: ModelOrigin | None = None
        self._engine = Engine(
            self.model,
            processor,
            role=role,
            media_policy=self._media_policy,
            pixel_budget=self.pixel_budget,
            frame_sampling=self.frame_sampling,
            image_reading=self.image_reading,
            max_length=max_length,
            on_overflow=on_overflow,
            pair_truncation=pair_truncation,
            max_batch_tokens=max_batch_tokens,
            vision_cache_bytes=vision_cache_bytes,
        )

    @classmethod
    def _load(
        cls,
        name_or_path: str | Path,
        kind: ModelKind,
        options: Mapping[str, Any],
        own_options: type,
        build: Callable[[LoadedModel, dict[str, Any]], Self],
    ) -> Self:
        """Returns what `build` makes of the weights of a name and of the options that are not about loading."""
        loading, own = split_options(options, LoadOptions, own_options)
        loaded = load_model(name_or_path, kind=kind, **loading)
        for name in ("pixel_budget", "frame_sampling"):
            if own.get(name) is None:
                own[name] = getattr(loaded.defaults, name)
        built = build(loaded, own)
        built._origin = ModelOrigin(cls.from_pretrained, str(name_or_path), options)
        return built

    @classmethod
    @abstractmethod
    def from_pretrained(cls, name_or_path: str | Path, **options: Any) -> Self:
        """Returns the model with the weights of a model hub or a folder."""

    def share_origin(self, other: Self, limits: Mapping[str, Any]) -> None:
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
    def model_id(self) -> str:
        """Name of the model."""
        return self._model_id

    @property
    def tokenizer(self) -> PromptTokenizer:
        """Makes tokens of prompts."""
        return self._engine.preparer.builder.tokenizer

    @property
    def hidden_size(self) -> int:
        """Length of the model's states."""
        return self._engine.hidden_size

    @property
    def max_length(self) -> int:
        """Tokens of an item, or of a pair, at most."""
        return self._max_length

    @property
    def media_policy(self) -> MediaPolicy:
        """What may be opened."""
        return self._media_policy

    @property
    def max_batch_tokens(self) -> int:
        """Tokens of a forward pass at most; lower than at first if memory has run out."""
        return self._engine.executor.max_batch_tokens

    @property
    def stats(self) -> EngineStatistics:
        """What has been computed so far; the difference of two is what happened between them."""
        return self._engine.statistics
