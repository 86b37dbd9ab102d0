"""How many floating point operations a page takes, counted from the numbers of a shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PATCH_VALUES = 3 * 2 * 16 * 16
"""Of a patch: three colours, two frames (of a picture twice the same), 16 x 16 pixels."""

_PATCHES_PER_TOKEN = 4


def count_page_operations(shape: Mapping[str, Mapping[str, Any]], *, patches: int, text_tokens: int) -> int:
    """Returns the floating point operations of a picture in a prompt: matrix products and attention, nothing else.

    A multiplication and an addition are two. Counted is the forward pass as the model defines it: who leaves out a part
    of it (we: most of the last layer, and the system prompt after the first item) is credited with it. Transformers'
    forward pass has exactly as many by torch's `FlopCounterMode`, if of causal attention the masked half is left out,
    which torch counts (`tests/docs/test_speed_benchmarks.py`).

    Args:
        shape: One of `SHAPES`.
        patches: Of the picture: four for each of its tokens.
        text_tokens: Of the prompt, beside those of the picture.
    """
    tokens = patches // _PATCHES_PER_TOKEN + text_tokens
    return _count_vision(shape["vision"], patches, width=shape["text"]["hidden"]) + _count_language(
        shape["text"], tokens
    )


def _count_vision(vision: Mapping[str, Any], patches: int, *, width: int) -> int:
    hidden, intermediate = vision["hidden"], vision["intermediate"]
    embedding = patches * _PATCH_VALUES * hidden
    products = patches * (3 * hidden**2 + hidden**2 + 2 * hidden * intermediate)
    # Queries with keys, and weights with values.
    attention = 2 * patches**2 * hidden
    merged = _PATCHES_PER_TOKEN * hidden
    merger = patches // _PATCHES_PER_TOKEN * (merged**2 + merged * width)
    mergers = 1 + len(vision["deep"])
    return 2 * (embedding + vision["depth"] * (products + attention) + mergers * merger)


def _count_language(text: Mapping[str, Any], tokens: int) -> int:
    hidden, queries, keys = text["hidden"], text["heads"] * text["head"], text["kv_heads"] * text["head"]
    products = tokens * (2 * hidden * queries + 2 * hidden * keys + 3 * hidden * text["intermediate"])
    # A token sees itself and those before it.
    attention = 2 * queries * tokens * (tokens + 1) // 2
    return 2 * text["layers"] * (products + attention)
