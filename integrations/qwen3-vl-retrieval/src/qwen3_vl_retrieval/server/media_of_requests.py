"""Images and videos of requests: from `data:` URIs and base64 to bytes; nothing else is opened unless it is allowed."""

from __future__ import annotations

import base64
import binascii
import re

from qwen3_vl_retrieval.errors import InputError, MediaError, MediaPolicyError, quote, shorten
from qwen3_vl_retrieval.media.images import measure_image
from qwen3_vl_retrieval.media.policy import MediaPolicy, check_size, read_bytes
from qwen3_vl_retrieval.server.limits import ServerLimits

__all__ = ["MediaOfRequests", "PixelCount"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


class PixelCount:
    """The pixels of the images of one request, of which there may be `most`."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._most = most

    def add(self, width: int, height: int) -> None:
        """Counts an image.

        Raises:
            MediaPolicyError: They are more than allowed.
        """
        self._left -= width * height
        if self._left < 0:
            raise MediaPolicyError(
                f"the images of this request have more than {self._most:,} pixels together; send fewer in a request"
            )


class MediaOfRequests:
    """Reads what a client names as an image or a video.

    Models are given bytes, never a name: what a client writes cannot make them open anything.

    Args:
        policy: What may be opened: without `allow_urls` no URL, and without `allow_dirs` no file.
        limits: How much of it a request may hold.
    """

    def __init__(self, policy: MediaPolicy, limits: ServerLimits) -> None:
        self._policy = policy
        self._limits = limits

    def count_pixels(self) -> PixelCount:
        """Returns a new count, for one request."""
        return PixelCount(self._limits.max_pixels)

    def read_image(self, source: object, pixels: PixelCount) -> bytes:
        """Returns the file of an image; its size is known to be allowed, and it is not decoded yet.

        Args:
            source: A `data:` URI, base64, or a URL that is allowed.
            pixels: Counts those of the request.

        Raises:
            InputError: It is no such text.
            MediaError: It is no image, or may not be opened, or is too large.
        """
        content = self._read(source, "image")
        pixels.add(*measure_image(content, self._policy))
        return content

    def read_video(self, source: object) -> bytes:
        """Returns the file of a video; how long it may be, the model checks.

        Raises:
            InputError: It is no such text.
            MediaError: It may not be opened, or is too large.
        """
        return self._read(source, "video")

    def _read(self, source: object, name: str) -> bytes:
        if not isinstance(source, str):
            raise InputError(f"the {name} is {quote(source, with_type=True)}; send a data: URI or base64 as a string")
        match = _SCHEME.match(source)
        match match[1].lower() if match else "":
            case "":
                return self._decode_base64(source, name)
            case "data":
                return read_bytes(source, self._policy)
            case "http" | "https" if self._policy.allow_urls:
                return self._open(source, f"the URL {shorten(source)!r} cannot be fetched, or is not allowed here")
            case "http" | "https":
                raise MediaPolicyError(
                    f"this server fetches no URLs, and was given {shorten(source)!r}; send the {name} as a data: URI"
                )
            case "file" if self._policy.allow_dirs:
                return self._open(source, f"the file {shorten(source)!r} is not there, or is not allowed here")
            case "file":
                raise MediaPolicyError(
                    f"this server opens no files, and was given {shorten(source)!r}; send the {name} as a data: URI"
                )
            case _:
                raise MediaPolicyError(
                    f"the scheme of {shorten(source)!r} is not supported; send the {name} as a data: URI"
                )

    def _open(self, source: str, refusal: str) -> bytes:
        """What the operator allows; why something cannot be opened may name folders and addresses, and is not told."""
        try:
            return read_bytes(source, self._policy)
        except MediaError as error:
            raise MediaPolicyError(f"{refusal}; send a data: URI") from error

    def _decode_base64(self, source: str, name: str) -> bytes:
        check_size(len(source) * 3 // 4 - 2, f"the {name}", self._policy)
        try:
            return base64.b64decode("".join(source.split()), validate=True)
        except (binascii.Error, ValueError):
            raise MediaError(
                f"the {name} {quote(source)} is no data: URI and no base64; a server opens no paths: send the content"
            ) from None
