"""The run-time checker of tensor shapes while tests run: beartype, on functions that annotate a shape.

Functions without shapes are left alone, because tests pass wrong types on purpose to see our own errors.
"""

from __future__ import annotations

import re
from typing import Any

from beartype import BeartypeConf, beartype

_SHAPED = re.compile(r"\b(Float|Float32|Int32|Int64|UInt8|Bool)\[")
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check_shapes(function: Any) -> Any:
    annotations = getattr(function, "__annotations__", {})
    return _check(function) if any(_SHAPED.search(str(kind)) for kind in annotations.values()) else function
