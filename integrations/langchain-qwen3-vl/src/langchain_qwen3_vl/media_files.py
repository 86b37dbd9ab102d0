"""Pictures and clips as files: what they are, what is in them, and where those go that are not files yet."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from langchain_core.documents.base import Blob
from PIL import ExifTags, Image

from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy
from qwen3_vl_retrieval.errors import explain, quote
from qwen3_vl_retrieval.media import guess_mime_type, identify_image, read_image, read_image_header
from qwen3_vl_retrieval.paths import decode_path, encode_name, encode_path

__all__ = ["Medium", "describe_media", "encode_jpeg", "find_local_file", "hash_file"]

Medium: TypeAlias = Literal["image", "video"]

_VIDEO_SUFFIXES = {
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "video/x-msvideo": ".avi",
    "video/mpeg": ".mpg",
}
_HEADER_BYTES = 256
_ANY_SIZE = MediaPolicy(max_bytes=2**62, max_pixels=2**62, max_pages=2**62)
"""Here only headers are read: whoever embeds the file has limits."""

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_QUALITIES = (90, 80, 65, 50)
_SHRINKING = 0.7


def describe_media(
    source: str | Path | bytes | Image.Image | Blob, medium: Medium, media_dir: str | Path | None
) -> dict[str, Any]:
    """Returns the metadata of a picture or clip: where it is, and what is known without a model.

    Those are `image` or `video`, `source` and `mime_type`; of a local file also `sha256`, and of a picture `width` and
    `height`.

    Args:
        source: Path, URI, or the picture or clip itself.
        medium: Which of the two it is.
        media_dir: Where data that is not in a file is written, named by its hash.

    Raises:
        InputError: The source is data, and there is no `media_dir`.
        MediaError: There is no such file, or it is not what `medium` says.
    """
    if isinstance(source, Blob):
        source = _open_blob(source)
    if isinstance(source, Image.Image):
        source = _encode_png(source)
    if isinstance(source, str) and source[:5].lower() == "data:":
        source = _decode_data_uri(source)
    if isinstance(source, bytes):
        source = _keep(source, medium, media_dir)
    uri = encode_path(source) if isinstance(source, Path) else encode_name(source)
    content: dict[str, Any] = {medium: uri, "source": uri}
    path = find_local_file(uri)
    if path is None:
        return content | _guess_type(urlsplit(uri).path)
    try:
        return content | _describe_file(path, uri, medium)
    except OSError as error:
        raise MediaError(f"{quote(uri)} cannot be read: {explain(error)}") from error


def _is_file(path: Path) -> bool:
    # Unlike `Path.is_file`, also for names that no file can have.
    return os.path.isfile(path)  # noqa: PTH113


def _describe_file(path: Path, uri: str, medium: Medium) -> dict[str, Any]:
    if not _is_file(path):
        raise MediaError(f"no such file: {quote(uri)}; give an existing file, or a URL")
    if medium == "image":
        header = read_image_header(path, _ANY_SIZE)
        size = {"width": header.width, "height": header.height}
        return {"mime_type": header.mime_type, "sha256": hash_file(path), **size}
    with path.open("rb") as file:
        mime_type = _find_video_type(file.read(_HEADER_BYTES))
    if mime_type is None:
        raise MediaError(f"{quote(uri)} is no clip that is understood; allowed are MP4, MOV, WebM, MKV, AVI and MPEG")
    return {"mime_type": mime_type, "sha256": hash_file(path)}


def find_local_file(uri: str) -> Path | None:
    """Returns the path that a path or `file:` URI names; `None` for any other URI. Whether it exists is not checked."""
    scheme = uri.partition(":")[0].lower() if ":" in uri else ""
    if scheme == "file":
        return decode_path(uri)
    # A single letter before the colon is a drive; a name with a colon in it is a name.
    return None if scheme == "data" or "://" in uri else Path(uri)


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encode_jpeg(picture: Image.Image, *, max_pixels: int, max_bytes: int) -> bytes:
    """Returns an RGB picture as JPEG: shrunk to `max_pixels`, then with less quality and size until it fits.

    Raises:
        ValueError: A limit allows no picture.
    """
    if max_pixels < 1 or max_bytes < 1_024:
        raise ValueError(f"max_pixels={max_pixels} must be at least 1 and max_bytes={max_bytes} at least 1,024")
    scale = min(1.0, (max_pixels / (picture.width * picture.height)) ** 0.5)
    while True:
        size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
        fitted = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
        for quality in _QUALITIES:
            stream = io.BytesIO()
            fitted.save(stream, "JPEG", quality=quality)
            if stream.tell() <= max_bytes:
                return stream.getvalue()
        scale *= _SHRINKING


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
        # The orientation that a photograph notes goes along; a PNG has room for it.
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = picture.getexif().get(ExifTags.Base.Orientation, 1)
        picture.save(stream, "PNG", exif=exif)
    # A picture that was opened from a file is read here, and Pillow asserts that the file is open.
    except (OSError, SyntaxError, ValueError, AssertionError) as error:
        raise MediaError(f"the picture of {picture.width}x{picture.height} pixels cannot be read: {error}") from error
    return stream.getvalue()


def _decode_data_uri(uri: str) -> bytes:
    header, comma, payload = uri.partition(",")
    if not comma:
        raise InputError(f"malformed data: URI {quote(header)}: no comma before the data")
    if not header.lower().endswith(";base64"):
        return unquote_to_bytes(payload)
    try:
        return base64.b64decode("".join(unquote(payload).split()), validate=True)
    except ValueError as error:
        raise InputError(f"malformed data: URI {quote(header)}: not base64 ({error})") from error


def _keep(content: bytes, medium: Medium, media_dir: str | Path | None) -> Path:
    """The file that holds the content, written if it is not there; its name is its hash."""
    if media_dir is None:
        raise InputError(
            f"{len(content):,} bytes were given as {medium}, and documents name files: give media_dir, a folder to "
            "write them to, or the path of a file"
        )
    suffix = _find_image_suffix(content) if medium == "image" else _find_video_suffix(content)
    folder = Path(media_dir)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(content).hexdigest()}{suffix}"
    if not path.exists():
        _write_whole(path, content)
    return path


def _find_image_suffix(content: bytes) -> str:
    # What is wrong with it is said before it is kept.
    read_image_header(content, _ANY_SIZE)
    found = identify_image(content)
    return "" if found is None else found.suffixes[0]


def _find_video_suffix(content: bytes) -> str:
    mime_type = _find_video_type(content[:_HEADER_BYTES])
    if mime_type is None:
        raise MediaError(
            f"{len(content):,} bytes are no clip that is understood; allowed are MP4, MOV, WebM, MKV, AVI and MPEG"
        )
    return _VIDEO_SUFFIXES[mime_type]


def _write_whole(path: Path, content: bytes) -> None:
    """Whole or not at all: a process may be killed while it writes, and another may write the same."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        unfinished.chmod(0o644)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _find_video_type(header: bytes) -> str | None:
    """The MIME type by the first bytes; `None` for what is no clip."""
    if header[4:8] == b"ftyp" and identify_image(header) is None:
        return "video/quicktime" if header[8:12] == b"qt  " else "video/mp4"
    if header.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in header[:64] else "video/x-matroska"
    if header.startswith(b"RIFF") and header[8:12] == b"AVI ":
        return "video/x-msvideo"
    return "video/mpeg" if header.startswith((b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3")) else None


def _guess_type(name: str) -> dict[str, str]:
    mime_type = guess_mime_type(name)
    return {} if mime_type is None else {"mime_type": mime_type}
