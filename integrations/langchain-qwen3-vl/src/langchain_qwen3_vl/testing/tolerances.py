"""How far numbers of equal items may lie apart: batches of other sizes round otherwise, in steps of the precision."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

__all__ = ["TOLERANCES", "Precision"]

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]
"""What a model computes in."""

# Half precision: a number has eight bits in bfloat16. With the pocket models, probabilities moved by up to 0.0027 among
# other documents and numbers of a vector by up to 0.0023 among other callers; larger models round more often.
# `benchmarks/rounding.py` measures it.
TOLERANCES: Mapping[Precision, float] = MappingProxyType({"float32": 1e-4, "bfloat16": 2e-2, "float16": 2e-2})
"""Bounds on the difference of a number of a vector, or of a probability."""
