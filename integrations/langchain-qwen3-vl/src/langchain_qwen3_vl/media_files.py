"""Images and videos as files: what they are, what is in them, and where those go that are not files yet."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from langchain_core.documents.base import Blob
from PIL import ExifTags, Image

from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy
from qwen3_vl_retrieval.errors import explain, quote
from qwen3_vl_retrieval.index import Medium, decode_data_uri, find_local_file, hash_file, identify_media, keep_media
from qwen3_vl_retrieval.media import guess_mime_type, read_image, read_image_header
from qwen3_vl_retrieval.paths import encode_name, encode_path

__all__ = ["describe_media"]

_HEADER_BYTES = 256
_ANY_SIZE = MediaPolicy(max_bytes=2**62, max_pixels=2**62, max_pages=2**62)
"""Here only headers are read: whoever embeds the file has limits."""

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def describe_media(
    source: str | Path | bytes | Image.Image | Blob,
    medium: Medium,
    media_dir: str | Path | None,
    *,
    media_policy: MediaPolicy | None = None,
) -> dict[str, Any]:
    """Returns the metadata of an image or video: where it is, and what is known without a model.

    Those are `image` or `video`, `source` and `mime_type`; of a local file also `sha256`, and of an image `width` and
    `height`.

    Args:
        source: Path, URI, or the image or video itself.
        medium: Which of the two it is.
        media_dir: Where data that is not in a file is written, named by its hash.
        media_policy: Its `max_bytes` holds for data; `None` is the default one.

    Raises:
        InputError: The source is data, and there is no `media_dir`.
        MediaPolicyError: The source is data, and larger than the policy allows.
        MediaError: There is no such file, or it is not what `medium` says.
    """
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
        return content | _guess_type(urlsplit(uri).path)
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


def _encode_png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    if picture.mode not in _PNG_MODES:
        picture = read_image(picture, _ANY_SIZE)
    try:
        # The orientation that a photograph notes is kept: a PNG has room for it.
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = picture.getexif().get(ExifTags.Base.Orientation, 1)
        picture.save(stream, "PNG", exif=exif)
    # An image that was opened from a file is read here, and Pillow asserts that the file is open.
    except (OSError, SyntaxError, ValueError, AssertionError) as error:
        raise MediaError(f"the picture of {picture.width}x{picture.height} pixels cannot be read: {error}") from error
    return stream.getvalue()


def _guess_type(name: str) -> dict[str, str]:
    mime_type = guess_mime_type(name)
    return {} if mime_type is None else {"mime_type": mime_type}
