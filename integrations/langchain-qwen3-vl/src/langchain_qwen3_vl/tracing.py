"""Embedding calls in LangSmith, and what traces say of media: what it is and how large, never the pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from langchain_core.messages import BaseMessage
from PIL import Image

from qwen3_vl_retrieval import MultimodalInput

__all__ = ["RecordVectors", "describe_item", "trace_embedding"]

RecordVectors: TypeAlias = Callable[[npt.NDArray[Any]], None]
"""Takes the vectors of a call; their number and length are recorded, not they."""

_MEDIA_KEYS = frozenset({"image", "video", "image_url", "video_url", "image_uri", "video_uri", "url", "base64", "data"})
"""Whose strings are paths, URLs or data, in items and content blocks of any version."""

_HASH_CHARACTERS = 12
_NAME_CHARACTERS = 200


def describe_item(value: object) -> Any:
    """Returns what a trace, a log or a message may show of an item: its texts, and what its media is.

    Bytes, images, arrays, base64 and `data:` URIs become short descriptions with size and the first digits of the
    SHA-256; of paths and URLs the name is kept, without the query of a URL, which may hold a signature. Everything that
    `LangChainItem` names keeps its form; what it does not name becomes the name of its type.

    Args:
        value: An item or a list of items.
    """
    return _describe(value, key="")


@contextmanager
def trace_embedding(
    items: Sequence[object], *, name: str, kind: str, model: str, dimensions: int | None
) -> Generator[RecordVectors, None, None]:
    """Records a call as a run of type `embedding`, where LangSmith is switched on; it is a child of the current run.

    The context is a function that takes the vectors.

    Args:
        items: What is embedded; recorded as `describe_item` has it.
        name: Name of the run.
        kind: `"document"` or `"query"`.
        model: Name of the model.
        dimensions: Length of vectors that was asked for; `None` is the model's own.
    """
    from langsmith import trace

    inputs = {"kind": kind, "items": [describe_item(item) for item in items]}
    about = {"ls_provider": "qwen3-vl", "ls_model_name": model, "dimensions": dimensions}
    with trace(name, run_type="embedding", inputs=inputs, metadata=about) as run:

        def record(vectors: npt.NDArray[Any]) -> None:
            run.end(outputs={"vectors": int(vectors.shape[0]), "dimensions": int(vectors.shape[-1])})

        yield record


def _describe(value: object, *, key: str) -> Any:
    """`key` is the name under which the value stands: a string is a text, a place, or data."""
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _describe_string(value, key=key)
        case Mapping():
            mapping = cast("Mapping[object, object]", value)
            return {str(name): _describe(inner, key=str(name)) for name, inner in mapping.items()}
        case list() | tuple():
            return [_describe(inner, key=key) for inner in cast("Sequence[object]", value)]
        case MultimodalInput():
            given = {field.name: getattr(value, field.name) for field in fields(value)}
            return _describe({name: inner for name, inner in given.items() if inner is not None}, key=key)
        case Document():
            return {"page_content": value.page_content, "metadata": _describe(value.metadata, key="")}
        case BaseMessage():
            return _describe(value.content, key=key)  # pyright: ignore[reportUnknownMemberType] - lists of bare dicts
        case _:
            return _describe_media(value)


def _describe_string(text: str, *, key: str) -> str:
    header, comma, _ = text[:_NAME_CHARACTERS].partition(",")
    if text[:5].lower() == "data:" and comma:
        return f"{header}, {len(text):,} characters, {_hash(text.encode())}"
    if key in ("base64", "data"):
        return f"{key}, {len(text):,} characters, {_hash(text.encode())}"
    if key in _MEDIA_KEYS:
        return _shorten(text.partition("?")[0] if "://" in text else text)
    return text


def _describe_media(value: object) -> str:
    match value:
        case bytes() | bytearray() | memoryview():
            content = bytes(cast("bytes", value))
            return f"{len(content):,} bytes, {_hash(content)}"
        case Path():
            return _shorten(str(value))
        case Image.Image():
            return f"image, {value.width}x{value.height} {value.mode}"
        case np.ndarray():
            array = cast("npt.NDArray[Any]", value)
            return f"array, {'x'.join(map(str, array.shape))} {array.dtype}, {_hash(array.tobytes())}"
        case Blob():
            if value.data is None:
                return f"{value.mimetype}, {_shorten(str(value.path))}"
            return f"{value.mimetype}, {_describe_media(value.as_bytes())}"
        case _:
            return type(value).__name__


def _hash(content: bytes) -> str:
    return f"sha256 {hashlib.sha256(content).hexdigest()[:_HASH_CHARACTERS]}"


def _shorten(name: str) -> str:
    return name if len(name) <= _NAME_CHARACTERS else name[: _NAME_CHARACTERS - 1] + "…"
