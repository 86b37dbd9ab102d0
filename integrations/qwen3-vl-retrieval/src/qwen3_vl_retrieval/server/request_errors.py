"""Why a request is not answered, and how each family of clients reads it."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from qwen3_vl_retrieval.server.closing_response import ClosingResponse

__all__ = ["RequestError", "build_error_response"]

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}

_COHERE_PATHS = frozenset({"/v1/embed", "/v2/embed", "/v2/rerank"})

_RERANK_PATHS = frozenset({"/rerank", "/v1/rerank"})
"""Clients of Cohere read `message` here, those of Jina `detail`, those of TEI `error`."""

_TEI_PATHS = frozenset({"/embed"})

_SERVER_ERROR = 500


class RequestError(Exception):
    """A request that is not answered as it was meant.

    Attributes:
        status: The HTTP status.
        message: What was given, what is allowed and what to do, in a sentence; clients read it.
        parameter: The field of the request that is wrong, if it is one.
        retry_after_seconds: When the same request may do better; `None` if never.
        closes_connection: Whether what the client still sends is not read.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        parameter: str | None = None,
        retry_after_seconds: int | None = None,
        closes_connection: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.parameter = parameter
        self.retry_after_seconds = retry_after_seconds
        self.closes_connection = closes_connection


def build_error_response(path: str, error: RequestError) -> JSONResponse:
    """Returns the answer of `error` in the shape that the clients of `path` read."""
    headers: dict[str, str] = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if not error.closes_connection:
        return JSONResponse(_shape(path, error), status_code=error.status, headers=headers)
    return ClosingResponse(_shape(path, error), status_code=error.status, headers={**headers, "Connection": "close"})


def _shape(path: str, error: RequestError) -> dict[str, Any]:
    kind = "server_error" if error.status >= _SERVER_ERROR else "invalid_request_error"
    kind = _OPENAI_TYPES.get(error.status, kind)
    if path in _COHERE_PATHS:
        return {"message": error.message}
    if path in _RERANK_PATHS:
        return {"message": error.message, "detail": error.message, "error": error.message, "error_type": kind}
    if path in _TEI_PATHS:
        return {"error": error.message, "error_type": kind}
    return {"error": {"message": error.message, "type": kind, "param": error.parameter, "code": error.status}}
