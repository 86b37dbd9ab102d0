"""Media of nodes as files: stores keep paths, and lose the bytes and what URLs led to."""

from __future__ import annotations

import base64
import hashlib
import io
import mimetypes
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from llama_index.core.schema import MediaResource

from llama_index.embeddings.qwen3_vl.sources import decode_base64
from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import draw_document
from qwen3_vl_retrieval.media import guess_mime_type, identify_image, read_image_header
from qwen3_vl_retrieval.paths import decode_path, encode_path

__all__ = ["MediaFolder", "Medium", "describe_file", "hash_file"]

Medium: TypeAlias = Literal["image", "video"]

_ANY_SIZE = MediaPolicy(max_bytes=2**62, max_pixels=2**62, max_pages=2**62)
"""Here only headers are read: whoever embeds the file has limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFolder:
    """Where media go that are not in files yet; a file is named by the hash of its content.

    Attributes:
        folder: Made if need be; `None` refuses everything that would have to be written.
        policy: What may be opened; `None` is any local file, and no URL.
    """

    folder: Path | None
    policy: MediaPolicy | None

    def keep(self, source: str | bytes, medium: Medium) -> str:
        """Returns the path of a picture or clip that is given as data, `data:` URI, URL or path; a path stays itself.

        A picture behind a URL is downloaded and kept as PNG. A clip behind a URL stays there.

        Raises:
            InputError: There is no folder to write to, or the data are damaged.
            MediaPolicyError: URLs are not allowed, or the data are too large.
            MediaError: It is no picture, or no clip.
        """
        if isinstance(source, bytes):
            return str(self._write(source, medium))
        scheme = source.partition(":")[0].lower() if ":" in source else ""
        if scheme == "data":
            return str(self._write(self._decode(source), medium))
        if scheme == "file":
            return str(decode_path(source))
        if "://" not in source:
            return source
        pictures = draw_document("", {"media_type": medium, medium: source}, policy=self.policy, max_frames=1)
        if medium == "video":
            return source
        stream = io.BytesIO()
        pictures[0].save(stream, "PNG")
        return str(self._write(stream.getvalue(), medium))

    def _decode(self, uri: str) -> bytes:
        header, comma, payload = uri.partition(",")
        if not comma:
            raise InputError(f"malformed data: URI {quote(header)}: no comma before the data")
        if not header.lower().endswith(";base64"):
            return unquote_to_bytes(payload)
        return decode_base64(unquote(payload), "image", self.policy)

    def _write(self, content: bytes, medium: Medium) -> Path:
        limit = (MediaPolicy() if self.policy is None else self.policy).max_bytes
        if len(content) > limit:
            raise MediaError(f"{len(content):,} bytes are above max_bytes={limit:,} of the MediaPolicy")
        if self.folder is None:
            raise InputError(
                f"{len(content):,} bytes were given as {medium}, and stores keep paths: give media_dir, a folder to "
                "write them to, or the path of a file"
            )
        image = identify_image(content)
        mime_type = _find_type(content) if image is None else image.mime_type
        if mime_type is None or mime_type.partition("/")[0] != medium:
            raise MediaError(f"{len(content):,} bytes are no {medium} that is understood")
        suffix = mimetypes.guess_extension(mime_type) if image is None else image.suffixes[0]
        path = self.folder / f"{hashlib.sha256(content).hexdigest()}{'' if suffix is None else suffix}"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_whole(path, content)
        return path


def describe_file(source: str, medium: Medium) -> dict[str, Any]:
    """Returns metadata of a picture or clip: `image` or `video`, and of a local file what is known without a model.

    Those are `mime_type`, `sha256`, and of a picture `width` and `height`. Of a file that is not there, or no picture,
    that is nothing: embedding it says what is wrong.
    """
    told: dict[str, Any] = {medium: source if "://" in source else encode_path(Path(source))}
    mime_type = guess_mime_type(urlsplit(source).path if "://" in source else Path(source))
    if mime_type is not None:
        told["mime_type"] = mime_type
    if "://" in source or not Path(source).is_file():
        return told
    told["sha256"] = hash_file(Path(source))
    if medium == "image":
        try:
            header = read_image_header(Path(source), _ANY_SIZE)
            told |= {"mime_type": header.mime_type, "width": header.width, "height": header.height}
        except MediaError:
            return told
    return told


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find_type(content: bytes) -> str | None:
    """The MIME type by the first bytes, as LlamaIndex finds it."""
    return MediaResource(data=base64.b64encode(content)).mimetype


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
