"""What may be opened, from where, and how large it may be: one policy for every path that opens media."""

from __future__ import annotations

import base64
import binascii
import io
import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import unquote, unquote_to_bytes

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError, explain, quote, shorten
from qwen3_vl_retrieval.paths import read_file_uri

__all__ = [
    "MediaPolicy",
    "check_pixels",
    "check_size",
    "is_stored_object",
    "open_file",
    "open_source",
    "read_bytes",
    "read_file",
    "resolve_path",
    "shorten_name",
]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
"""A URI scheme of at least two letters: one letter and a colon is a drive."""

_SHOWN_FOLDERS = 5

_STORAGE_PREFIX = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://([^/].*)", re.DOTALL)

_OTHER_SCHEMES = ("http", "https", "file", "local", "data")
"""What has rules of its own here, and is no object storage."""

_SECRET_OPTIONS = re.compile(r"key|secret|token|passw|credential|connection_string", re.IGNORECASE)
"""Options of file systems that hold credentials: a policy is shown, kept and sent along."""

StorageOption: TypeAlias = str | int | float | bool

_SWITCHES = ("allow_urls", "allow_private_addresses", "isolate_reading")

_LEAST_COUNTS = {
    "max_bytes": 1,
    "max_pixels": 1,
    "max_frames": 1,
    "max_pages": 1,
    "max_redirects": 0,
    "max_read_bytes": 1,
}

_DURATIONS = ("max_duration_seconds", "max_read_seconds", "timeout_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPolicy:
    """Limits on opening images, pages and videos. Frozen and hashable; share one between threads.

    The defaults suit a program that names its own files: no network at all, any local file, sizes far above
    ordinary media. For paths that come from elsewhere set `allow_dirs`; for URLs set `allow_hosts` too.

    Attributes:
        allow_urls: Whether `http://` and `https://` sources may be downloaded.
        allow_hosts: Hosts that URLs, and every redirect, may name. `"example.org"` is that host alone,
            `".example.org"` is every host below it (not `example.org` itself). Case does not matter; names with
            other than ASCII letters are given in their `xn--` form. Empty is any host.
        allow_private_addresses: Whether hosts may resolve to addresses that are not public (loopback, private,
            carrier-grade NAT, unique local). Link-local addresses, where clouds serve their credentials
            (`169.254.169.254`), multicast and unspecified addresses are refused even then.
        allow_dirs: Folders whose files, at any depth, may be opened; symbolic links are resolved first. `None`
            is any folder, `()` is none.
        allow_storage: Prefixes of object storage, such as `"s3://bucket/scans"`, below which objects may be opened,
            with the package that [fsspec](https://filesystem-spec.readthedocs.io) needs for the scheme. Credentials are
            those of the environment. Empty is none.
        storage_options: Options of their file systems, such as `{"endpoint_url": "https://minio.example"}`; kept as
            pairs. No credentials.
        max_bytes: Most bytes of a file, object, download, `data:` URI or `bytes` value.
        max_pixels: Most pixels of an image or of one frame, as its header declares them.
        max_frames: Most frames that a video may hold, before sampling.
        max_pages: Most pages that a PDF may hold.
        max_duration_seconds: Longest video.
        max_read_seconds: Longest time that an image, a page, the index of a video or its next frame may take to be
            read, see `isolate_reading`. On Linux that is processor time, and ten times as much on the clock.
        max_read_bytes: Most memory that reading one file may take in its process, beyond what the process starts with.
            Not known on Windows.
        isolate_reading: Whether files are read in processes of their own, which are ended when they exceed the two
            limits above. `False` reads them in this process, where neither limit holds and a damaged file can crash it.
        timeout_seconds: Time for a whole download, redirects included, or for an object.
        max_redirects: Most redirects of a download.
    """

    allow_urls: bool = False
    allow_hosts: tuple[str, ...] = ()
    allow_private_addresses: bool = False
    allow_dirs: tuple[str | Path, ...] | None = None
    allow_storage: tuple[str, ...] = ()
    storage_options: Mapping[str, StorageOption] | tuple[tuple[str, StorageOption], ...] = ()
    max_bytes: int = 512 * 1024 * 1024
    max_pixels: int = 100_000_000
    max_frames: int = 1_000_000
    max_pages: int = 2_000
    max_duration_seconds: int | float = 4 * 3600
    max_read_seconds: int | float = 60
    max_read_bytes: int = 1024 * 1024 * 1024
    isolate_reading: bool = True
    timeout_seconds: int | float = 30
    max_redirects: int = 3

    def __post_init__(self) -> None:
        """Raises `ValueError` for limits that allow nothing or are not understood."""
        object.__setattr__(self, "allow_hosts", tuple(_check_host(host) for host in _as_tuple(self, "allow_hosts")))
        if self.allow_dirs is not None:
            object.__setattr__(self, "allow_dirs", _as_tuple(self, "allow_dirs"))
            _check_dirs(self.allow_dirs)
        prefixes = tuple(_check_prefix(prefix) for prefix in _as_tuple(self, "allow_storage"))
        object.__setattr__(self, "allow_storage", prefixes)
        object.__setattr__(self, "storage_options", _check_storage_options(self.storage_options))
        for name in _SWITCHES:
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ValueError(f"{name}={quote(value)} must be True or False")  # noqa: TRY004 - a wrong value of a setting
        for name, least in _LEAST_COUNTS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name}={quote(value)} must be an int of at least {least}")
        for name in _DURATIONS:
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or not value > 0 or not math.isfinite(value):
                raise ValueError(f"{name}={quote(value)} must be a positive number of seconds")


def resolve_path(path: str | Path, policy: MediaPolicy) -> Path:
    """Returns the absolute path of the regular file that `path` leads to, symbolic links resolved.

    The folder is checked before the file is looked at, so that a refusal does not tell whether it exists.

    Raises:
        MediaPolicyError: The file is outside `policy.allow_dirs`, or larger than `policy.max_bytes`.
        MediaError: There is no such file, or it is a folder, a device, a pipe or a socket.
    """
    shown = shorten_name(str(path))
    try:
        resolved = Path(path).resolve()
        _check_folder(resolved, shown, policy)
        status = resolved.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise MediaError(f"no such file: {shown!r}; give an existing file") from None
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: a loop of symbolic links. ValueError: a null byte.
        raise MediaError(f"the path {shown!r} cannot be opened: {explain(error)}") from error
    _check_status(status, shown, policy)
    return resolved


def open_file(path: str | Path, policy: MediaPolicy) -> io.BufferedReader:
    """Returns the open file at `path`; see `resolve_path` for what is refused. The caller closes it.

    Raises:
        MediaPolicyError: The file is outside the allowed folders or too large.
        MediaError: The file is missing, not a regular file, or not readable.
    """
    shown = shorten_name(str(path))
    resolved = resolve_path(path, policy)
    # What was checked may have been exchanged since: no link is followed now, and the open file is checked again.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = os.fdopen(os.open(resolved, flags), "rb")
    except OSError as error:
        raise MediaError(f"the file {shown!r} cannot be read: {explain(error)}") from error
    try:
        _check_status(os.fstat(file.fileno()), shown, policy)
    except MediaError:
        file.close()
        raise
    return file


def read_file(path: str | Path, policy: MediaPolicy) -> bytes:
    """Returns the content of the file at `path`; see `resolve_path` for what is refused.

    Raises:
        MediaPolicyError: The file is outside the allowed folders or too large.
        MediaError: The file is missing, not a regular file, or not readable.
    """
    shown = shorten_name(str(path))
    try:
        with open_file(path, policy) as file:
            content = file.read(policy.max_bytes + 1)
    except OSError as error:
        raise MediaError(f"the file {shown!r} cannot be read: {explain(error)}") from error
    check_size(len(content), shown, policy)
    return content


def check_size(size: int, shown: str, policy: MediaPolicy) -> None:
    """Raises `MediaPolicyError` if `size` bytes are more than `policy.max_bytes`; `shown` names the source."""
    if size > policy.max_bytes:
        raise MediaPolicyError(
            f"{shown!r} has {size:,} bytes or more, above max_bytes={policy.max_bytes:,}; "
            "give a smaller file or raise max_bytes of the MediaPolicy"
        )


def check_pixels(width: int, height: int, policy: MediaPolicy, *, shown: str = "the image") -> None:
    """Raises `MediaPolicyError` if the sides make more than `policy.max_pixels`, `MediaError` if one is zero.

    `shown` names the image.
    """
    if width < 1 or height < 1:
        raise MediaError(f"{shown} is {width}x{height} pixels; both sides must be at least 1")
    if width * height > policy.max_pixels:
        raise MediaPolicyError(
            f"{shown} is {width}x{height} = {width * height:,} pixels, above max_pixels={policy.max_pixels:,}; "
            "give a smaller one or raise max_pixels of the MediaPolicy"
        )


def shorten_name(name: str) -> str:
    """Returns a path or URI for a message: whole if it is a path of usual length, its beginning if it carries data."""
    return shorten(name)


def _check_folder(resolved: Path, shown: str, policy: MediaPolicy) -> None:
    if policy.allow_dirs is None:
        return
    if not any(resolved.is_relative_to(Path(folder).resolve()) for folder in policy.allow_dirs):
        folders = [quote(Path(folder)) for folder in policy.allow_dirs[:_SHOWN_FOLDERS]]
        more = len(policy.allow_dirs) - len(folders)
        allowed = ", ".join([*folders, f"and {more} more"] if more > 0 else folders) if folders else "none"
        raise MediaPolicyError(
            f"the file {shown!r} is outside the allowed folders ({allowed}) once symbolic links are resolved; "
            "move it there or add its folder to allow_dirs of the MediaPolicy"
        )


def _check_status(status: os.stat_result, shown: str, policy: MediaPolicy) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, a pipe or a socket"
        raise MediaError(f"{shown!r} is {kind}; give a regular file")
    check_size(status.st_size, shown, policy)


def _as_tuple(policy: MediaPolicy, name: str) -> tuple[Any, ...]:
    value = getattr(policy, name)
    if isinstance(value, (str, bytes, Path)) or not isinstance(value, Sequence):
        raise ValueError(f"{name}={quote(value)} must be a tuple")  # noqa: TRY004 - a wrong value of a setting, as the others
    return tuple(cast("Sequence[Any]", value))


def _check_dirs(folders: tuple[object, ...]) -> None:
    for folder in folders:
        if not isinstance(folder, (str, Path)):
            raise ValueError(f"allow_dirs holds {quote(folder)}; allowed are str and Path")  # noqa: TRY004 - see `_as_tuple`


def _check_prefix(prefix: object) -> str:
    match = _STORAGE_PREFIX.fullmatch(prefix) if isinstance(prefix, str) else None
    parts = [] if match is None else match[2].rstrip("/").split("/")
    is_relative = any(part in (".", "..") for part in parts)
    if match is None or match[1].lower() in _OTHER_SCHEMES or "::" in match[2] or is_relative:
        raise ValueError(
            f"allow_storage holds {quote(prefix)}; allowed are prefixes of object storage that name a bucket, such as "
            "'s3://bucket/scans'"
        )
    return f"{match[1].lower()}://{'/'.join(parts)}"


def _check_storage_options(options: object) -> tuple[tuple[str, StorageOption], ...]:
    try:
        given = dict(cast("Mapping[object, object]", options))
    except (TypeError, ValueError):
        raise ValueError(f"storage_options={quote(options)} must be a mapping, or pairs of name and value") from None
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, StorageOption):
            raise ValueError(  # noqa: TRY004 - see `_as_tuple`
                f"storage_options holds {quote(name)}: {quote(value)}; allowed are str, numbers and bool"
            )
        if _SECRET_OPTIONS.search(name):
            raise ValueError(
                f"storage_options holds {quote(name)}; credentials are those of the environment, as the tools of each "
                "store have them (AWS_ACCESS_KEY_ID, ~/.aws, a role of the machine)"
            )
    return tuple(sorted(cast("dict[str, StorageOption]", given).items()))


def _check_host(host: object) -> str:
    if not isinstance(host, str):
        raise ValueError(f"allow_hosts holds {quote(host)}; allowed are str")  # noqa: TRY004 - see `_as_tuple`
    if not host.strip(".") or not host.isascii() or any(mark in host for mark in "/*@ ") or "://" in host:
        raise ValueError(
            f"allow_hosts holds {quote(host)}; allowed are names such as 'example.org' and, for all names below, "
            "'.example.org' (ASCII, no scheme, port or wildcard)"
        )
    return host.lower().rstrip(".")


def open_source(source: str | Path | bytes, policy: MediaPolicy) -> Path | bytes:
    """Returns the resolved path of a local file, or the bytes of anything else.

    A `str` is a URL (`http:`, `https:`), a `data:` URI (base64 or percent-encoded), a `file:` URI without a host, an
    object of a store (`s3://…`), or else a local path.

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
    if is_stored_object(source, policy):
        from qwen3_vl_retrieval.media.object_storage import fetch_object

        return fetch_object(source, policy)
    if match and source[match.end() :].startswith("//"):
        raise MediaPolicyError(
            f"the scheme of {shorten_name(source)!r} is not supported; allowed are http, https, data, file and paths, "
            "and the prefixes of object storage that allow_storage of the MediaPolicy names"
        )
    return resolve_path(source, policy)


def is_stored_object(source: str, policy: MediaPolicy) -> bool:
    """Returns whether a source is looked for in object storage: the policy allows some, and it is no other URL."""
    match = _SCHEME.match(source)
    return (
        bool(policy.allow_storage)
        and match is not None
        and match[1].lower() not in _OTHER_SCHEMES
        and source.startswith("//", match.end())
    )


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
