"""The server on a socket, until a signal ends it."""

from __future__ import annotations

import math
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import LOGGING_CONFIG

__all__ = ["build_config", "listen"]

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
    uvicorn.Server(build_config(app, host=host, port=port, max_request_seconds=max_request_seconds)).run()


def build_config(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    max_request_seconds: float,
    log_config: dict[str, Any] | None = LOGGING_CONFIG,
) -> uvicorn.Config:
    """Returns how uvicorn runs the server.

    Args:
        app: As in `listen`, like the three that follow.
        host: Address to listen on.
        port: Port to listen on.
        max_request_seconds: Longest request.
        log_config: How uvicorn logs, by default to standard error; `None` leaves it to the loggers of the process.
    """
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        # Bounds the head of a request, which the faster parser does not, and needs nothing else to be installed.
        http="h11",
        ws="none",
        log_config=log_config,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(max_request_seconds) + _SECONDS_TO_ANSWER,
    )
