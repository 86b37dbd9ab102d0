"""The packages of the extras `[evaluation]` and `[mteb]`, which are imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from qwen3_vl_retrieval.errors import StoreError

__all__ = ["import_package"]


def import_package(module: str, *, purpose: str, extra: Literal["evaluation", "mteb"] = "evaluation") -> Any:
    """Returns a module of an extra, untyped.

    Args:
        module: Name of the module: `"scipy.stats"`.
        purpose: What needs it, in the plural, for the message: `"plots"`.
        extra: The extra that brings it.

    Raises:
        StoreError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise StoreError(f'{purpose} need {package}: pip install "qwen3-vl-retrieval[{extra}]"') from error
