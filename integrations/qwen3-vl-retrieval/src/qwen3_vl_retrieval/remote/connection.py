"""HTTP to an engine elsewhere: bounded concurrency, retries, and errors that say what to do."""

from __future__ import annotations

import asyncio
import math
import os
import random
import ssl
import threading
import time
import weakref
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, Self, TypedDict, TypeVar, cast
from urllib.parse import urlsplit

import httpx

from qwen3_vl_retrieval.errors import RemoteError, explain, quote, shorten
from qwen3_vl_retrieval.forks import renew_in_children

__all__ = ["Connection", "ConnectionOptions", "RefusedRequestError"]

T = TypeVar("T")

_RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be another the next time: too many requests, or a server that is busy, starting or failing."""

_FAILURE = 500
_MOST_FAILURES = 4
"""A server that fails over a request may be failing over this one, and the others shall not wait for it."""

_DESCRIBING_SECONDS = 15.0

_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 15.0

_SHOWN_CHARACTERS = 400
"""Characters of what a server says that are repeated in a message."""


class ConnectionOptions(TypedDict, total=False):
    """How an engine elsewhere is spoken to.

    Attributes:
        api_key: Sent as `Authorization: Bearer …`.
        headers: Sent with each request, for gateways that want more.
        timeout_seconds: Time that one request may take.
        retry_seconds: Time for which a request is sent again when the server cannot be reached or is busy: long enough
            for a server to be started anew. What is sent changes nothing there, so that nothing is lost or done twice.
        max_concurrency: Requests under way at once.
        verify_tls: Whether the certificate is checked; an `ssl.SSLContext` knows an authority of your own.
    """

    api_key: str | None
    headers: Mapping[str, str] | None
    timeout_seconds: float
    retry_seconds: float
    max_concurrency: int
    verify_tls: bool | ssl.SSLContext


class RefusedRequestError(Exception):
    """The server says that it will not do what this request asks for, however often it is sent.

    Attributes:
        status: Status of the answer.
        reason: What the server says is wrong.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"HTTP {status}: {reason}")
        self.status = status
        self.reason = reason


class Connection:
    """Requests to one server, from any number of threads and event loops; a child process connects anew.

    Everything is sent by one thread of its own, whose event loop the connections belong to: so a synchronous caller,
    and one whose event loop ends after each call, keep them open as well.

    Args:
        base_url: Where the server is, with or without `/v1`: `"http://gpu-1:8000"`.
        **options: See `ConnectionOptions`.

    Raises:
        ValueError: `base_url` is no HTTP address, or an option is out of range.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 120.0,
        retry_seconds: float = 180.0,
        max_concurrency: int = 8,
        verify_tls: bool | ssl.SSLContext = True,
    ) -> None:
        self.base_url = _check_address(base_url)
        if not (timeout_seconds > 0 and retry_seconds >= 0 and max_concurrency >= 1):
            raise ValueError(
                f"timeout_seconds={timeout_seconds}, retry_seconds={retry_seconds} and max_concurrency="
                f"{max_concurrency} must be positive"
            )
        given = {} if headers is None else dict(headers)
        self._headers = given if api_key is None else {"Authorization": f"Bearer {api_key}", **given}
        self._timeout_seconds = timeout_seconds
        self._retry_seconds = retry_seconds
        self.max_concurrency = max_concurrency
        self._verify_tls = verify_tls
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begins without a thread: that of a parent process is its own."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: httpx.AsyncClient | None = None
        self._turns: asyncio.Semaphore | None = None
        self._shut_down: weakref.finalize[..., Self] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; the next request opens others."""
        with self._lock:
            shut_down, self._loop, self._client, self._shut_down = self._shut_down, None, None, None
        if shut_down is not None:
            shut_down()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Returns the future of a coroutine that calls `get` and `post`; cancelling it ends its requests."""
        return asyncio.run_coroutine_threadsafe(work, self._find_loop())

    async def get(self, path: str) -> Any:
        """Returns the JSON that the server answers to a GET, which says what is there: nobody waits long for it.

        Raises:
            RemoteError: The server cannot be reached, or keeps failing.
            RefusedRequestError: It refuses the request.
        """
        return await self._send("GET", path, None, min(self._retry_seconds, _DESCRIBING_SECONDS))

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Returns the JSON that the server answers to a POST of JSON; raises as `get`, after `retry_seconds`."""
        return await self._send("POST", path, body, self._retry_seconds)

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None, retry_seconds: float) -> Any:
        deadline = time.monotonic() + retry_seconds
        wait_seconds = _FIRST_WAIT_SECONDS
        failures = 0
        while True:
            client, turns = self._find_client()
            asked_seconds: float | None = None
            try:
                async with turns:
                    response = await client.request(method, path, json=body)
                failures += response.status_code == _FAILURE
                if response.status_code not in _RETRIED_STATUSES or failures > _MOST_FAILURES:
                    return self._read(response, path)
                reason = f"answers {_describe(response)}"
                asked_seconds = _read_retry_after(response)
            except httpx.TransportError as error:
                reason = f"cannot be reached ({type(error).__name__}: {explain(error)})"
            # Others that failed at the same moment shall not come back at the same moment.
            pause = wait_seconds * random.uniform(0.5, 1.0) if asked_seconds is None else asked_seconds  # noqa: S311 - no secret
            if time.monotonic() + pause > deadline:
                raise RemoteError(
                    f"{self.base_url} {reason}, and has not done otherwise for {retry_seconds:g} seconds; see "
                    "whether the server runs, and raise retry_seconds if it takes longer to start"
                )
            await asyncio.sleep(pause)
            wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)

    def _read(self, response: httpx.Response, path: str) -> Any:
        status = response.status_code
        if status in (401, 403):
            raise RemoteError(f"{self.base_url} refuses the API key (HTTP {status}); pass the one it was started with")
        if status >= 300:
            raise RefusedRequestError(status, _find_reason(response))
        try:
            return response.json()
        except ValueError as error:
            raise RemoteError(
                f"{self.base_url}{path} answers with something else than JSON ({_describe(response)}); see whether "
                "this is the address of vLLM or of `qwen3vl serve`"
            ) from error

    def _find_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run_loop, args=(self._loop,), name="remote-engine", daemon=True).start()
                self._client = httpx.AsyncClient(
                    base_url=self.base_url,
                    headers=self._headers,
                    timeout=httpx.Timeout(self._timeout_seconds, pool=None),
                    limits=httpx.Limits(max_connections=self.max_concurrency),
                    verify=self._verify_tls,
                )
                self._turns = asyncio.Semaphore(self.max_concurrency)
                # Who forgets a connection leaves neither thread nor sockets behind.
                self._shut_down = weakref.finalize(self, _shut_down, self._loop, self._client, os.getpid())
                self._shut_down.atexit = False
            return self._loop

    def _find_client(self) -> tuple[httpx.AsyncClient, asyncio.Semaphore]:
        if self._client is None or self._turns is None:
            raise RemoteError(f"the connection to {self.base_url} was closed while a request was under way")
        return self._client, self._turns


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def _shut_down(loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient, process_id: int) -> None:
    """Closes the sockets and ends the thread, which a child process does not have."""
    if process_id != os.getpid() or loop.is_closed():
        return

    async def close() -> None:
        await client.aclose()
        loop.stop()

    loop.call_soon_threadsafe(lambda: loop.create_task(close()))


def _check_address(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(
            f"base_url={quote(base_url)} is no address of a server; give one such as 'http://localhost:8000'"
        )
    return base_url.rstrip("/").removesuffix("/v1")


def _describe(response: httpx.Response) -> str:
    return f"HTTP {response.status_code}: {_find_reason(response)}"


def _find_reason(response: httpx.Response) -> str:
    """What the server says is wrong: the message of its JSON, or the beginning of its text."""
    try:
        said: Any = response.json()
    except ValueError:
        said = response.text
    for name in ("error", "detail", "message"):
        if isinstance(said, dict):
            said = cast("dict[str, Any]", said).get(name, cast("dict[str, Any]", said))
    text = said if isinstance(said, str) else str(said)
    return shorten(text[:_SHOWN_CHARACTERS]) or response.reason_phrase


def _read_retry_after(response: httpx.Response) -> float | None:
    """Seconds for which the server asks to be left alone; dates are not understood."""
    try:
        seconds = float(response.headers.get("retry-after", "nan"))
    except ValueError:
        return None
    return None if math.isnan(seconds) or seconds < 0 else min(seconds, _LONGEST_WAIT_SECONDS)
