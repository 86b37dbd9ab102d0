"""What an item is called where only text can be shown, and what tells it from others where its vector is kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from llama_index.schema.qwen3_vl.sources import Item
from qwen3_vl_retrieval import MediaError, MediaPolicy, MultimodalInput
from qwen3_vl_retrieval.index import find_local_file, hash_file

__all__ = ["describe_item", "hash_item"]

_MEDIA = ("image", "video")


class _UnknownContentError(Exception):
    """What this is can change without anything here noticing."""


def describe_item(item: Item) -> str:
    """Returns an item as text, for events and callbacks: texts as they are, files by name, data by hash.

    URLs lose their query, where credentials are kept. Nothing is opened.
    """
    return " ".join(_describe(_to_fields(item)))


def hash_item(item: Item, media_policy: MediaPolicy | None) -> str | None:
    """Returns the SHA-256 of what the model sees of an item; `None` if that cannot be known without asking others.

    Files count by their bytes, so that an image that was replaced behind the same name is another. URLs are unknown.

    Args:
        item: As the core takes it.
        media_policy: What may be opened; `None` is any local file. Files beyond it are unknown, too: embedding them is
            refused anyway.
    """
    try:
        named = _identify(_to_fields(item), media_policy)
    except _UnknownContentError:
        return None
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _to_fields(item: Item) -> Mapping[str, Any]:
    """Any item as a mapping of the official keys."""
    match item:
        case str():
            return {"text": item}
        case MultimodalInput():
            values = {field.name: getattr(item, field.name) for field in fields(MultimodalInput)}
            return {name: value for name, value in values.items() if value is not None}
        case Mapping():
            return item
        case _:
            # A path says by its suffix what it is: that is for the model to find out.
            return {"parts": [item]}


def _describe(values: Mapping[str, Any]) -> list[str]:
    described = [_describe_medium(medium) for kind in ("video", "image") for medium in _list(values.get(kind), kind)]
    described += [str(text) for text in _list(values.get("text"), "text")]
    for part in values.get("parts") or ():
        match part:
            case str():
                described.append(part)
            case Mapping():
                described += _describe(cast("Mapping[str, Any]", part))
            case _:
                described.append(_describe_medium(part))
    return described


def _list(value: Any, kind: str) -> list[Any]:
    """The media of a field; a list of images as a video is one video."""
    if value is None:
        return []
    is_list = isinstance(value, (list, tuple)) and kind != "video"
    return list(cast("Sequence[Any]", value)) if is_list else [value]


def _describe_medium(source: object) -> str:
    match source:
        case str() if source[:5].lower() == "data:":
            return f"sha256:{hashlib.sha256(source.encode()).hexdigest()}"
        case str() if "://" in source:
            return re.split(r"[?#]", source, maxsplit=1)[0]
        case str() | Path():
            return str(source)
        case bytes():
            return f"sha256:{hashlib.sha256(source).hexdigest()}"
        case Image.Image():
            return f"image {source.width}x{source.height}"
        case np.ndarray():
            return f"array {'x'.join(map(str, cast('npt.NDArray[Any]', source).shape))}"
        case list() | tuple():
            return f"{len(cast('Sequence[Any]', source))} frames"
        case _:
            return type(source).__name__


def _identify(value: Any, media_policy: MediaPolicy | None, *, is_medium: bool = False) -> Any:
    """A value as JSON, with hashes in place of images and videos."""
    match value:
        case Mapping():
            values = cast("Mapping[str, Any]", value)
            return {name: _identify(inner, media_policy, is_medium=name in _MEDIA) for name, inner in values.items()}
        case list() | tuple():
            return [_identify(inner, media_policy, is_medium=is_medium) for inner in cast("Sequence[Any]", value)]
        case str() if is_medium:
            return {"sha256": _hash_named(value, media_policy)}
        case Path():
            return {"sha256": _hash_file(value, media_policy)}
        case bytes():
            return {"sha256": hashlib.sha256(value).hexdigest()}
        case Image.Image():
            return {"pixels": _hash_image(value)}
        case np.ndarray():
            array = cast("npt.NDArray[Any]", value)
            return {"array": hashlib.sha256(array.tobytes()).hexdigest(), "form": f"{array.dtype} {array.shape}"}
        case str() | int() | float() | None:
            return value
        case _:
            raise _UnknownContentError


def _hash_named(name: str, media_policy: MediaPolicy | None) -> str:
    if name[:5].lower() == "data:":
        return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    path = find_local_file(name)
    if path is None:
        raise _UnknownContentError
    return _hash_file(path, media_policy)


def _hash_file(path: Path, media_policy: MediaPolicy | None) -> str:
    try:
        return hash_file(path, MediaPolicy() if media_policy is None else media_policy)
    except MediaError as error:
        # Missing, refused, a folder or a device: reading it for the model says what is wrong.
        raise _UnknownContentError from error


def _hash_image(image: Image.Image) -> str:
    """Returns the digest of the pixels, and of what changes how they are read."""
    reading = (image.mode, image.size, image.info.get("transparency"), image.getpalette())
    content = hashlib.sha256(repr(reading).encode())
    content.update(image.getexif().tobytes())
    content.update(image.tobytes())
    return content.hexdigest()
