"""Items embedded for a route, whichever family it belongs to."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.items import Item, TextPart, coerce_input
from qwen3_vl_retrieval.options import InputType, Precision
from qwen3_vl_retrieval.protocols import CountedVectors
from qwen3_vl_retrieval.server.context import ServerContext
from qwen3_vl_retrieval.server.request_errors import RequestError
from qwen3_vl_retrieval.server.request_items import read_items

__all__ = ["check_count", "embed_values", "encode_base64"]


async def embed_values(
    context: ServerContext,
    values: Sequence[object],
    read: Callable[[object], Item],
    *,
    input_type: InputType,
    instruction: str | None = None,
    dimensions: int | None = None,
    precisions: Sequence[Precision] = ("float32",),
) -> CountedVectors:
    """Returns vectors in float32, in forward passes shared with other requests.

    Args:
        context: The server.
        values: What a list of the request holds.
        read: Makes an item of a value; see `RequestItems`.
        input_type: What the vectors are for.
        instruction: What the items are to be represented for; `None` is the embedder's own.
        dimensions: Length of a vector; `None` is the embedder's own.
        precisions: The formats into which the caller will bring them: checked before anything is computed.

    Raises:
        RequestError: There is no embedder (404), an option is out of range (400), or there are too many items or too
            long texts (413).
        InputError: An item cannot be read or embedded; the message begins with its position.
    """
    embedder = context.require_embedder()
    try:
        for precision in precisions:
            embedder.compute_fingerprint(
                input_type=input_type, instruction=instruction, dimensions=dimensions, precision=precision
            )
    except ValueError as error:
        raise RequestError(400, str(error)) from None
    check_count(context, len(values))
    async with context.admission.take_turn(items=len(values)):
        items = await read_items(values, read)
        await _check_tokens(context, items, input_type=input_type, instruction=instruction)
        counted = await embedder.aembed_counted(
            items, input_type=input_type, instruction=instruction, dimensions=dimensions
        )
    context.metrics.count_items("embedded", len(values))
    return counted


def check_count(context: ServerContext, count: int) -> None:
    """Raises `RequestError` (413) if there are more than `max_items`."""
    most = context.limits.max_items
    if count > most:
        raise RequestError(413, f"there are {count:,} items, and a request may hold {most:,}; send them in several")


def encode_base64(vectors: npt.NDArray[Any]) -> list[str]:
    """Returns each vector as base64 of its numbers in float32, little-endian."""
    return [base64.b64encode(vector.tobytes()).decode("ascii") for vector in np.asarray(vectors, dtype="<f4")]


async def _check_tokens(
    context: ServerContext, items: Sequence[Item], *, input_type: InputType, instruction: str | None
) -> None:
    """Refuses texts that are too long together; they are counted only if they could be."""
    most = context.limits.max_tokens
    texts = [[part.text for part in coerce_input(item).parts if isinstance(part, TextPart)] for item in items]
    joined = ["".join(parts) for parts in texts]
    # No tokenizer makes more tokens of a text than it has bytes.
    if context.tokenize is None or 4 * sum(map(len, joined)) <= most:
        return
    counted = await asyncio.to_thread(_count_tokens, context.tokenize, joined, input_type, instruction)
    if counted > most:
        raise RequestError(
            413, f"the texts have {counted:,} tokens, above the {most:,} of a request; send them in several"
        )


def _count_tokens(
    tokenize: Callable[..., list[list[int]]], texts: list[str], input_type: InputType, instruction: str | None
) -> int:
    return sum(map(len, tokenize(texts, input_type=input_type, instruction=instruction)))
