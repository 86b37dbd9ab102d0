"""The packages of the extra `[evaluation]`, which are imported where they are used."""

from __future__ import annotations

from functools import partial

from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["import_package"]

import_package = partial(import_extra, extra="evaluation")
"""Returns a module of the extra, untyped; see `import_extra`."""
