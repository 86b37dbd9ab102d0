"""What is imported when it is asked for first: public names of a package, and packages of an extra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from qwen3_vl_retrieval.errors import StoreError

__all__ = ["import_extra", "import_lazily"]


def import_lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package, so that importing it costs nothing.

    Args:
        package: Name of the package.
        modules: Module of each public name, below `qwen3_vl_retrieval`.
    """

    def get_name(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"qwen3_vl_retrieval.{modules[name]}"), name)

    return get_name


def import_extra(module: str, *, purpose: str, extra: str) -> Any:
    """Returns a module of an optional package, untyped.

    Args:
        module: Name of the module: `"scipy.stats"`.
        purpose: What needs it, in the plural, for the message: `"plots"`.
        extra: The extra that brings it.

    Raises:
        StoreError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise StoreError(f'{purpose} need {package}: pip install "qwen3-vl-retrieval[{extra}]"') from error
