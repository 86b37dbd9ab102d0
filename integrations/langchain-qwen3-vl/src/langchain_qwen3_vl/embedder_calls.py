"""How embedders are called: those of the core with options and with other callers, those of the protocol with items."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, cast, get_args

import numpy as np
import numpy.typing as npt

from langchain_qwen3_vl.contents import Item
from qwen3_vl_retrieval import Embedder, InputError
from qwen3_vl_retrieval.errors import quote

__all__ = [
    "CallOptions",
    "Kind",
    "VectorOrError",
    "aembed_items",
    "check_kind",
    "embed_each",
    "embed_items",
    "takes_options",
]

Kind: TypeAlias = Literal["document", "query"]
"""What a vector is for: to be found, or to find others. Each has an instruction of its own."""

VectorOrError: TypeAlias = "npt.NDArray[np.float32] | InputError"


class CallOptions(TypedDict):
    """What embedders of the core take with each call."""

    dimensions: int | None
    instruction: str | None
    show_progress: bool


def check_kind(kind: str) -> None:
    """Passes silently if `kind` is one of `Kind`; raises `ValueError` otherwise."""
    if kind not in get_args(Kind):
        raise ValueError(f'kind={quote(kind)} is unknown; allowed are "document" and "query"')


def takes_options(embedder: object) -> bool:
    """Returns whether an embedder is one of the core, or like it; the protocol asks for items alone."""
    return all(callable(getattr(embedder, name, None)) for name in ("embed", "aembed", "compute_fingerprint"))


def embed_items(embedder: Embedder, items: Sequence[Item], kind: Kind, options: CallOptions) -> npt.NDArray[np.float32]:
    """Returns one vector per item, `(n, dimensions)`.

    Args:
        embedder: It; one of the protocol is not given the options.
        items: They.
        kind: What the vectors are for.
        options: Of the call.

    Raises:
        InputError: An item cannot be embedded; the message begins with its position.
    """
    call = embedder.embed_queries if kind == "query" else embedder.embed_documents
    vectors = cast("Any", call)(items, **options) if takes_options(embedder) else call(items)
    return np.asarray(vectors, dtype=np.float32)


async def aembed_items(
    embedder: Embedder, items: Sequence[Item], kind: Kind, options: CallOptions
) -> npt.NDArray[np.float32]:
    """Returns the same as `embed_items`, in forward passes shared with concurrent callers where the embedder can."""
    if not takes_options(embedder):
        return await asyncio.to_thread(embed_items, embedder, items, kind, options)
    core = cast("Any", embedder)
    if kind == "query" and options["instruction"] is None:
        options = {**options, "instruction": core.query_instruction}
    return np.asarray(await core.aembed(items, **options), dtype=np.float32)


def embed_each(embedder: Embedder, items: Sequence[Item], options: CallOptions) -> list[VectorOrError]:
    """Returns the vector of each document, or why it cannot be embedded; arguments as in `embed_items`."""
    if not items:
        return []
    if takes_options(embedder):
        return list(cast("Any", embedder).embed(items, on_error="return", **options))
    return _embed_each_plainly(embedder.embed_documents, items)


def _embed_each_plainly(embed: Callable[[Sequence[Item]], Any], items: Sequence[Item]) -> list[VectorOrError]:
    """By an embedder that stops at the first bad item: without it, again."""
    failed: dict[int, InputError] = {}
    while len(failed) < len(items):
        pending = [place for place in range(len(items)) if place not in failed]
        try:
            vectors = np.asarray(embed([items[place] for place in pending]), dtype=np.float32)
        except InputError as error:
            if error.index is None and len(pending) > 1:
                # It does not say which.
                return [outcome for item in items for outcome in _embed_each_plainly(embed, [item])]
            failed[pending[0 if error.index is None else error.index]] = error
        else:
            outcomes = failed | dict(zip(pending, vectors, strict=True))
            return [outcomes[place] for place in range(len(items))]
    return [failed[place] for place in range(len(items))]
