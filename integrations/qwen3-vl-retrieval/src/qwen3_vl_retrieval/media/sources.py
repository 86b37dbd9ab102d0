"""From what a caller names to bytes or a file: the one place where a `str` is understood as a path or URI."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.media.policy import MediaPolicy, check_size, read_file, resolve_path, shorten_name
from qwen3_vl_retrieval.paths import read_file_uri

__all__ = ["open_source", "read_bytes"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
"""A URI scheme of at least two letters: one letter and a colon is a drive."""


def open_source(source: str | Path | bytes, policy: MediaPolicy) -> Path | bytes:
    """Returns the resolved path of a local file, or the bytes of anything else.

    A `str` is a URL (`http:`, `https:`), a `data:` URI (base64 or percent-encoded), a `file:` URI without a host, or
    else a local path.

    Raises:
        MediaPolicyError: The policy refuses the source, or it exceeds `max_bytes`.
        MediaError: The source cannot be read.
    """
    if isinstance(source, bytes):
        check_size(len(source), "bytes", policy)
        return source
    if isinstance(source, Path):
        return resolve_path(source, policy)
    match = _SCHEME.match(source)
    scheme = match[1].lower() if match else ""
    if scheme == "data":
        return _decode_data_uri(source, policy)
    if scheme == "file":
        return resolve_path(read_file_uri(source), policy)
    if scheme in ("http", "https"):
        from qwen3_vl_retrieval.media.download import fetch_url

        return fetch_url(source, policy)
    if match and source[match.end() :].startswith("//"):
        raise MediaPolicyError(
            f"the scheme of {shorten_name(source)!r} is not supported; allowed are http, https, data, file and paths"
        )
    return resolve_path(source, policy)


def read_bytes(source: str | Path | bytes, policy: MediaPolicy) -> bytes:
    """Returns the content of `source`, read, downloaded or decoded; see `open_source` for what a `str` is.

    Raises:
        MediaPolicyError: The policy refuses the source, or it exceeds `max_bytes`.
        MediaError: The source cannot be read.
    """
    opened = open_source(source, policy)
    return read_file(opened, policy) if isinstance(opened, Path) else opened


def _decode_data_uri(uri: str, policy: MediaPolicy) -> bytes:
    shown = shorten_name(uri)
    header, comma, payload = uri[len("data:") :].partition(",")
    if not comma:
        raise MediaError(f"malformed data: URI {shown!r}: no comma before the data")
    is_base64 = header.lower().endswith(";base64")
    # The smallest that the payload can decode to, so that nothing above the limit is decoded.
    check_size(len(payload) * 3 // 4 - 2 if is_base64 and "%" not in payload else len(payload) // 3, shown, policy)
    if not is_base64:
        content = unquote_to_bytes(payload)
    else:
        try:
            content = base64.b64decode("".join(unquote(payload).split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise MediaError(f"malformed data: URI {shown!r}: not base64 ({error})") from error
    check_size(len(content), shown, policy)
    return content
