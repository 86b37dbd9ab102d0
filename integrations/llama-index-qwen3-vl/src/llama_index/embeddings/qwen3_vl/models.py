"""How the classes of this package name their model: by name, loaded at first use and shared; or a ready object.

Any number of embeddings, rerankers, retrievers and indexes of one process that name the same model with the same
options hold one engine, whose concurrent callers share forward passes (`qwen3_vl_retrieval.share_embedder`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self, cast

from llama_index.core.schema import BaseComponent
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, field_serializer

from llama_index.embeddings.qwen3_vl.nodes import CaptionMode
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
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.media import ImageReading

__all__ = [
    "EmbedderOptions",
    "EmbeddingOptions",
    "LoadingOptions",
    "ModelOptions",
    "RerankerOptions",
]

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

_ENGINES = ("_embedder", "_reranker")


class LoadingOptions(ShareOptions, total=False):
    """The options of `ModelOptions`, which describes them; any other fails."""

    token: str | SecretStr | None  # pyright: ignore[reportIncompatibleVariableOverride] - LlamaIndex hides secrets so


class EmbeddingOptions(LoadingOptions, total=False):
    """The options of `Qwen3VLEmbedding` besides the model; its fields describe them, and any other fails."""

    dimensions: int | None
    query_instruction: str | None
    text_instruction: str | None
    caption_mode: CaptionMode
    embed_batch_size: int
    callback_manager: Any
    num_workers: int | None
    embeddings_cache: Any
    rate_limiter: Any


class ModelOptions(BaseComponent):
    """What embedding and reranker have in common: how their model is loaded, and what it may open.

    Nothing is loaded before the first use. The weights are let go of when nobody holds an object that has used them.
    Copies share them; another process, which is sent the options without the token, loads the model by its name.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    revision: str | None = Field(default=None, description="Commit, tag or branch of the hub; pin one for stores.")
    model_hub: Literal["huggingface", "modelscope"] = Field(default="huggingface", description="Where names are known.")
    token: SecretStr | None = Field(
        default=None,
        exclude=True,
        description="Access token of the hub, for private models; by default the hub's own (`HF_TOKEN`, or a login). "
        "It is left out wherever this is serialised.",
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
        "object, which has a policy of its own, this one is for pages of PDFs and for data in nodes.",
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

    _ready: Any = PrivateAttr(default=None)
    """The object that was given in place of a name."""

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()

    def _list_state(self, name: str) -> dict[str, Any]:
        """What a process is sent: neither weights nor token; a ready object goes along, as the option `name`."""
        bare = self.model_copy()
        for engine in _ENGINES:
            if engine in type(self).__private_attributes__:
                setattr(bare, engine, None)
        bare._ready = None
        bare.token = None
        # LlamaIndex tries to pickle every attribute, and would try to pickle weights.
        state = super(ModelOptions, bare).__getstate__()
        if self._ready is not None:
            state["__dict__"][name] = self._ready
        return state

    @field_serializer("media_policy")
    def _serialize_media_policy(self, policy: MediaPolicy | None) -> dict[str, Any] | None:
        if policy is None:
            return None
        values = {name: getattr(policy, name) for name in policy.__dataclass_fields__}
        folders: Sequence[str | Path] | None = policy.allow_dirs
        return values | {
            "allow_hosts": list(policy.allow_hosts),
            "allow_dirs": None if folders is None else [str(folder) for folder in folders],
        }

    def _list_loading_options(self) -> ShareOptions:
        """What `share_embedder` and `share_reranker` take besides the name."""
        options: dict[str, Any] = {name: getattr(self, name) for name in _LOADING_OPTIONS}
        options["token"] = None if self.token is None else self.token.get_secret_value()
        return cast("ShareOptions", options | {"media_policy": self.media_policy})

    def _accept(self, ready: object) -> None:
        """Keeps a ready object; raises `ValueError` for an option of loading beside it."""
        fields = type(self).model_fields
        given = [name for name in _LOADING_OPTIONS if getattr(self, name) != fields[name].default]
        if given:
            raise ValueError(
                f"{given[0]} was given beside a ready {type(ready).__name__}, which is loaded already; "
                "set it there, or give the name of the model"
            )
        self._ready = ready

    def _find_name(self, field: str, own: str) -> str:
        """The name of a ready object; raises `ValueError` if another was given beside it."""
        named = getattr(self, field)
        if field in self.model_fields_set and named != own:
            raise ValueError(
                f"{field}={quote(named)} was given beside a ready object of {quote(own)}; give one of them"
            )
        return own


class EmbedderOptions(ModelOptions):
    """A model that embeds."""

    model_name: str = Field(
        default="Qwen/Qwen3-VL-Embedding-2B", description="Name on the hub, folder, or `pocket`; see `embedder`."
    )

    _embedder: Embedder | None = PrivateAttr(default=None)

    def __getstate__(self) -> dict[str, Any]:
        return self._list_state("embedder")

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

            is_named = self._ready is None
            self._embedder = (
                share_embedder(self.model_name, **self._list_loading_options())
                if is_named
                else adapt_embedder(self._ready)
            )
        return self._embedder

    def _accept_embedder(self, ready: object) -> None:
        try:
            self._embedder = adapt_embedder(ready)
        except TypeError as error:
            raise ValueError(f"{error}; give one, a name, or a folder") from error
        self._accept(ready)
        self.model_name = self._find_name("model_name", self.embedder.fingerprint.model)


class RerankerOptions(ModelOptions):
    """A model that judges a document against a query."""

    model: str = Field(
        default="Qwen/Qwen3-VL-Reranker-2B", description="Name on the hub, folder, or `pocket`; see `reranker`."
    )

    _reranker: Reranker | None = PrivateAttr(default=None)

    def __getstate__(self) -> dict[str, Any]:
        return self._list_state("reranker")

    @property
    def reranker(self) -> Reranker:
        """The reranker, loaded at first use; the same object for all who name the same model and options.

        Raises:
            ModelError: The model cannot be found or loaded.
        """
        if self._reranker is None:
            # Loads torch, which this module does not.
            from qwen3_vl_retrieval import share_reranker

            is_named = self._ready is None
            self._reranker = (
                share_reranker(self.model, **self._list_loading_options())
                if is_named
                else adapt_reranker(self._ready, media_policy=self.media_policy)
            )
        return self._reranker

    def _accept_reranker(self, ready: object) -> None:
        try:
            self._reranker = adapt_reranker(ready, media_policy=self.media_policy)
        except TypeError as error:
            raise ValueError(f"{error}; give one, a name, or a folder") from error
        self._accept(ready)
        self.model = self._find_name("model", self.reranker.model_id)
