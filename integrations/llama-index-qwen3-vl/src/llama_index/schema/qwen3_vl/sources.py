"""Images and videos as LlamaIndex's users hold them, and what the core takes for them. Nothing is opened here."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import quote, unquote

import numpy.typing as npt
from llama_index.core.schema import ImageNode, MediaResource
from PIL import Image

from qwen3_vl_retrieval import InputError, MediaPolicy, MediaPolicyError, MultimodalInput
from qwen3_vl_retrieval.index import find_local_file
from qwen3_vl_retrieval.paths import encode_path

__all__ = [
    "ImageSource",
    "Item",
    "VideoSource",
    "build_resource",
    "coerce_image",
    "coerce_video",
    "decode_base64",
    "read_image_node",
    "read_resource",
]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")

Item: TypeAlias = "str | Path | Image.Image | dict[str, Any] | MultimodalInput"
"""What the methods of the core take as one item. A `str` is always text."""

ImageSource: TypeAlias = "str | Path | bytes | BytesIO | Image.Image | npt.NDArray[Any]"
"""An image where nothing else is expected; a `str` is a path, URL or `data:` URI here."""

VideoSource: TypeAlias = "str | Path | bytes | BytesIO | npt.NDArray[Any] | Sequence[ImageSource]"
"""A video where nothing else is expected: as above, or its frames in order."""


def build_resource(source: str | Path, *, mime_type: str | None = None, text: str | None = None) -> MediaResource:
    """Returns the resource of a path or URI.

    A path that is not valid Unicode is a `file:` URL in it: LlamaIndex hashes and serialises nodes as UTF-8. Names in
    object storage are any text, and are percent-encoded, as URLs are kept; `read_resource` gives them back.

    Args:
        source: The source.
        mime_type: MIME type of the source; guessed from the name if it is `None`.
        text: Text of the resource.
    """
    path = source if isinstance(source, Path) else find_local_file(source)
    told = {"mimetype": mime_type, "text": text}
    if path is None:
        uri = str(source)
        return MediaResource.model_validate({"url": quote(uri, safe=":/") if _is_object(uri) else uri, **told})
    uri = encode_path(path.absolute())
    if uri[:5] == "file:":
        return MediaResource.model_validate(
            {"url": uri, "mimetype": mime_type or mimetypes.guess_type(f"./{path.name}")[0], "text": text}
        )
    return MediaResource.model_validate({"path": path, **told})


def coerce_image(source: object) -> Any:
    """Returns an image as the core takes it: of a stream all bytes, whatever has been read of it.

    Raises:
        InputError: There is no image.
    """
    if source is None:
        raise InputError("image is None; give a path, URL, data URI, bytes, BytesIO, PIL.Image or ndarray")
    return source.getvalue() if isinstance(source, BytesIO) else source


def coerce_video(source: object) -> Any:
    """Returns a video as the core takes it; of frames, each as `coerce_image` has it.

    Raises:
        InputError: There is no video, or one of its frames is none.
    """
    if source is None:
        raise InputError("video is None; give a path, URL, data URI, bytes, BytesIO, ndarray or a list of frames")
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes)):
        return [coerce_image(frame) for frame in cast("Sequence[object]", source)]
    return coerce_image(source)


def decode_base64(encoded: str | bytes, kind: str, media_policy: MediaPolicy | None) -> bytes:
    """Returns the data of a node.

    Args:
        encoded: As base64.
        kind: What it is called in messages.
        media_policy: Whose `max_bytes` holds; `None` is the default one.

    Raises:
        MediaPolicyError: There is more of it than `max_bytes`.
        InputError: It is no base64.
    """
    limit = (MediaPolicy() if media_policy is None else media_policy).max_bytes
    # The smallest that it can decode to, so that nothing above the limit is decoded.
    if len(encoded) * 3 // 4 - 2 > limit:
        raise MediaPolicyError(
            f"the base64 of the {kind} is {len(encoded):,} characters, above max_bytes={limit:,}; give a smaller one "
            "or raise max_bytes of the MediaPolicy"
        )
    packed = "".join(encoded.split()) if isinstance(encoded, str) else b"".join(encoded.split())
    try:
        return base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"the base64 of the {kind} cannot be decoded: {error}") from error


def read_image_node(node: ImageNode, media_policy: MediaPolicy | None) -> str | bytes | None:
    """Returns the image of a node: its data or `data:` URI, else its path, else its URL; `None` if it has none.

    Args:
        node: The node.
        media_policy: How much data is decoded; see `decode_base64`, also for errors.
    """
    if node.image:
        is_uri = node.image[:5].lower() == "data:"
        return node.image if is_uri else decode_base64(node.image, "image", media_policy)
    return node.image_path or node.image_url or None


def read_resource(
    resource: MediaResource | None, kind: str, media_policy: MediaPolicy | None
) -> str | bytes | Path | None:
    """Returns what a resource holds: data go before the path, and the path before the URL, as in LlamaIndex."""
    if resource is None:
        return None
    if resource.data:
        return decode_base64(resource.data, kind, media_policy)
    if resource.path is not None:
        return resource.path
    if resource.url is None:
        return None
    url = str(resource.url)
    return unquote(url) if _is_object(url) else url


def _is_object(uri: str) -> bool:
    """Whether a URI names an object of a store, such as `s3://bucket/name`."""
    match = _SCHEME.match(uri)
    return match is not None and match[1].lower() not in ("http", "https", "file")
