"""How the classes of this package name their model: by name, loaded at first use and shared; or a ready object.

Any number of embeddings, rerankers, retrievers and stores of one process that name the same model with the same options
hold one engine, whose concurrent callers share forward passes (`qwen3_vl_retrieval.share_embedder`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self, cast

from langchain_core.utils import secret_from_env
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from qwen3_vl_retrieval import (
    Embedder,
    FrameSampling,
    MediaPolicy,
    PixelBudget,
    Reranker,
    ShareOptions,
    adapt_embedder,
    adapt_reranker,
)
from qwen3_vl_retrieval.media import ImageReading

__all__ = ["EmbedderOptions", "ModelOptions", "RerankerOptions"]

_MODEL_NAMES = AliasChoices("model", "model_name")
_LOADING_OPTIONS = (
    "revision",
    "model_hub",
    "token",
    "device",
    "dtype",
    "quantization",
    "pixel_budget",
    "frame_sampling",
    "image_reading",
    "max_length",
    "max_batch_tokens",
)
"""What a ready object has already decided."""

_ENGINES = frozenset({"_embedder", "_reranker"})


class ModelOptions(BaseModel):
    """What embeddings and reranker have in common: how their model is loaded, and what it may open.

    Nothing is loaded before the first use. The weights are let go of when nobody holds an object that has used them.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    revision: str | None = Field(default=None, description="Commit, tag or branch of the hub; pin one for stores.")
    model_hub: Literal["huggingface", "modelscope"] = Field(default="huggingface", description="Where names are known.")
    token: SecretStr | None = Field(
        default_factory=secret_from_env("HF_TOKEN", default=None),
        description="Access token of the hub, for private models; by default the environment's `HF_TOKEN`.",
    )
    device: str | None = Field(
        default=None, description="`cuda`, `cuda:1`, `mps` or `cpu`; by default the first of these that exists."
    )
    dtype: str = Field(default="auto", description="`auto`, `float32`, `bfloat16` or `float16`.")
    quantization: str | None = Field(
        default=None, description="`bitsandbytes-4bit`, `bitsandbytes-8bit` or `torchao-int8`."
    )
    media_policy: MediaPolicy | None = Field(
        default=None,
        description="What may be opened; by default local files that the program names, and no URL. Beside a ready "
        "object, which has a policy of its own, this one is for pages of documents and for content blocks.",
    )
    pixel_budget: PixelBudget | None = Field(default=None, description="Limits on the pixels that the model sees.")
    frame_sampling: FrameSampling | None = Field(default=None, description="How frames are taken from clips.")
    image_reading: ImageReading = Field(
        default="viewer",
        description="`viewer`: images as a viewer shows them, upright and on white; `reference`: as the official "
        "scripts see them. It belongs to the fingerprint of a store.",
    )
    max_length: int | None = Field(default=None, description="Tokens of an item, or of a pair, at most.")
    max_batch_tokens: int | None = Field(default=None, description="Tokens of a forward pass at most.")

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Copies of a chain share its weights.
        return self.model_copy()

    def __getstate__(self) -> dict[Any, Any]:
        # A process that is sent this loads the model by its name.
        state = super().__getstate__()
        private: dict[str, Any] = state["__pydantic_private__"] or {}
        return state | {"__pydantic_private__": private | dict.fromkeys(_ENGINES & private.keys())}

    def _list_loading_options(self) -> ShareOptions:
        """What `share_embedder` and `share_reranker` take besides the name."""
        options: dict[str, Any] = {name: getattr(self, name) for name in _LOADING_OPTIONS}
        options["token"] = None if self.token is None else self.token.get_secret_value()
        return cast("ShareOptions", options | {"media_policy": self.media_policy})

    def _check_ready(self, model: object) -> None:
        """Raises `ValueError` for an option of loading beside a model that is loaded already."""
        excluded = [name for name in _LOADING_OPTIONS if name in self.model_fields_set]
        if excluded:
            raise ValueError(
                f"{excluded[0]} was given beside a ready {type(model).__name__}, which is loaded already; "
                "set it there, or give the name of the model"
            )


class EmbedderOptions(ModelOptions):
    """A model that embeds."""

    model: Any = Field(
        default="Qwen/Qwen3-VL-Embedding-2B",
        validation_alias=_MODEL_NAMES,
        description="Name on the hub, folder, `pocket`, or a ready object (`Qwen3VLEmbedder`, or any `Embedder`).",
    )

    _embedder: Embedder | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check_embedder(self) -> Self:
        if not isinstance(self.model, (str, Path)):
            try:
                self._embedder = adapt_embedder(self.model)
            except TypeError as error:
                # pydantic reports values that do not fit by this.
                raise ValueError(f"{error}; give one, a name, or a folder") from error
            self._check_ready(self.model)
        return self

    @property
    def model_name(self) -> str:
        """Name of the model, for reports and traces."""
        return str(self.model) if isinstance(self.model, (str, Path)) else self.embedder.fingerprint.model

    @property
    def embedder(self) -> Embedder:
        """The embedder, loaded at first use; the same object for all who name the same model and options.

        Raises:
            ModelError: The model cannot be found or loaded.
        """
        # Two threads may both come here; they are given one object.
        if self._embedder is None:
            # Loads torch, which this module does not.
            from qwen3_vl_retrieval import share_embedder

            # A ready object comes here where a copy or another process has let go of what was made of it.
            is_named = isinstance(self.model, (str, Path))
            self._embedder = (
                share_embedder(self.model, **self._list_loading_options()) if is_named else adapt_embedder(self.model)
            )
        return self._embedder


class RerankerOptions(ModelOptions):
    """A model that judges a document against a query."""

    model: Any = Field(
        default="Qwen/Qwen3-VL-Reranker-2B",
        validation_alias=_MODEL_NAMES,
        description="Name on the hub, folder, `pocket`, or a ready object (`Qwen3VLReranker`, or any `Reranker`).",
    )

    _reranker: Reranker | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check_reranker(self) -> Self:
        if not isinstance(self.model, (str, Path)):
            try:
                self._reranker = adapt_reranker(self.model, media_policy=self.media_policy)
            except TypeError as error:
                raise ValueError(f"{error}; give one, a name, or a folder") from error
            self._check_ready(self.model)
        return self

    @property
    def model_name(self) -> str:
        """Name of the model, for reports and traces."""
        return str(self.model) if isinstance(self.model, (str, Path)) else self.reranker.model_id

    @property
    def reranker(self) -> Reranker:
        """The reranker, loaded at first use; the same object for all who name the same model and options.

        Raises:
            ModelError: The model cannot be found or loaded.
        """
        if self._reranker is None:
            # Loads torch, which this module does not.
            from qwen3_vl_retrieval import share_reranker

            is_named = isinstance(self.model, (str, Path))
            self._reranker = (
                share_reranker(self.model, **self._list_loading_options())
                if is_named
                else adapt_reranker(self.model, media_policy=self.media_policy)
            )
        return self._reranker
