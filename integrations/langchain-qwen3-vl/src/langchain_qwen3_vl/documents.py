"""Documents of images and videos: a text, flat metadata that say where the pixels are, and never the pixels.

Every store, splitter and loader of LangChain carries such documents along: the text is real text or empty, and the
metadata are those that `qwen3_vl_retrieval.index.build_item` reads.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from langchain_core.messages.content import ContentBlock, create_image_block, create_text_block
from PIL import ExifTags, Image

from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy
from qwen3_vl_retrieval.errors import explain, quote
from qwen3_vl_retrieval.index import (
    Hit,
    Medium,
    decode_data_uri,
    describe_hit,
    draw_document,
    encode_jpeg,
    find_local_file,
    hash_file,
    identify_media,
    keep_media,
)
from qwen3_vl_retrieval.media import guess_mime_type, read_image, read_image_header
from qwen3_vl_retrieval.paths import encode_name, encode_path

__all__ = ["document_to_content_blocks", "hit_to_document", "image_document", "media_key_encoder", "video_document"]

_MEDIA_KEYS = ("image", "image_uri", "image_url", "video", "video_uri", "video_url")
"""Metadata that name an image or video, of this project and of others."""


_HEADER_BYTES = 256
_ANY_SIZE = MediaPolicy(max_bytes=2**62, max_pixels=2**62, max_pages=2**62)
"""Here only headers are read: whoever embeds the file has limits."""

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def image_document(
    image: str | Path | bytes | Image.Image | Blob,
    *,
    text: str = "",
    metadata: Mapping[str, Any] | None = None,
    id: str | None = None,  # noqa: A002 - the name of the field
    media_dir: str | Path | None = None,
    media_policy: MediaPolicy | None = None,
) -> Document:
    """Returns the document of an image.

    Its metadata are `media_type` (`"image"`, or `"mixed"` with a text), `image` and `source` (path or URI, as it was
    given), `mime_type`, and of a local file `sha256`, `width` and `height`. URLs are not downloaded.

    Args:
        image: Path or URI (`str`), or the image itself, which is then written to `media_dir`.
        text: Judged and embedded with the image. For a caption that is for language models alone, give
            `metadata={"media_type": "image"}`.
        metadata: Metadata of the caller; they go before those of this function.
        id: ID of the document.
        media_dir: Folder for images that are not files, named `<sha256>.<suffix>`; an existing one is not written
            again.
        media_policy: Its `max_bytes` holds for images that are not files; `None` is the default one.

    Raises:
        MediaPolicyError: The image is data, and larger than the policy allows.
        InputError: The image is not a file, and there is no `media_dir`; or `metadata` names another image or video.
        MediaError: There is no such file, or it is no image.
    """
    described = _describe_media(image, "image", media_dir, media_policy=media_policy)
    return _build_document(image, "image", described, text=text, metadata=metadata, id=id)


def video_document(
    video: str | Path | bytes | Blob,
    *,
    start: float | None = None,
    end: float | None = None,
    text: str = "",
    metadata: Mapping[str, Any] | None = None,
    id: str | None = None,  # noqa: A002 - the name of the field
    media_dir: str | Path | None = None,
    media_policy: MediaPolicy | None = None,
) -> Document:
    """Returns the document of a video, or of a window of it.

    Its metadata are those of `image_document`, with `video` for `image`, without a size, and with `start` and `end`.

    Args:
        video: Path or URI (`str`), or the encoded video itself, which is then written to `media_dir`.
        start: First second of the window.
        end: Last second of the window.
        text: Judged and embedded with the video; see `image_document`, as for the other arguments.

    Raises:
        MediaPolicyError: The video is data, and larger than the policy allows.
        InputError: The video is not a file, and there is no `media_dir`; the window is empty; or `metadata` names
            another image or video.
        MediaError: There is no such file, or it is no video.
    """
    if (start is not None and start < 0) or (end is not None and end <= (start or 0)):
        raise InputError(f"start={start} must not be negative, and end={end} must be after it")
    window = {name: float(second) for name, second in (("start", start), ("end", end)) if second is not None}
    described = _describe_media(video, "video", media_dir, media_policy=media_policy)
    return _build_document(video, "video", {**described, **window}, text=text, metadata=metadata, id=id)


def document_to_content_blocks(
    document: Document,
    *,
    max_pixels: int = 1_003_520,
    max_bytes: int = 1_000_000,
    max_frames: int = 4,
    media_policy: MediaPolicy | None = None,
    media_key: str | None = None,
    with_text: bool = True,
) -> list[ContentBlock]:
    """Returns what a chat model is shown of a document: its text, and its images as JPEG.

    A page is rendered, a video becomes frames in their order: chat models and tool messages take images, few take
    videos.

    ```python
    message = HumanMessage([{"type": "text", "text": question}, *document_to_content_blocks(document)])
    ```

    Args:
        document: Any document whose metadata `build_item` reads.
        max_pixels: Most pixels of each image; the default is 980 visual tokens of Qwen3-VL. A larger one is shrunk.
        max_bytes: Most bytes of each image as JPEG; base64 takes a third more. Quality and size are lowered to fit.
        max_frames: Most frames of a video, from the middles of as many equal parts of its window.
        media_policy: What may be opened; `None` is any local file.
        media_key: Name of a metadatum that holds the image or video.
        with_text: Whether the text comes along, as the first block.

    Raises:
        InputError: An image or video is missing, refused, or cannot be read.
        ValueError: A limit allows nothing.
    """
    if max_frames < 1:
        raise ValueError(f"max_frames={max_frames} must be at least 1")
    blocks: list[ContentBlock] = []
    if with_text and document.page_content.strip():
        blocks.append(create_text_block(document.page_content))
    for metadata in _split_images(document.metadata, media_key):
        images = draw_document(
            document.page_content, metadata, policy=media_policy, media_key=media_key, max_frames=max_frames
        )
        for image in images:
            encoded = encode_jpeg(image, max_pixels=max_pixels, max_bytes=max_bytes)
            data = base64.b64encode(encoded).decode("ascii")
            blocks.append(create_image_block(base64=data, mime_type="image/jpeg"))
    return blocks


def media_key_encoder(document: Document) -> str:
    """Returns the key of a document for `langchain_core.indexing.index(key_encoder=…)`, in hexadecimal.

    It is a hash of text, metadata and the bytes of the local files that the metadata name, so that an image that was
    replaced behind the same name is indexed again. A file that is gone, and a URL, count by their metadata alone.

    Raises:
        InputError: The metadata hold something other than JSON, paths, dates and numbers.
    """
    try:
        told = json.dumps([document.page_content, document.metadata], sort_keys=True, default=_encode_value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the metadata cannot be hashed: {explain(error)}; keep to JSON, paths, dates and numbers"
        ) from error
    key = hashlib.sha256(told.encode("utf-8", "surrogatepass"))
    for path in _find_files(document):
        if path.is_file():
            key.update(hash_file(path).encode("ascii"))
    return key.hexdigest()


def hit_to_document(hit: Hit) -> Document:
    """Returns a hit of a `MultimodalIndex` as a document, with its id and the scores of both stages."""
    return Document(id=hit.id, page_content="" if hit.text is None else hit.text, metadata=describe_hit(hit))


def _build_document(
    source: str | Path | bytes | Image.Image | Blob,
    medium: Medium,
    described: Mapping[str, Any],
    *,
    text: str,
    metadata: Mapping[str, Any] | None,
    id: str | None,  # noqa: A002 - the name of the field
) -> Document:
    own: dict[str, Any] = {} if metadata is None else dict(metadata)
    named = [key for key in _MEDIA_KEYS if key in own]
    if named:
        raise InputError(f"metadata hold {quote(named[0])} of another image or video; a document made here has one")
    inherited: Mapping[str, Any] = source.metadata if isinstance(source, Blob) else {}
    about = {"media_type": "mixed" if text.strip() else medium, **described}
    return Document(id=id, page_content=text, metadata={**about, **inherited, **own})


def _split_images(metadata: Mapping[str, Any], media_key: str | None) -> Iterator[Mapping[str, Any]]:
    """The metadata once for each of several images: drawing shows one."""
    for key in _MEDIA_KEYS[:3] if media_key is None else (media_key,):
        named = metadata.get(key)
        if isinstance(named, (list, tuple)):
            for image in cast("Sequence[object]", named):
                yield {**metadata, key: image}
            return
    yield metadata


def _find_files(document: Document) -> list[Path]:
    """The local files that hold the media of a document, each once."""
    metadata: dict[str, Any] = document.metadata
    named = [metadata.get(key) for key in _MEDIA_KEYS]
    told = metadata.get("media_type")
    if told in ("image", "page", "video") or (told is None and not document.page_content.strip()):
        named.append(metadata.get("source"))
    paths: dict[Path, None] = {}
    for value in named:
        for uri in cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else [value]:
            path = find_local_file(uri) if isinstance(uri, str) else uri if isinstance(uri, Path) else None
            if path is not None:
                paths[path] = None
    return list(paths)


def _encode_value(value: object) -> object:
    if isinstance(value, Path):
        return encode_path(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, np.generic):
        return cast("object", value.item())
    raise TypeError(f"{type(value).__name__} is no JSON")


def _describe_media(
    source: str | Path | bytes | Image.Image | Blob,
    medium: Medium,
    media_dir: str | Path | None,
    *,
    media_policy: MediaPolicy | None = None,
) -> dict[str, Any]:
    """The metadata of an image or video: where it is, and what is known without a model."""
    if isinstance(source, Blob):
        source = _open_blob(source)
    if isinstance(source, Image.Image):
        source = _encode_png(source)
    if isinstance(source, str) and source[:5].lower() == "data:":
        source = decode_data_uri(source, media_policy)
    if isinstance(source, bytes):
        source = keep_media(source, medium, media_dir, policy=media_policy)
    uri = encode_path(source) if isinstance(source, Path) else encode_name(source)
    content: dict[str, Any] = {medium: uri, "source": uri}
    path = find_local_file(uri)
    if path is None:
        mime_type = guess_mime_type(urlsplit(uri).path)
        return content if mime_type is None else content | {"mime_type": mime_type}
    return content | _describe_file(path, uri, medium)


def _describe_file(path: Path, uri: str, medium: Medium) -> dict[str, Any]:
    sha256 = hash_file(path)
    if medium == "image":
        header = read_image_header(path, _ANY_SIZE)
        return {"mime_type": header.mime_type, "sha256": sha256, "width": header.width, "height": header.height}
    try:
        with path.open("rb") as file:
            found = identify_media(file.read(_HEADER_BYTES))
    except OSError as error:
        raise MediaError(f"{quote(uri)} cannot be read: {explain(error)}") from error
    if found is None or found.medium != "video":
        raise MediaError(f"{quote(uri)} is no video that is understood; give a file such as MP4, MOV, WebM, MKV or AVI")
    return {"mime_type": found.mime_type, "sha256": sha256}


def _open_blob(blob: Blob) -> Path | bytes:
    """Data goes before the path, as in `Blob.as_bytes`."""
    if blob.data is not None:
        return blob.as_bytes()
    if blob.path is None:
        raise InputError("a Blob has neither data nor path; give one of them")
    return Path(blob.path)


def _encode_png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    if image.mode not in _PNG_MODES:
        image = read_image(image, _ANY_SIZE)
    try:
        # The orientation that a photograph notes is kept: a PNG has room for it.
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
        image.save(stream, "PNG", exif=exif)
    # An image that was opened from a file is read here, and Pillow asserts that the file is open.
    except (OSError, SyntaxError, ValueError, AssertionError) as error:
        raise MediaError(f"the image of {image.width}x{image.height} pixels cannot be read: {error}") from error
    return stream.getvalue()
