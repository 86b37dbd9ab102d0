"""What may stand where LangChain says text, brought into the one form that the models take.

LangChain passes queries along untouched. Nothing is opened, except the PDF of a document that is a page of it. Content
blocks are read in all the shapes that they have had: those of version 1, those of version 0 with a `source_type`,
OpenAI's `image_url`, Anthropic's `source`, and those of the model itself.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict, cast

import numpy as np
import numpy.typing as npt
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from langchain_core.messages import BaseMessage
from PIL import Image

from qwen3_vl_retrieval import InputError, MediaPolicy, MediaPolicyError, MultimodalInput
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import build_item, find_local_file

__all__ = [
    "SINGLE_SOURCES",
    "Item",
    "LangChainItem",
    "MediaSource",
    "VideoOptions",
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
"""An image or video where nothing else is expected; a `str` is a path or URI here."""

SINGLE_SOURCES = (str, Path, bytes, Image.Image, np.ndarray, Blob)
"""The types of `MediaSource`: anything else is a list of them."""


class VideoOptions(TypedDict, total=False):
    """How a video is read: frames sampled per second, frames at most, and the window in seconds."""

    fps: float | None
    max_frames: int | None
    start: float | None
    end: float | None


_ALLOWED = (
    "allowed are str (text), pathlib.Path, PIL.Image, a dict with the keys text, image and video, a content block or a "
    "list of them, Document, Blob, a message and MultimodalInput"
)
_ALLOWED_BLOCKS = "allowed are text, text-plain, image, video, image_url and video_url"
_TEXT_TYPES = ("text", "text-plain", "input_text")
_MEDIA_TYPES = {"image": "image", "image_url": "image", "input_image": "image", "video": "video", "video_url": "video"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
"""A URI scheme of at least two letters: one letter and a colon is a drive."""

_SHOWN_CHARACTERS = 60


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
        media_key: Name of a metadatum that holds the image or video of a `Document`.
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
            return MultimodalInput(parts=[_read_block(mapping, media_policy)]) if "type" in mapping else mapping
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
    coerced: list[Item] = []
    for place, item in enumerate(coerce_each(values, media_key=media_key, media_policy=media_policy)):
        if isinstance(item, InputError):
            raise item.at(place) from item
        coerced.append(item)
    return coerced


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


def wrap_media(source: object, medium: Literal["image", "video"], options: VideoOptions | None = None) -> Item:
    """Returns the item of one image or video.

    Args:
        source: See `MediaSource`; of a video also a list of frames.
        medium: Which of the two it is.
        options: Options of a video.

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
            f"a Blob of mimetype={quote(blob.mimetype)} is no image, video or text; name what it is: "
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
                parts.append(_read_block(mapping, media_policy) if "type" in mapping else mapping)
            case _:
                raise InputError(
                    f"block {place} is {_describe(block)}; allowed in a list that is one item are content blocks, str, "
                    "pathlib.Path, PIL.Image and dicts with one of the keys text, image and video"
                )
    return MultimodalInput(parts=parts)


def _describe(value: object) -> str:
    return f"{type(value).__name__} {_shorten(repr(value))}"


def _read_block(block: Mapping[str, Any], media_policy: MediaPolicy | None) -> dict[str, Any]:
    """The part of an item that a content block of any version stands for; nothing is opened."""
    named = block["type"]
    if named in _TEXT_TYPES or block.get("source_type") == "text":
        return {"text": _read_text(block)}
    if not isinstance(named, str) or named not in _MEDIA_TYPES:
        raise InputError(
            f"a content block of type={quote(named)} is neither text nor image nor video; {_ALLOWED_BLOCKS}"
        )
    kind = _MEDIA_TYPES[named]
    part: dict[str, Any] = {kind: _read_source(block, kind, media_policy)}
    if kind == "video":
        options: Mapping[str, Any] = {**(block.get("extras") or {}), **block}
        part |= {name: options[name] for name in VideoOptions.__annotations__ if options.get(name) is not None}
    return part


def _read_text(block: Mapping[str, Any]) -> str:
    text = block.get("text")
    if isinstance(text, str):
        return text
    encoded = block.get("base64")
    if isinstance(encoded, str):
        try:
            return base64.b64decode(encoded, validate=True).decode("utf-8")
        except ValueError as error:
            raise InputError(f"the base64 of a text block is not UTF-8 text in base64: {error}") from error
    raise InputError(f"a text block has no 'text' (its keys are {_list_keys(block)}); documents are not downloaded")


def _read_source(block: Mapping[str, Any], kind: str, media_policy: MediaPolicy | None) -> object:
    """What a block of any version names or holds as its image or video."""
    # OpenAI nests the URL, Anthropic all of it.
    nested = block.get(f"{kind}_url", block.get("source"))
    fields: Mapping[str, Any] = cast("Mapping[str, Any]", nested) if isinstance(nested, Mapping) else block
    mime_type = fields.get("mime_type", fields.get("media_type"))
    if mime_type is not None and str(mime_type).partition("/")[0] != kind:
        raise InputError(
            f"a block of type={quote(block['type'])} has mime_type={quote(mime_type)}; give {kind}/…, or a "
            "block of another type"
        )
    encoded = fields.get("base64", fields.get("data"))
    if isinstance(encoded, str):
        return _decode(encoded, kind, media_policy)
    url = nested if isinstance(nested, str) else fields.get("url")
    if isinstance(url, str):
        return _check_url(url, kind, media_policy)
    given = block.get(kind)
    if given is not None:
        # The messages of the model itself: {"type": "image", "image": …}.
        return _check_url(given, kind, media_policy) if isinstance(given, str) else given
    if "file_id" in fields or fields.get("source_type") == "id":
        raise InputError(
            f"{_name_block(kind)} names a file_id, a file in the storage of a provider; give the data as base64, "
            "or a url"
        )
    raise InputError(f"{_name_block(kind)} has neither url nor base64; its keys are {_list_keys(fields)}")


def _decode(encoded: str, kind: str, media_policy: MediaPolicy | None) -> bytes:
    limit = (MediaPolicy() if media_policy is None else media_policy).max_bytes
    # The smallest that it can decode to, so that nothing above the limit is decoded.
    if len(encoded) * 3 // 4 - 2 > limit:
        raise MediaPolicyError(
            f"the base64 of {_name_block(kind)} is {len(encoded):,} characters, above max_bytes={limit:,}; give a "
            "smaller one or raise max_bytes of the MediaPolicy"
        )
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        hint = "; a data: URI belongs in 'url'" if encoded[:5].lower() == "data:" else ""
        raise InputError(f"the base64 of {_name_block(kind)} cannot be decoded: {error}{hint}") from error


def _check_url(url: str, kind: str, media_policy: MediaPolicy | None) -> str:
    """The URL of a block, unless it is of another kind of media, or a local file that no policy allows."""
    match = _SCHEME.match(url)
    scheme = match[1].lower() if match else ""
    if scheme == "data" and not url[len("data:") :].lower().startswith(f"{kind}/"):
        raise InputError(f"{_name_block(kind)} holds {_shorten(url)!r}; its data: URI must begin with data:{kind}/")
    is_local = scheme not in ("data", "http", "https") and find_local_file(url) is not None
    if is_local and (media_policy is None or media_policy.allow_dirs is None):
        raise MediaPolicyError(
            f"{_name_block(kind)} names the local file {_shorten(url)!r}; content blocks come from outside, so "
            f"that their files are opened only in folders that allow_dirs of the MediaPolicy names. Give "
            f"{{'{kind}': path}} for a file of your own"
        )
    return url


def _name_block(kind: str) -> str:
    return f"{'an' if kind == 'image' else 'a'} {kind} block"


def _list_keys(block: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, block))


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
