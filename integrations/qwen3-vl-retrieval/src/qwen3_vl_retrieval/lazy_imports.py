"""Public names of a package whose modules are imported when a name is asked for first: importing costs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["import_lazily"]


def import_lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package.

    Args:
        package: Name of the package.
        modules: Module of each public name, below `qwen3_vl_retrieval`.
    """

    def get_name(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"qwen3_vl_retrieval.{modules[name]}"), name)

    return get_name
