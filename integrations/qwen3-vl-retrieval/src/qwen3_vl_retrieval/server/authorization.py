"""API keys: who may ask."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from qwen3_vl_retrieval.server.request_errors import RequestError, build_error_response

__all__ = ["ApiKeys", "AuthorizationMiddleware"]


class ApiKeys:
    """The keys of which each request must bring one; without any, everybody may ask.

    Args:
        keys: The keys; only their digests are kept.

    Raises:
        ValueError: A key is empty, or holds characters that a header cannot carry.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        given = list(keys)
        for position, key in enumerate(given):
            if not key.strip() or not key.isascii() or not key.isprintable():
                raise ValueError(f"API key {position} must be printable ASCII characters, and not blank")
        self._digests = [_digest(key.strip()) for key in given]

    def __bool__(self) -> bool:
        """Returns whether a key is needed."""
        return bool(self._digests)

    def accept(self, headers: Headers) -> bool:
        """Returns whether `Authorization: Bearer` or `X-API-Key` brings one of the keys.

        All keys are compared, each in the same time: how long it takes says nothing about them.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        bearer = _digest(token.strip()) if scheme.lower() == "bearer" else b""
        plain = _digest(headers.get("x-api-key", "").strip())
        matches = [hmac.compare_digest(bearer, known) | hmac.compare_digest(plain, known) for known in self._digests]
        return not self._digests or any(matches)


class AuthorizationMiddleware:
    """Refuses requests without a key with 401, whatever answers them: a new route cannot forget it.

    Args:
        app: What is protected.
        keys: The keys.
        open_paths: Paths that need none.
    """

    def __init__(self, app: ASGIApp, *, keys: ApiKeys, open_paths: Collection[str]) -> None:
        self._app = app
        self._keys = keys
        self._open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 401, or hands on."""
        is_open = scope["type"] == "lifespan" or scope.get("path") in self._open_paths
        if is_open or self._keys.accept(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        error = RequestError(
            401,
            "no valid API key; send one of the server's keys as Authorization: Bearer KEY or as X-API-Key: KEY",
            closes_connection=True,
        )
        await build_error_response(scope["path"], error)(scope, receive, send)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
