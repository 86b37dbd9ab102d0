"""The packages of the extras `[evaluation]` and `[mteb]`, which are imported where they are used."""

from __future__ import annotations

from typing import Any, Literal

from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["import_package"]


def import_package(module: str, *, purpose: str, extra: Literal["evaluation", "mteb"] = "evaluation") -> Any:
    """Returns a module of an extra, untyped; see `import_extra`."""
    return import_extra(module, purpose=purpose, extra=extra)
