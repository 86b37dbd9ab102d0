"""Requests that come from the page itself: pages of other sites, open in the same browser, are refused."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from qwen3_vl_retrieval.server.request_errors import RequestError, build_error_response

__all__ = ["SameOriginMiddleware"]

_OWN_SITES = ("same-origin", "none")
"""What a browser says of a request of the page itself, and of an address that was typed."""

_READING = ("GET", "HEAD")


class SameOriginMiddleware:
    """Refuses with 403 what a browser says comes from another site, and what changes something from another origin.

    Programs that are no browsers send neither header, and are let in.

    Args:
        app: What is protected.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 403, or hands on."""
        if scope["type"] != "http" or _is_from_here(Headers(scope=scope), is_reading=scope["method"] in _READING):
            await self._app(scope, receive, send)
            return
        error = RequestError(
            403, "the request comes from a page of another site; open this server's own page", closes_connection=True
        )
        await build_error_response(scope["path"], error)(scope, receive, send)


def _is_from_here(headers: Headers, *, is_reading: bool) -> bool:
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
        return False
    # Whoever follows a link to the page comes from another site, and only looks.
    is_link = is_reading and headers.get("sec-fetch-mode") == "navigate"
    return site in _OWN_SITES or is_link
