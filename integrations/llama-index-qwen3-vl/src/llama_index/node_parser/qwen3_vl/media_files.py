"""Media that are in no file yet, written to one: nodes name files, and stores lose data."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path

from PIL import Image

from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy
from qwen3_vl_retrieval.media import identify_image, read_image_header

__all__ = ["keep_media", "keep_page"]

_ANY_SIZE = MediaPolicy(max_bytes=2**62, max_pixels=2**62, max_pages=2**62)
"""Here only headers are read: whoever embeds the file has limits."""


def keep_media(content: bytes, kind: str, media_dir: str | Path | None) -> Path:
    """Returns the file that holds the content, written if it is not there; its name is its SHA-256.

    Args:
        content: A picture or clip, as in a file.
        kind: `"image"` or `"video"`.
        media_dir: The folder, made if need be.

    Raises:
        InputError: There is no `media_dir`.
        MediaError: The content is no picture or clip that is understood.
    """
    if media_dir is None:
        raise InputError(
            f"{len(content):,} bytes were given as {kind}, and nodes name files: stores lose data. Give media_dir, a "
            "folder to write them to, or the path of a file"
        )
    suffix = _find_picture_suffix(content) if kind == "image" else _find_clip_suffix(content[:256])
    if suffix is None:
        raise MediaError(f"{len(content):,} bytes are no {kind} that is understood; give the content of a file")
    return _write_once(content, Path(media_dir) / f"{hashlib.sha256(content).hexdigest()}{suffix}")


def keep_page(page: Image.Image, name: str, media_dir: str | Path) -> Path:
    """Returns the PNG of a rendered page, written as `name` if it is not there."""
    path = Path(media_dir) / f"{name}.png"
    if path.is_file():
        return path
    stream = io.BytesIO()
    page.save(stream, "PNG")
    return _write_once(stream.getvalue(), path)


def _write_once(content: bytes, path: Path) -> Path:
    """Whole or not at all: a process may be killed while it writes, and another may write the same."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        unfinished.chmod(0o644)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _find_picture_suffix(content: bytes) -> str | None:
    found = identify_image(content)
    if found is None:
        return None
    # What is wrong with it is said before it is kept.
    read_image_header(content, _ANY_SIZE)
    return found.suffixes[0]


def _find_clip_suffix(header: bytes) -> str | None:
    """By the first bytes; `None` for what is no clip."""
    if header[4:8] == b"ftyp" and identify_image(header) is None:
        return ".mov" if header[8:12] == b"qt  " else ".mp4"
    if header.startswith(b"\x1a\x45\xdf\xa3"):
        return ".webm" if b"webm" in header[:64] else ".mkv"
    if header.startswith(b"RIFF") and header[8:12] == b"AVI ":
        return ".avi"
    return ".mpg" if header.startswith((b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3")) else None
