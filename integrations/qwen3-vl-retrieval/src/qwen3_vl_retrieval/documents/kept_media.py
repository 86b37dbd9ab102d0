"""Items that a caller gives in memory, kept so that they can be opened again: texts, images and mixtures.

Images without a file of their own become files in the store. What is in a file stays there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from qwen3_vl_retrieval import media
from qwen3_vl_retrieval.documents.identity import hash_text
from qwen3_vl_retrieval.documents.media_store import hash_file, identify_media, keep_file
from qwen3_vl_retrieval.documents.previews import encode_png
from qwen3_vl_retrieval.documents.units import MediaType
from qwen3_vl_retrieval.errors import InputError, explain_disk_errors
from qwen3_vl_retrieval.items import (
    ImagePart,
    ImageReading,
    Item,
    MultimodalInput,
    Part,
    TextPart,
    VideoPart,
    coerce_input,
)
from qwen3_vl_retrieval.media.policy import MediaPolicy, open_source
from qwen3_vl_retrieval.paths import decode_path, encode_path

__all__ = ["GivenItem", "decode_item", "encode_item", "list_kept_files"]

_KEPT = "store:"
"""Begins the name of a file in the store; no absolute path does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenItem:
    """An item as it is kept.

    Attributes:
        media_type: What it is.
        sha256: Hash of its contents, in their order.
        text: Its texts, joined; `None` if it has none.
        content: All of it, for `decode_item`; `None` if the text is all.
        source: The file, if the item is nothing but that.
        width: Width of a single image, in pixels.
        height: Height of a single image, in pixels.
    """

    media_type: MediaType
    sha256: str
    text: str | None
    content: str | None
    source: Path | None = None
    width: int | None = None
    height: int | None = None


def encode_item(item: Item, folder: Path, policy: MediaPolicy, *, image_reading: ImageReading = "viewer") -> GivenItem:
    """Returns an item as it is kept; images that are not in a file are written to `folder`.

    Args:
        item: A text, an image, a mixture; videos only as files.
        folder: Where images are kept.
        policy: What may be opened.
        image_reading: How the model that the item is kept for reads images.

    Raises:
        InputError: The item is not understood, cannot be read, or is a video without a file.
        StoreError: The disk is full.
    """
    coerced = coerce_input(item)
    parts = [_encode_part(part, folder, policy, image_reading) for part in coerced.parts]
    texts = [part.text for part in coerced.parts if isinstance(part, TextPart)]
    text = " ".join(texts) if texts else None
    if len(parts) == 1 and text is not None and coerced.instruction is None:
        return GivenItem(media_type="text", sha256=hash_text(text), text=text, content=None)
    only = coerced.parts[0] if len(parts) == 1 else None
    size = (None, None)
    if isinstance(only, ImagePart):
        size = media.measure_image(only.source, policy, reading=image_reading)
        file = parts[0].name
        if coerced.instruction is None and not file.startswith(_KEPT):
            # The same unit as the file itself, given as a path.
            return GivenItem(
                media_type="image",
                sha256=parts[0].sha256,
                text=None,
                content=None,
                source=decode_path(file),
                width=size[0],
                height=size[1],
            )
    hashed = [{**part.options, part.kind: part.sha256} for part in parts]
    named = [{**part.options, part.kind: part.name} for part in parts]
    return GivenItem(
        media_type=_find_media_type(only, texts),
        sha256=hash_text(json.dumps([hashed, coerced.instruction], sort_keys=True)),
        text=text,
        content=json.dumps({"parts": named, "instruction": coerced.instruction}, ensure_ascii=False),
        width=size[0],
        height=size[1],
    )


def decode_item(content: str, folder: Path) -> MultimodalInput:
    """Returns the item that `encode_item` kept; its files are not opened.

    Args:
        content: As it was kept.
        folder: Where images are kept.
    """
    stored = cast("Mapping[str, Any]", json.loads(content))
    parts: list[dict[str, Any]] = []
    for part in stored["parts"]:
        opened = dict(part)
        for kind in ("image", "video"):
            if kind in opened:
                opened[kind] = _find_file(opened[kind], folder)
        parts.append(opened)
    return MultimodalInput(parts=parts, instruction=stored["instruction"])


def list_kept_files(content: str) -> list[str]:
    """Returns the names of the files that `encode_item` wrote for an item."""
    stored = cast("Mapping[str, Any]", json.loads(content))
    names = [part.get(kind) for part in stored["parts"] for kind in ("image", "video")]
    return [name.removeprefix(_KEPT) for name in names if isinstance(name, str) and name.startswith(_KEPT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _EncodedPart:
    """A text, or the name of a file, with the hash of what it is and the options of a video."""

    kind: str
    name: str
    sha256: str
    options: dict[str, float | int]


def _find_file(name: str, folder: Path) -> Path:
    return folder / name.removeprefix(_KEPT) if name.startswith(_KEPT) else decode_path(name)


def _find_media_type(only: Part | None, texts: list[str]) -> MediaType:
    match only:
        case ImagePart():
            return "image"
        case VideoPart():
            return "video"
        case _:
            # A single text with an instruction of its own is a text, too.
            return "text" if only is not None and texts else "mixed"


def _encode_part(part: Part, folder: Path, policy: MediaPolicy, reading: ImageReading) -> _EncodedPart:
    match part:
        case TextPart():
            return _EncodedPart(kind="text", name=part.text, sha256=hash_text(part.text), options={})
        case ImagePart():
            return _encode_image(part, folder, policy, reading)
        case VideoPart():
            return _encode_video(part, policy)


def _encode_image(part: ImagePart, folder: Path, policy: MediaPolicy, reading: ImageReading) -> _EncodedPart:
    source = part.source
    opened = open_source(source, policy) if isinstance(source, (str, Path, bytes)) else None
    if isinstance(opened, Path):
        return _EncodedPart(kind="image", name=encode_path(opened), sha256=hash_file(opened, policy), options={})
    # Decoded once, so that nothing is kept that cannot be opened again; numbers become the pixels they stand for.
    image = media.read_image(source if opened is None else opened, policy, reading=reading)
    content = encode_png(image) if opened is None else opened
    found = identify_media(content)
    with explain_disk_errors(folder.parent):
        file = keep_file(content, folder, suffix=".img" if found is None else found.suffix)
    return _EncodedPart(kind="image", name=_KEPT + file.name, sha256=file.stem, options={})


def _encode_video(part: VideoPart, policy: MediaPolicy) -> _EncodedPart:
    source = part.source
    opened = open_source(source, policy) if isinstance(source, (str, Path, bytes)) else None
    if not isinstance(opened, Path):
        raise InputError(
            "a video that is not a local file cannot be kept; write it to a file and give its path, "
            "or give frames as images of one item"
        )
    given = {name: getattr(part, name) for name in ("fps", "max_frames", "start", "end")}
    options = {name: value for name, value in given.items() if value is not None}
    return _EncodedPart(kind="video", name=encode_path(opened), sha256=hash_file(opened, policy), options=options)
