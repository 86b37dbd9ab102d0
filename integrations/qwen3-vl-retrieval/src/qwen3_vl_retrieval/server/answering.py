"""The way of a request: let in, read, computed within the time, and given up if the client leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from qwen3_vl_retrieval.server.context import ServerContext
from qwen3_vl_retrieval.server.paced_response import PacedResponse
from qwen3_vl_retrieval.server.request_bodies import read_json_body
from qwen3_vl_retrieval.server.request_errors import RequestError

__all__ = ["answer_request", "render_json", "render_numbers"]

_MANY_NUMBERS = 20_000
"""Written in about 15 ms."""

_CLIENT_LEFT = 499
"""Nobody reads it; the metrics do."""


async def answer_request(
    context: ServerContext, request: Request, respond: Callable[[dict[str, Any]], Awaitable[Response]]
) -> Response:
    """Returns what `respond` makes of the JSON body of a request.

    It is cancelled when the client leaves and when the time is over.

    Raises:
        RequestError: The request is not let in, its body is refused, or it takes too long (504).
    """
    limits = context.limits
    with context.admission.admit() as held:
        try:
            body = await read_json_body(request, limits, held)
        except ClientDisconnect:
            return Response(status_code=_CLIENT_LEFT)
        work = asyncio.ensure_future(respond(body))
        leaving = asyncio.ensure_future(_wait_until_client_leaves(request))
        try:
            done, _ = await asyncio.wait(
                {work, leaving}, timeout=limits.max_request_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in (work, leaving):
                task.cancel()
            # What still fails then is nobody's any more.
            await asyncio.gather(work, leaving, return_exceptions=True)
        if work in done:
            return work.result()
        if leaving in done:
            return Response(status_code=_CLIENT_LEFT)
        raise RequestError(
            504,
            f"the answer took more than {limits.max_request_seconds:g} seconds; send fewer items in a request, or try "
            "again when there are fewer requests",
        )


async def render_json(document: Any) -> Response:
    """Returns a document as an answer: whatever `json.dumps` takes."""
    return await render_numbers(lambda: document, count=0)


async def render_numbers(build: Callable[[], Any], *, count: int) -> Response:
    """Returns a document that holds vectors as an answer.

    Args:
        build: Returns the document.
        count: How many numbers are in it; many are written in a thread, so that others do not wait.
    """

    def encode() -> bytes:
        return json.dumps(build(), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")

    content = encode() if count < _MANY_NUMBERS else await asyncio.to_thread(encode)
    return PacedResponse(content, media_type="application/json")


async def _wait_until_client_leaves(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
