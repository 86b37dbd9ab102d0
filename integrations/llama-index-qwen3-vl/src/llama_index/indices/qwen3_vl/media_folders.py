"""Media of nodes as files: stores keep paths, and lose the bytes and what URLs led to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from qwen3_vl_retrieval import MediaError, MediaPolicy
from qwen3_vl_retrieval.index import Medium, decode_data_uri, draw_document, encode_png, hash_file, keep_media
from qwen3_vl_retrieval.media import guess_mime_type, read_image_header
from qwen3_vl_retrieval.paths import decode_path, encode_path

__all__ = ["MediaFolder", "describe_file"]

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
        """Returns the path of an image or video that is given as data, `data:` URI, URL or path; a path stays itself.

        An image behind a URL is downloaded and kept as PNG. A video behind a URL stays there.

        Raises:
            InputError: There is no folder to write to, or the data are damaged.
            MediaPolicyError: URLs are not allowed, or the data are too large.
            MediaError: It is no image, or no video.
        """
        if isinstance(source, bytes):
            return str(self._write(source, medium))
        scheme = source.partition(":")[0].lower() if ":" in source else ""
        if scheme == "data":
            return str(self._write(decode_data_uri(source, self.policy), medium))
        if scheme == "file":
            return str(decode_path(source))
        if "://" not in source:
            return source
        images = draw_document("", {"media_type": medium, medium: source}, policy=self.policy, max_frames=1)
        if medium == "video":
            return source
        return str(self._write(encode_png(images[0]), medium))

    def _write(self, content: bytes, medium: Medium) -> Path:
        return keep_media(content, medium, self.folder, policy=self.policy)


def describe_file(source: str, medium: Medium) -> dict[str, Any]:
    """Returns metadata of an image or video: `image` or `video`, and of a local file what is known without a model.

    Those are `mime_type`, `sha256`, and of an image `width` and `height`. Of a file that is not there, or no image,
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
