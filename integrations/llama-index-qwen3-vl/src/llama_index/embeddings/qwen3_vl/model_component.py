"""The model of a `Qwen3VLEmbedding` or `Qwen3VLRerank`: a name, loaded at first use and shared, or a ready object.

Any number of embeddings, rerankers, retrievers and indexes of one process that name the same model with the same
options hold one engine, whose concurrent callers share forward passes (`qwen3_vl_retrieval.share_embedder`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self, cast, get_type_hints

from llama_index.core.schema import BaseComponent
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_serializer,
    model_validator,
)
from pydantic_core import PydanticSerializationError, to_jsonable_python

from qwen3_vl_retrieval import MediaPolicy, ShareOptions
from qwen3_vl_retrieval.errors import quote

__all__ = ["ModelComponent", "ModelOptions"]

_OPTION_TYPES: dict[str, TypeAdapter[Any]] = {
    name: TypeAdapter(kind)
    for name, kind in get_type_hints(ShareOptions).items()
    # They have fields of their own.
    if name not in ("token", "media_policy")
}


class ModelOptions(ShareOptions, total=False):
    """The options of `share_embedder` and `share_reranker`, which the constructors take by name; any other fails."""

    token: str | SecretStr | None  # pyright: ignore[reportIncompatibleVariableOverride] - LlamaIndex hides secrets so
    api_base: str | None
    api_key: str | SecretStr | None
    callback_manager: Any


def _check_loading_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options with values of their types; `None` is the default of each, and is left out."""
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _OPTION_TYPES:
            raise ValueError(f"{quote(name)} is not a loading option; allowed are {', '.join(sorted(_OPTION_TYPES))}")
        try:
            option = _OPTION_TYPES[name].validate_python(value)
            to_jsonable_python(option)
        except ValidationError as error:
            raise ValueError(f"{name}={quote(value)}: {error.errors()[0]['msg']}") from error
        except PydanticSerializationError as error:
            raise ValueError(f"{name} is {type(value).__name__}, which cannot be serialised; give its name") from error
        if option is not None:
            checked[name] = option
    return checked


def _read_api_key() -> SecretStr | None:
    key = os.environ.get("QWEN3VL_API_KEY")
    return SecretStr(key) if key else None


class ModelComponent(BaseComponent):
    """A component with a model, which is named and loaded at first use, or given ready.

    The weights are let go of when nobody holds an object that has used them. Copies share them; another process, which
    is sent the options without token and key, loads the model by its name.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    loading_options: Annotated[dict[str, Any], BeforeValidator(_check_loading_options)] = Field(
        default_factory=dict[str, Any],
        description="How the model is loaded and what it sees: the options of `qwen3_vl_retrieval.ShareOptions` that "
        "the constructor takes by name, such as `device`, `dtype` and `pixel_budget`.",
    )
    token: SecretStr | None = Field(
        default=None,
        exclude=True,
        description="Access token of the hub, for private models; by default the hub's own (`HF_TOKEN`, or a login). "
        "It is left out wherever this is serialised.",
    )
    api_base: str | None = Field(
        default=None,
        description="Address of `qwen3vl serve`, or of a vLLM that serves the model: it computes there, and nothing is "
        "loaded here. The model's name is then the checkpoint that tokenizer and sizes are read from; by default the "
        "server is asked.",
    )
    api_key: SecretStr | None = Field(
        default_factory=_read_api_key,
        exclude=True,
        description="Key of the server; by default the environment's `QWEN3VL_API_KEY`. It is left out "
        "wherever this is serialised.",
    )
    media_policy: MediaPolicy | None = Field(
        default=None,
        description="What may be opened; by default local files that the program names, and no URL. Beside a ready "
        "object, which has a policy of its own, this one is for pages of PDFs and for data in nodes.",
    )

    _ready_name: ClassVar[str]
    """Name of the argument that takes a ready object."""

    _engine: Any = PrivateAttr(default=None)
    """What computes; `None` before the first use of a model that is named."""

    _ready: Any = PrivateAttr(default=None)
    """The object that was given in place of a name."""

    @model_validator(mode="before")
    @classmethod
    def _collect_loading_options(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = cast("Mapping[str, Any]", values)
        named = {name: value for name, value in given.items() if name in _OPTION_TYPES}
        if not named:
            return given
        others = {name: value for name, value in given.items() if name not in named}
        return {**others, "loading_options": {**others.get("loading_options", {}), **named}}

    @field_serializer("media_policy", "loading_options")
    def _serialize_options(self, options: Any) -> Any:
        return to_jsonable_python(options)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()

    def __getstate__(self) -> dict[str, Any]:
        """What a process is sent: neither weights nor token; a ready object goes along, by the name of its argument."""
        bare = self.model_copy()
        # LlamaIndex tries to pickle every attribute, and would try to pickle weights.
        bare._engine, bare._ready, bare.token, bare.api_key = None, None, None, None
        state = super(ModelComponent, bare).__getstate__()
        if self._ready is not None:
            state["__dict__"][self._ready_name] = self._ready
        return state

    def _list_share_options(self) -> ShareOptions:
        """What `share_embedder` and `share_reranker` take besides the name."""
        token = None if self.token is None else self.token.get_secret_value()
        return cast("ShareOptions", {**self.loading_options, "token": token, "media_policy": self.media_policy})

    def _list_remote_options(self, field: str) -> dict[str, Any]:
        """What `share_remote_embedder` and `share_remote_reranker` take besides the address.

        Args:
            field: Name of the field that names the model.
        """
        return {
            **self._list_share_options(),
            "checkpoint": getattr(self, field) if field in self.model_fields_set else None,
            "api_key": None if self.api_key is None else self.api_key.get_secret_value(),
        }

    def _accept_ready(self, ready: object, engine: Any, *, field: str, name: str) -> None:
        """Keeps a ready object and its name; raises `ValueError` for another name or an option of loading beside it."""
        beside = {"token": self.token, "api_base": self.api_base, "api_key": self.api_key}
        # A key of the environment was not given for this object.
        named = [name for name, value in beside.items() if value is not None and name in self.model_fields_set]
        given = [*self.loading_options, *named]
        if given:
            raise ValueError(
                f"{given[0]} was given beside a ready {type(ready).__name__}, which is loaded already; "
                "set it there, or give the name of the model"
            )
        own_name = getattr(self, field)
        if field in self.model_fields_set and own_name != name:
            raise ValueError(
                f"{field}={quote(own_name)} was given beside a ready object of {quote(name)}; give one of them"
            )
        self._engine, self._ready = engine, ready
        setattr(self, field, name)
