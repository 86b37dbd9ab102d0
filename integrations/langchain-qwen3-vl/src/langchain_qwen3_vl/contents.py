"""What may stand where LangChain says text, brought into the one form that the models take.

LangChain passes queries along untouched. Nothing is opened, except the PDF of a document that is a page of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict, cast

import numpy as np
import numpy.typing as npt
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from langchain_core.messages import BaseMessage
from PIL import Image

from langchain_qwen3_vl.content_blocks import read_block, shorten_text
from qwen3_vl_retrieval import InputError, MediaPolicy, MultimodalInput
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import build_item

__all__ = [
    "SINGLE_SOURCES",
    "ClipOptions",
    "Item",
    "LangChainItem",
    "MediaSource",
    "coerce_each",
    "coerce_item",
    "coerce_items",
    "wrap_media",
]

Item: TypeAlias = "str | Path | Image.Image | Mapping[str, Any] | MultimodalInput"
"""What the methods of the core take as one item."""

LangChainItem: TypeAlias = (
    "str | Path | Image.Image | Mapping[str, Any] | Sequence[Any] | Document | Blob | BaseMessage | MultimodalInput"
)
"""What is accepted as one item wherever LangChain says text.

A `str` is always text. A mapping has the official keys (`text`, `image`, `video`, `instruction`, `fps`, `max_frames`,
`start`, `end`) or is one content block, which has a `type`. A sequence holds content blocks and texts in reading order.
A message is its content. A `Document` is what its metadata say, see `qwen3_vl_retrieval.index.build_item`.
"""

MediaSource: TypeAlias = "str | Path | bytes | Image.Image | npt.NDArray[Any] | Blob"
"""A picture or clip where nothing else is expected; a `str` is a path or URI here."""

SINGLE_SOURCES = (str, Path, bytes, Image.Image, np.ndarray, Blob)
"""The types of `MediaSource`: anything else is a list of them."""


class ClipOptions(TypedDict, total=False):
    """Of a clip: frames sampled per second, frames at most, and the window in seconds."""

    fps: float | None
    max_frames: int | None
    start: float | None
    end: float | None


_ALLOWED = (
    "allowed are str (text), pathlib.Path, PIL.Image, a dict with the keys text, image and video, a content block or a "
    "list of them, Document, Blob, a message and MultimodalInput"
)


def coerce_item(
    value: object,
    *,
    media_key: str | None = None,
    media_policy: MediaPolicy | None = None,
    render_pages: bool = True,
) -> Item:
    """Returns what an embedder or reranker of the core takes for `value`.

    Content blocks come with messages, and messages from outside: their `url` may be a `data:` URI or a URL that the
    policy allows, and a local file only where `media_policy` names the folders (`allow_dirs`). A program that names
    its own files gives `{"image": path}`.

    Args:
        value: See `LangChainItem`.
        media_key: Name of a metadatum that holds the picture or clip of a `Document`.
        media_policy: What may be opened; `None` is any local file that the program itself names, and no URL.
        render_pages: As in `build_item`, of a `Document`.

    Raises:
        InputError: The value is of no known kind, or a content block is of a kind that models do not take.
        MediaPolicyError: A block names a local file, or holds more than `max_bytes`; or the PDF of a page is refused.
        MediaError: The page of a `Document` cannot be read.
    """
    match value:
        case str() | Path() | Image.Image() | MultimodalInput():
            return value
        case Document():
            return _read_document(value, media_key, media_policy, render_pages=render_pages)
        case Blob():
            return _read_blob(value)
        case BaseMessage():
            return coerce_item(value.content, media_policy=media_policy)  # pyright: ignore[reportUnknownMemberType] - lists of bare dicts
        case Mapping():
            mapping = cast("Mapping[str, Any]", value)
            return MultimodalInput(parts=[read_block(mapping, media_policy)]) if "type" in mapping else mapping
        case Sequence() if not isinstance(value, (bytes, bytearray, memoryview)):
            return _join_parts(cast("Sequence[object]", value), media_policy)
        case _:
            raise InputError(f"got {_describe(value)}; {_ALLOWED}. Wrap bytes as {{'image': …}} or {{'video': …}}")


def coerce_items(
    values: Iterable[object], *, media_key: str | None = None, media_policy: MediaPolicy | None = None
) -> list[Item]:
    """Returns what the core takes for each of `values`, in their order; see `coerce_item`.

    Raises:
        InputError: One of the values is of no known kind; the message begins with its position. Or `values` is a
            single item, whose letters, keys or blocks would be taken for items.
    """
    return [_place(coerce_item, value, place, media_key, media_policy) for place, value in enumerate(_list(values))]


def coerce_each(
    values: Iterable[object],
    *,
    media_key: str | None = None,
    media_policy: MediaPolicy | None = None,
    render_pages: bool = True,
) -> list[Item | InputError]:
    """Returns the same as `coerce_items`, with the error of each value of no known kind in its place."""
    coerced: list[Item | InputError] = []
    for value in _list(values):
        try:
            coerced.append(
                coerce_item(value, media_key=media_key, media_policy=media_policy, render_pages=render_pages)
            )
        except InputError as error:
            coerced.append(error)
    return coerced


def wrap_media(source: object, medium: Literal["image", "video"], options: ClipOptions | None = None) -> Item:
    """Returns the item of one picture or clip.

    Args:
        source: See `MediaSource`; of a clip also a list of frames.
        medium: Which of the two it is.
        options: Of a clip.

    Raises:
        InputError: A `Blob` is of another kind.
    """
    if isinstance(source, Blob):
        item = _read_blob(source)
        found: object = item.get(medium) if isinstance(item, Mapping) else item
        if not isinstance(found, (Path, bytes)):
            raise InputError(f"a Blob of mimetype={quote(source.mimetype)} was given as {medium}")
        source = found
    given = {name: value for name, value in (options or {}).items() if value is not None}
    return {medium: source, **given}


def _place(
    coerce: Callable[..., Item], value: object, place: int, media_key: str | None, media_policy: MediaPolicy | None
) -> Item:
    try:
        return coerce(value, media_key=media_key, media_policy=media_policy)
    except InputError as error:
        raise error.at(place) from error


def _list(values: Iterable[object]) -> list[object]:
    """The values as a list; what is one item by itself, and happens to be iterable, is refused."""
    single = (str, bytes, Path, Mapping, Image.Image, MultimodalInput, Document, Blob, BaseMessage, np.ndarray)
    if isinstance(values, single) or not isinstance(values, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not use a type checker
        shown = _describe(cast("object", values))
        raise InputError(f"expected a list of items, got {shown}; wrap a single item in a list: [item]")
    return list(values)


def _read_document(
    document: Document, media_key: str | None, media_policy: MediaPolicy | None, *, render_pages: bool
) -> Item:
    try:
        return build_item(
            document.page_content,
            document.metadata,
            policy=media_policy,
            media_key=media_key,
            render_pages=render_pages,
        )
    except (TypeError, ValueError) as error:
        # Metadata written by others, such as seconds that are no number.
        raise InputError(f"the metadata of the document are not understood: {error}") from error


def _read_blob(blob: Blob) -> Item:
    """Data goes before the path, as in `Blob.as_bytes`."""
    kind = (blob.mimetype or "").partition("/")[0]
    if blob.data is None and kind not in ("image", "video", "text") and blob.path is not None:
        return Path(blob.path)
    if kind == "text" or (isinstance(blob.data, str) and not kind):
        return blob.as_string()
    if kind not in ("image", "video"):
        raise InputError(
            f"a Blob of mimetype={quote(blob.mimetype)} is no picture, clip or text; name what it is: "
            "Blob.from_data(data, mime_type='image/png')"
        )
    return {kind: Path(cast("str | Path", blob.path)) if blob.data is None else blob.as_bytes()}


def _join_parts(blocks: Sequence[object], media_policy: MediaPolicy | None) -> MultimodalInput:
    parts: list[object] = []
    for place, block in enumerate(blocks):
        match block:
            case str() | Path() | Image.Image():
                parts.append(block)
            case Mapping():
                mapping = cast("Mapping[str, Any]", block)
                parts.append(read_block(mapping, media_policy) if "type" in mapping else mapping)
            case _:
                raise InputError(
                    f"block {place} is {_describe(block)}; allowed in a list that is one item are content blocks, str, "
                    "pathlib.Path, PIL.Image and dicts with one of the keys text, image and video"
                )
    return MultimodalInput(parts=parts)


def _describe(value: object) -> str:
    return f"{type(value).__name__} {shorten_text(repr(value))}"
