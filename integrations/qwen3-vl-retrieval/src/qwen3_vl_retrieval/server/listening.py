"""The server on a socket, until a signal ends it."""

from __future__ import annotations

import math

import uvicorn
from starlette.types import ASGIApp

__all__ = ["listen"]

_SECONDS_TO_ANSWER = 5
"""Beyond the longest request, for its body to be read and its answer to be sent."""


def listen(app: ASGIApp, *, host: str, port: int, max_request_seconds: float) -> None:
    """Answers requests until SIGTERM or Ctrl-C; those that have been let in by then are still answered.

    Args:
        app: What `create_app` or `build_http_app` returned.
        host: Address to listen on.
        port: Port to listen on; 0 is any that is free, and is logged.
        max_request_seconds: That of the limits: nobody is waited for any longer.
    """
    uvicorn.run(
        app,
        host=host,
        port=port,
        # Bounds the head of a request, which the faster parser does not, and needs nothing else to be installed.
        http="h11",
        ws="none",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(max_request_seconds) + _SECONDS_TO_ANSWER,
    )
