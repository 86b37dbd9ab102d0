"""The last response of a connection whose client may still be sending."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

__all__ = ["ClosingResponse"]

_LINGER_SECONDS = 1.0


class ClosingResponse(JSONResponse):
    """A response after which the connection is closed, though not while the client is still sending.

    Closing at once would make the client's system drop what it has received, and the client would see a broken
    connection where the response says why.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - of ASGI
        """Sends everything, takes what the client sends for a second, and ends the response."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b""})
