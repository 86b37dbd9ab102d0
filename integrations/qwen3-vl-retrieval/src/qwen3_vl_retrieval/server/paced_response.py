"""A large answer, sent as fast as it is read."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["PacedResponse"]

_LOGGER = logging.getLogger(__name__)

_PIECE_BYTES = 64 * 1024

_SEND_SECONDS = 120.0
"""Longest time in which an answer must have been read: 40 MB at 3 Mbit/s."""


class PacedResponse(Response):
    """A response in pieces, each sent once the one before has left; given up if the client does not read it.

    A response that is handed over as a whole stays in memory for as long as a client likes.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the pieces."""
        body = memoryview(self.body)
        if len(body) <= _PIECE_BYTES:
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with suppress(TimeoutError):
            async with asyncio.timeout(_SEND_SECONDS):
                for start in range(0, len(body), _PIECE_BYTES):
                    piece = bytes(body[start : start + _PIECE_BYTES])
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                return
        _LOGGER.warning("a client did not read its answer within %g seconds; its connection is closed", _SEND_SECONDS)
