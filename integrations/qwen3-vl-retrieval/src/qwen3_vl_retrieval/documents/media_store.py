"""Media kept as files that are named by their content, so that the same image or video is kept once.

Whoever is given media as data, in memory or as a `data:` URI, and has to keep a path writes them here: the store of a
`MultimodalIndex`, and the adapters, whose documents and nodes name files.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

from qwen3_vl_retrieval.errors import InputError, MediaError, explain, quote
from qwen3_vl_retrieval.image_formats import identify_image
from qwen3_vl_retrieval.media.images import read_image_header
from qwen3_vl_retrieval.media.policy import MediaPolicy, check_size, open_file, open_source
from qwen3_vl_retrieval.paths import decode_path

__all__ = [
    "MediaFormat",
    "Medium",
    "decode_data_uri",
    "find_local_file",
    "hash_file",
    "identify_media",
    "keep_file",
    "keep_media",
]

Medium: TypeAlias = Literal["image", "video"]

_ANY_SIZE = MediaPolicy(max_bytes=2**62, max_pixels=2**62, max_pages=2**62)
"""For headers and hashes, which take no memory: whoever decodes the file has limits."""

_ASF_BEGINNING = bytes.fromhex("3026b2758e66cf11")
_PACKET_BYTES = 188
"""Bytes of a packet of an MPEG transport stream (ISO/IEC 13818-1); each begins with `G`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFormat:
    """What a file is by its first bytes.

    Attributes:
        medium: An image or a video.
        mime_type: What a file of the format is served as.
        suffix: What a new file of the format is named with, such as `".png"`.
    """

    medium: Medium
    mime_type: str
    suffix: str


def identify_media(content: bytes) -> MediaFormat | None:
    """Returns the format of an image or video by its first 256 bytes; `None` for anything else."""
    image = identify_image(content)
    if image is not None:
        return MediaFormat(medium="image", mime_type=image.mime_type, suffix=image.suffixes[0])
    found = _identify_video(content)
    return None if found is None else MediaFormat(medium="video", mime_type=found[0], suffix=found[1])


def keep_media(content: bytes, medium: Medium, folder: str | Path | None, *, policy: MediaPolicy | None = None) -> Path:
    """Returns the file in `folder` that holds an image or video: `<sha256>.<suffix>`, written if it is not there.

    Args:
        content: The image or video, as in a file.
        medium: Which of the two it has to be.
        folder: Created if it does not exist; `None` refuses everything.
        policy: Its `max_bytes` holds; `None` is the default one.

    Raises:
        InputError: There is no folder.
        MediaPolicyError: The content is larger than the policy allows.
        MediaError: The content is not an image or video that is understood.
        OSError: The file cannot be written.
    """
    check_size(len(content), "bytes", MediaPolicy() if policy is None else policy)
    if folder is None:
        raise InputError(
            f"{len(content):,} bytes were given as {medium}, and only the path of a file can be kept: give media_dir, "
            "a folder to write them to, or the path of a file"
        )
    found = identify_media(content)
    if found is None or found.medium != medium:
        raise MediaError(f"{len(content):,} bytes are no {medium} that is understood; give the content of a file")
    if medium == "image":
        # What is wrong with an image is said before it is kept.
        read_image_header(content, _ANY_SIZE)
    return keep_file(content, Path(folder), suffix=found.suffix)


def keep_file(content: bytes, folder: Path, *, name: str | None = None, suffix: str) -> Path:
    """Returns the file in `folder` that holds `content`, written if it is not there: whole, or not at all.

    Args:
        content: The bytes of the file.
        folder: Created if it does not exist.
        name: What stands before the suffix; `None` is the SHA-256 of the content.
        suffix: The end of the name, such as `".png"`.

    Raises:
        OSError: The file cannot be written.
    """
    path = folder / f"{hashlib.sha256(content).hexdigest() if name is None else name}{suffix}"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    # A process may be killed while it writes, and another may write the same: nobody sees half a file.
    unfinished = folder / f".writing-{secrets.token_hex(8)}"
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    return path


def decode_data_uri(uri: str, policy: MediaPolicy | None = None) -> bytes:
    """Returns the content of a `data:` URI, base64 or percent-encoded.

    Args:
        uri: Begins with `data:`.
        policy: Its `max_bytes` holds, and nothing larger is decoded; `None` is the default one.

    Raises:
        ValueError: It is another URI.
        MediaPolicyError: The content is larger than the policy allows.
        MediaError: The URI is malformed.
    """
    if uri[:5].lower() != "data:":
        raise ValueError(f"{quote(uri)} is no data: URI")
    return cast("bytes", open_source(uri, MediaPolicy() if policy is None else policy))


def find_local_file(uri: str) -> Path | None:
    """Returns the path that a path or `file:` URI names; `None` for any other URI. Whether it exists is not checked."""
    scheme = uri.partition(":")[0].lower() if ":" in uri else ""
    if scheme == "file":
        return decode_path(uri)
    # A single letter before the colon is a drive; a name with a colon in it is a name.
    return None if scheme == "data" or "://" in uri else Path(uri)


def hash_file(path: Path, policy: MediaPolicy | None = None) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal.

    Args:
        path: The file.
        policy: What may be opened; `None` is any local file of any size.

    Raises:
        MediaPolicyError: The policy refuses the file.
        MediaError: The file is missing or cannot be read.
    """
    with open_file(path, _ANY_SIZE if policy is None else policy) as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise MediaError(f"{quote(path)} cannot be read: {explain(error)}") from error


def _identify_video(start: bytes) -> tuple[str, str] | None:
    """The MIME type and the suffix."""
    if start[4:8] == b"ftyp":
        brand = start[8:12]
        if brand == b"qt  ":
            return "video/quicktime", ".mov"
        return ("video/3gpp", ".3gp") if brand.startswith(b"3gp") else ("video/mp4", ".mp4")
    if start.startswith(b"\x1a\x45\xdf\xa3"):
        return ("video/webm", ".webm") if b"webm" in start[:64] else ("video/x-matroska", ".mkv")
    if start.startswith(b"RIFF") and start[8:12] == b"AVI ":
        return "video/x-msvideo", ".avi"
    if start.startswith((b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3")):
        return "video/mpeg", ".mpg"
    if start.startswith(b"FLV\x01"):
        return "video/x-flv", ".flv"
    if start.startswith(_ASF_BEGINNING):
        return "video/x-ms-wmv", ".wmv"
    is_transport_stream = start.startswith(b"G") and start[_PACKET_BYTES : _PACKET_BYTES + 1] == b"G"
    return ("video/mp2t", ".ts") if is_transport_stream else None
