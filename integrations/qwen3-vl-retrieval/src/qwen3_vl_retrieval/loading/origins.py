"""By what a model was loaded, so that another process can load it again: pickles carry no weights."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

__all__ = ["ModelOrigin", "reduce_model"]


class ModelOrigin:
    """A call that loads a model.

    Args:
        load: Returns the model; found by its name in the other process.
        name_or_path: Name or path of the model.
        options: Options of the call. An access token or a key is left out: it is read from the environment there.
    """

    def __init__(self, load: Callable[..., Any], name_or_path: str, options: Mapping[str, Any]) -> None:
        self._load = load
        self._name_or_path = name_or_path
        self._options = {name: value for name, value in options.items() if name not in ("token", "api_key")}

    def change(self, options: Mapping[str, Any]) -> ModelOrigin:
        """Returns the call with some options replaced."""
        return ModelOrigin(self._load, self._name_or_path, {**self._options, **options})

    def reduce(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Returns what `__reduce__` does: how the model is loaded again."""
        return partial(self._load, **self._options), (self._name_or_path,)


def reduce_model(model: object, origin: ModelOrigin | None) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Returns what the `__reduce__` of a model does.

    Raises:
        PicklingError: The model was built around ready weights, and nobody knows where they came from.
    """
    if origin is None:
        kind = type(model).__name__
        raise pickle.PicklingError(
            f"this {kind} was built around a model that was loaded already, and pickles carry no weights: load it with "
            f"{kind}.from_pretrained, which another process can repeat, or give the name of the model to each process"
        )
    return origin.reduce()
