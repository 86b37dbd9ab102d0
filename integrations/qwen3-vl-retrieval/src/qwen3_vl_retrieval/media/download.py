"""Downloads under a `MediaPolicy`: the host, every address, every redirect, the size and the time are checked.

The connection is made to the addresses that were checked, not to the name again, so a name server that changes its
answer in between gains nothing; the certificate is still checked against the name. Proxies and other settings of the
environment are not used.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeAlias, TypeVar

import httpcore
import httpx

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError, explain, quote
from qwen3_vl_retrieval.media.addresses import is_allowed_host, resolve_host
from qwen3_vl_retrieval.media.policy import MediaPolicy, check_size, shorten_name

__all__ = ["UrlLook", "fetch_url", "look_at_url"]

T = TypeVar("T")

_Read: TypeAlias = Callable[[httpcore.Response, dict[bytes, str], str], T]

_OK = 200
_NO_HEADS = (405, 501)
_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class UrlLook:
    """What a server says of an address without sending what is there.

    Attributes:
        size_bytes: Length of the body; 0 if it does not say.
        version: Changes with the body: its ETag, or when it was changed; empty if it does not say.
    """

    size_bytes: int
    version: str


def fetch_url(url: str, policy: MediaPolicy) -> bytes:
    """Returns the body of a GET of `url`, uncompressed.

    Raises:
        MediaPolicyError: URLs, the scheme, the host, an address or a redirect are not allowed, or the download
            exceeds `max_bytes`, `timeout_seconds` or `max_redirects`.
        MediaError: The URL is malformed, the host cannot be reached, or it answers with another status than 200.
    """
    return _follow(url, policy, "GET", partial(_read_body, policy=policy))


def look_at_url(url: str, policy: MediaPolicy) -> UrlLook:
    """Returns what the server says to a HEAD of `url`; nothing if it does not answer such a request.

    Raises:
        MediaPolicyError: As in `fetch_url`.
        MediaError: As in `fetch_url`.
    """
    return _follow(url, policy, "HEAD", _read_head)


def _follow(url: str, policy: MediaPolicy, method: str, read: _Read[T]) -> T:
    """What `read` makes of the answer at the end of all redirects."""
    deadline = _Deadline(time.monotonic() + policy.timeout_seconds, policy, shorten_name(url))
    target = _check_url(url, policy)
    for _ in range(policy.max_redirects + 1):
        answer = _request(target, policy, deadline, method, read)
        if not isinstance(answer, _Redirect):
            return answer
        target = _check_url(answer.url, policy)
    raise MediaPolicyError(
        f"{shorten_name(url)!r} leads to more than max_redirects={policy.max_redirects} redirects; give the final URL"
    )


@dataclass(frozen=True, slots=True)
class _Redirect:
    url: str


@dataclass(frozen=True, slots=True)
class _Deadline:
    at: float
    policy: MediaPolicy
    shown: str

    def clip_timeout(self, timeout: int | float | None = None) -> float:
        """The seconds left, or `timeout` if that is less; raises when none are left."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise self.expire()
        return left if timeout is None else min(left, timeout)

    def expire(self) -> MediaPolicyError:
        return MediaPolicyError(
            f"the download of {self.shown!r} took longer than timeout_seconds={self.policy.timeout_seconds:g}; "
            "raise timeout_seconds of the MediaPolicy or download the file yourself"
        )


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every operation ends at the deadline, however slowly the other side feeds it."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: int | float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.clip_timeout(timeout))

    def write(self, buffer: bytes, timeout: int | float | None = None) -> None:
        self._stream.write(buffer, self._deadline.clip_timeout(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: int | float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.clip_timeout(timeout))
        return _TimedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, in order, whatever name is asked for."""

    def __init__(self, addresses: Sequence[str], deadline: _Deadline) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: int | float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for place, address in enumerate(self._addresses):
            # An address that does not answer leaves time for those after it.
            share = self._deadline.clip_timeout(timeout) / (len(self._addresses) - place)
            try:
                stream = self._network.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure


def _check_url(url: str, policy: MediaPolicy) -> httpx.URL:
    shown = shorten_name(url)
    if not policy.allow_urls:
        raise MediaPolicyError(
            f"{shown!r} is a URL, and URLs are not allowed; set allow_urls (and allow_hosts) of the MediaPolicy"
        )
    try:
        parsed = httpx.URL(url)
        # Names of the form `xn--` are first decoded here.
        named = parsed.host
    except (httpx.InvalidURL, ValueError) as error:
        raise MediaError(f"malformed URL {shown!r}: {error}") from error
    if parsed.scheme not in _PORTS:
        raise MediaPolicyError(f"the scheme of {shown!r} is not allowed for downloads; allowed are http and https")
    if parsed.userinfo:
        raise MediaPolicyError("a URL with a user name or password is not allowed; give it without them")
    if not named or not 1 <= (parsed.port or _PORTS[parsed.scheme]) <= _LAST_PORT:
        raise MediaError(f"malformed URL {shown!r}: it needs a host and, if any, a port from 1 to {_LAST_PORT}")
    host = parsed.raw_host.decode("ascii")
    if not is_allowed_host(host, policy):
        raise MediaPolicyError(
            f"the host {quote(host)} is not allowed; allowed are {', '.join(policy.allow_hosts)}. "
            "Add it to allow_hosts of the MediaPolicy if it is meant"
        )
    return parsed


def _request(url: httpx.URL, policy: MediaPolicy, deadline: _Deadline, method: str, read: _Read[T]) -> T | _Redirect:
    """What `read` makes of the answer, or where it redirects to."""
    host = url.raw_host.decode("ascii")
    port = url.port or _PORTS[url.scheme]
    addresses = resolve_host(host, port, policy, timeout_seconds=deadline.clip_timeout())
    shown = shorten_name(str(url))
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), policy.timeout_seconds)
    headers = [
        ("Host", url.netloc.decode("ascii")),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", "qwen3-vl-retrieval"),
        ("Connection", "close"),
    ]
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port, target=url.raw_path)
    context = _create_ssl_context() if url.scheme == "https" else None
    backend = _CheckedBackend(addresses, deadline)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=context, network_backend=backend) as pool,
            pool.stream(method, target, headers=headers, extensions={"timeout": timeouts}) as response,
        ):
            fields = {name.lower(): value.decode("latin-1") for name, value in response.headers}
            location = fields.get(b"location")
            if response.status in _REDIRECTS and location:
                return _Redirect(str(url.join(location)))
            return read(response, fields, shown)
    except httpcore.TimeoutException as error:
        raise deadline.expire() from error
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise MediaError(f"{shown!r} cannot be downloaded: {explain(error)}") from error
    except httpx.InvalidURL as error:
        raise MediaError(f"{shown!r} redirects to a malformed URL: {error}") from error


def _read_body(response: httpcore.Response, fields: dict[bytes, str], shown: str, policy: MediaPolicy) -> bytes:
    if response.status != _OK:
        raise MediaError(f"{shown!r} answers with status {response.status}; expected {_OK}")
    encoding = fields.get(b"content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise MediaError(f"{shown!r} is sent compressed ({encoding}), which was not asked for; download it yourself")
    declared = fields.get(b"content-length", "")
    if declared.isdecimal():
        check_size(int(declared), shown, policy)
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        check_size(len(body), shown, policy)
    return bytes(body)


def _read_head(response: httpcore.Response, fields: dict[bytes, str], shown: str) -> UrlLook:
    if response.status in _NO_HEADS:
        return UrlLook(0, "")
    if response.status != _OK:
        raise MediaError(f"{shown!r} answers with status {response.status}; expected {_OK}")
    declared = fields.get(b"content-length", "")
    version = fields.get(b"etag", fields.get(b"last-modified", ""))
    return UrlLook(int(declared) if declared.isdecimal() else 0, version)


@lru_cache(maxsize=1)
def _create_ssl_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
