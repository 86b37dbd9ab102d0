"""Objects of a store such as S3, under a `MediaPolicy`: the prefix, the size and the time are checked.

What a URL names has to lie below one of the prefixes that the policy allows, as it is written and as the file system
understands it. Credentials are those of the environment, as the tools of each store have them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar, cast
from urllib.parse import unquote

from qwen3_vl_retrieval.bounded_cache import BoundedCache
from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError, StoreError, explain, quote
from qwen3_vl_retrieval.lazy_imports import import_extra
from qwen3_vl_retrieval.media.policy import MediaPolicy, check_size, shorten_name

__all__ = ["fetch_object", "identify_object", "open_filesystem"]

T = TypeVar("T")

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)

_MOST_DECODINGS = 3
"""How often a name may be percent-encoded over itself before it is refused: nobody means even two."""

_VERSION_FIELDS = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "updated", "mtime")
"""What the file systems of S3, Google and Azure, and others, name what changes with the content."""

_KEPT_BYTES = 256 * 1024 * 1024
"""Objects that are kept in memory: ten pages of one PDF among the candidates of a query fetch it once."""

_KEPT = BoundedCache[tuple[str, MediaPolicy, str], bytes](_KEPT_BYTES, measure=len)


def fetch_object(url: str, policy: MediaPolicy) -> bytes:
    """Returns the content of an object.

    It is fetched again only if the store says that it has changed.

    Raises:
        MediaPolicyError: No prefix of `policy.allow_storage` holds it, or it exceeds `max_bytes` or `timeout_seconds`.
        MediaError: There is no such object, it cannot be reached, or a package for its scheme is not installed.
    """
    shown = shorten_name(url)
    filesystem, name = _open(url, policy)

    def fetch() -> bytes:
        size_bytes, version = _look_at(filesystem, name, shown)
        check_size(size_bytes, shown, policy)
        key = (url, policy, version)
        kept = _KEPT.find(key) if version else None
        if kept is not None:
            return kept
        # No more than was announced, whatever has become of it since. A range of nothing is an error.
        content = cast("bytes", filesystem.cat_file(name, start=0, end=size_bytes)) if size_bytes else b""
        if len(content) != size_bytes:
            raise MediaError(f"{shown!r} was changed while it was read; try again")
        if version:
            _KEPT.keep(key, content)
        return content

    return _run_in_time(fetch, shown, policy)


def identify_object(url: str, policy: MediaPolicy) -> str | None:
    """Returns what changes with the content of an object, as the store says it; `None` if it does not say.

    Raises the same as `fetch_object`.
    """
    shown = shorten_name(url)
    filesystem, name = _open(url, policy)
    _, version = _run_in_time(lambda: _look_at(filesystem, name, shown), shown, policy)
    return version if version else None


def open_filesystem(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Returns the file system of a URL, and the path in it.

    Args:
        url: Such as `s3://bucket/folder`, `gs://…`, `az://…` or `memory://…`.
        options: Those of the file system, such as `endpoint_url`.

    Raises:
        StoreError: fsspec or the package for the scheme is not installed, or the scheme is unknown.
    """
    core = import_extra("fsspec.core", purpose="locations other than local folders", extra="jobs")
    try:
        found: tuple[Any, str] = core.url_to_fs(url, **options)
    except (ImportError, ValueError, TypeError) as error:
        raise StoreError(
            f"{quote(url)} cannot be opened: {explain(error)}; give a folder, or a URL of a scheme whose package is "
            "installed (s3:// needs s3fs, gs:// needs gcsfs)"
        ) from error
    return found


def _open(url: str, policy: MediaPolicy) -> tuple[Any, str]:
    """The file system of a URL that the policy allows, and the name of the object in it.

    In the thread of the caller: fsspec makes file systems, and they their connections, for each thread.
    """
    prefix = _find_prefix(url, policy)
    try:
        filesystem, name = open_filesystem(url, dict(policy.storage_options))
        root = str(filesystem._strip_protocol(prefix)).rstrip("/")
    except StoreError as error:
        raise MediaError(str(error)) from error
    if name != root and not name.startswith(f"{root}/"):
        raise _refuse(url, policy)
    return filesystem, name


def _look_at(filesystem: Any, name: str, shown: str) -> tuple[int, str]:
    """The size of an object, and what changes with its content; `""` if the store does not say."""
    filesystem.invalidate_cache()
    told = cast("dict[str, Any]", filesystem.info(name))
    if told.get("type") != "file" or told.get("size") is None:
        raise MediaError(f"{shown!r} is a folder; give an object")
    size_bytes = int(told["size"])
    version = next((str(told[field]) for field in _VERSION_FIELDS if told.get(field) is not None), "")
    return size_bytes, f"{version}:{size_bytes}" if version else ""


def _find_prefix(url: str, policy: MediaPolicy) -> str:
    """The allowed prefix that holds a URL."""
    match = _URL.fullmatch(url)
    if match is None or "::" in url or not url.isprintable():
        # Two colons chain file systems, each of which opens what the next one names.
        raise _refuse(url, policy)
    # Whoever resolves such a name, a client or the store, would leave the prefix.
    decoded = match[2]
    for _ in range(_MOST_DECODINGS):
        if "\\" in decoded or any(segment in (".", "..") for segment in decoded.split("/")):
            raise _refuse(url, policy)
        before, decoded = decoded, unquote(decoded)
        if decoded == before:
            break
    else:
        raise _refuse(url, policy)
    named = f"{match[1].lower()}://{match[2]}"
    for prefix in policy.allow_storage:
        if named == prefix or named.startswith(f"{prefix}/"):
            return prefix
    raise _refuse(url, policy)


def _refuse(url: str, policy: MediaPolicy) -> MediaPolicyError:
    return MediaPolicyError(
        f"{shorten_name(url)!r} is not below the allowed prefixes of object storage "
        f"({', '.join(policy.allow_storage)}); add its prefix to allow_storage of the MediaPolicy if it is meant"
    )


def _run_in_time(run: Callable[[], T], shown: str, policy: MediaPolicy) -> T:
    """What `run` returns, unless it takes longer than the policy allows; its thread is then left behind."""
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(run())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            outcome.set_exception(error)

    # A daemon: one that hangs does not keep the program from ending.
    threading.Thread(target=work, name="fetch-object", daemon=True).start()
    try:
        return outcome.result(policy.timeout_seconds)
    except MediaError:
        raise
    except FileNotFoundError as error:
        raise MediaError(f"there is no {shown!r}; give an existing object") from error
    except Exception as error:
        # Each store has errors of its own, which no common class tells from others.
        if isinstance(error, TimeoutError) and not outcome.done():
            raise MediaPolicyError(
                f"fetching {shown!r} took longer than timeout_seconds={policy.timeout_seconds:g}; raise "
                "timeout_seconds of the MediaPolicy or fetch the file yourself"
            ) from error
        raise MediaError(f"{shown!r} cannot be fetched ({type(error).__name__}: {explain(error)})") from error
