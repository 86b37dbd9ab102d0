"""How many floating point operations items take, counted from the numbers of a shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qwen3_vl_retrieval.engine.requests.builder import Request

_PATCH_VALUES = 3 * 2 * 16 * 16
"""Of a patch: three colours, two frames (of a picture twice the same), 16 x 16 pixels."""

_PATCHES_PER_TOKEN = 4


def count_request_operations(shape: Mapping[str, Mapping[str, Any]], request: Request) -> int:
    """Returns the floating point operations of what an embedder has prepared."""
    grids = [(media.slot.height * media.slot.width, media.pair_count) for media in request.media]
    pictures = [_PATCHES_PER_TOKEN * tokens for tokens, pairs in grids for _ in range(pairs)]
    text_tokens = len(request) - sum(pictures) // _PATCHES_PER_TOKEN
    return count_operations(shape, pictures=pictures, text_tokens=text_tokens)


def count_operations(shape: Mapping[str, Mapping[str, Any]], *, pictures: Sequence[int], text_tokens: int) -> int:
    """Returns the floating point operations of a prompt with pictures: matrix products and attention, nothing else.

    A multiplication and an addition are two. Counted is the forward pass as the model defines it: who leaves out a part
    of it (we: most of the last layer, and the system prompt after the first item) is credited with it. Transformers'
    forward pass has exactly as many by torch's `FlopCounterMode`, if of causal attention the masked half is left out,
    which torch counts (`tests/docs/test_speed_benchmarks.py`).

    Args:
        shape: One of `SHAPES`.
        pictures: Patches of each picture or pair of frames: four for each of its tokens.
        text_tokens: Of the prompt, beside those of the pictures.
    """
    tokens = sum(pictures) // _PATCHES_PER_TOKEN + text_tokens
    vision = sum(_count_vision(shape["vision"], patches, width=shape["text"]["hidden"]) for patches in pictures)
    return vision + _count_language(shape["text"], tokens)


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
