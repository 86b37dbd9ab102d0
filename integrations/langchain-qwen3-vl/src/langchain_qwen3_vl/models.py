"""The model of a class of this package: a name, loaded at first use and shared; a server's address; or a ready object.

Any number of embeddings, rerankers, retrievers and stores of one process that name the same model with the same options
hold one engine, whose concurrent callers share forward passes (`qwen3_vl_retrieval.share_embedder`,
`qwen3_vl_retrieval.remote.share_remote_embedder`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, cast, get_type_hints

from langchain_core.utils import secret_from_env
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PrivateAttr,
    SecretStr,
    model_validator,
)
from typing_extensions import TypedDict

from qwen3_vl_retrieval import MediaPolicy, Reranker, ShareOptions, adapt_reranker

__all__ = ["MODEL_NAMES", "NamedModel", "NamedReranker"]

MODEL_NAMES = AliasChoices("model", "model_name")

_LOADING_TYPES = {
    name: hint for name, hint in get_type_hints(ShareOptions).items() if name not in ("token", "media_policy")
}
"""The types of the loading options by name; the two others are fields of their own."""

# pydantic accepts no `TypedDict` of the standard library before Python 3.12.
_LoadingOptions: Any = TypedDict("_LoadingOptions", _LOADING_TYPES, total=False)  # pyright: ignore[reportArgumentType, reportGeneralTypeIssues]
_LoadingOptions.__pydantic_config__ = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class NamedModel(BaseModel, ABC):
    """A model that is named, and how it is loaded; or a ready object.

    The options of loading, `qwen3_vl_retrieval.ShareOptions`, are keyword arguments like the fields, and are collected
    in `loading_options`. Nothing is loaded before the first use. The weights are released when nobody holds an object
    that has used them.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    model: Any = Field(validation_alias=MODEL_NAMES, description="Name on the hub, folder, or a ready object.")
    loading_options: Annotated[ShareOptions, GetPydanticSchema(lambda _, handler: handler(_LoadingOptions))] = Field(
        default_factory=lambda: ShareOptions(),
        description="How the model is loaded and what it sees: `revision`, `device`, `dtype`, `pixel_budget`, … as in "
        "`qwen3_vl_retrieval.ShareOptions`. Each is a keyword argument, too: `device='cpu'`.",
    )
    token: SecretStr | None = Field(
        default_factory=secret_from_env("HF_TOKEN", default=None),
        description="Access token of the hub, for private models; by default the environment's `HF_TOKEN`.",
    )
    base_url: str | None = Field(
        default=None,
        description="Address of `qwen3vl serve`, or of a vLLM that serves the model: it computes there, and nothing is "
        "loaded here. `model` is then the checkpoint that tokenizer and sizes are read from; by default the server is "
        "asked.",
    )
    api_key: SecretStr | None = Field(
        default_factory=secret_from_env("QWEN3VL_API_KEY", default=None),
        description="Key of the server; by default the environment's `QWEN3VL_API_KEY`.",
    )
    media_policy: MediaPolicy | None = Field(
        default=None,
        description="What may be opened; by default local files that the program names, and no URL. Beside a ready "
        "object, which has a policy of its own, this one is for pages of documents and for content blocks.",
    )

    _engine: Any = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _collect_loading_options(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = dict(cast("Mapping[str, Any]", values))
        flat = {name: given.pop(name) for name in list(given) if name in _LOADING_TYPES}
        grouped = given.get("loading_options", {})
        if not flat or not isinstance(grouped, Mapping):
            return given
        twice = [name for name in flat if name in grouped]
        if twice:
            raise ValueError(f"{twice[0]} was given, and stands in loading_options, too; give it once")
        return given | {"loading_options": {**cast("Mapping[str, Any]", grouped), **flat}}

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        if self._is_named:
            return self
        try:
            self._engine = self._load()
        except TypeError as error:
            # pydantic reports values that do not fit by this.
            raise ValueError(f"{error}; give one, a name, or a folder") from error
        beside = {"token": self.token, "base_url": self.base_url, "api_key": self.api_key}
        # A key or token of the environment was not given for this object, and `None` is not given at all.
        named = [name for name, value in beside.items() if value is not None and name in self.model_fields_set]
        excluded = [*self.loading_options, *named]
        if excluded:
            raise ValueError(
                f"{excluded[0]} was given beside a ready {type(self.model).__name__}, which is loaded already; "
                "set it there, or give the name of the model"
            )
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Copies of a chain share its weights.
        return self.model_copy()

    def __getstate__(self) -> dict[Any, Any]:
        # A process that is sent this loads the model by its name.
        state = super().__getstate__()
        private: dict[str, Any] = state["__pydantic_private__"] or {}
        return state | {"__pydantic_private__": private | {"_engine": None}}

    @property
    def _is_named(self) -> bool:
        return isinstance(self.model, (str, Path))

    @property
    def _names_model(self) -> bool:
        """Whether `model` is its name, and not a default beside the address of a server that has another."""
        return self._is_named and (self.base_url is None or "model" in self.model_fields_set)

    @abstractmethod
    def _load(self) -> Any:
        """The model of this name and these options, or the ready object as the port has it."""

    def _list_share_options(self) -> ShareOptions:
        """What `share_embedder` and `share_reranker` take besides the name."""
        token = None if self.token is None else self.token.get_secret_value()
        return {**self.loading_options, "token": token, "media_policy": self.media_policy}

    def _list_remote_options(self) -> dict[str, Any]:
        """What `share_remote_embedder` and `share_remote_reranker` take besides the address."""
        return {
            **self._list_share_options(),
            "checkpoint": self.model if self._names_model else None,
            "api_key": None if self.api_key is None else self.api_key.get_secret_value(),
        }


class NamedReranker(NamedModel):
    """A model that judges a document against a query."""

    model: Any = Field(
        default="Qwen/Qwen3-VL-Reranker-2B",
        validation_alias=MODEL_NAMES,
        description="Name on the hub, folder, `pocket`, or a ready object (`Qwen3VLReranker`, or any `Reranker`).",
    )

    @property
    def model_name(self) -> str:
        """Name of the model, for reports and traces."""
        return str(self.model) if self._names_model else self.reranker.model_id

    @property
    def reranker(self) -> Reranker:
        """The reranker, loaded at first use; the same object for all who name the same model and options.

        Raises:
            ModelError: The model cannot be found or loaded.
        """
        if self._engine is None:
            self._engine = self._load()
        return self._engine

    def _load(self) -> Reranker:
        if not self._is_named:
            return adapt_reranker(self.model, media_policy=self.media_policy)
        if self.base_url is not None:
            from qwen3_vl_retrieval.remote import share_remote_reranker

            return share_remote_reranker(self.base_url, **self._list_remote_options())
        # Loads torch, which this module does not.
        from qwen3_vl_retrieval import share_reranker

        return share_reranker(self.model, **self._list_share_options())
