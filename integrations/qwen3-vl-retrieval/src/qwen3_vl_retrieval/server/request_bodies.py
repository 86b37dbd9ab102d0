"""The body of a request as JSON: counted while it arrives, and refused where it would cost more than it says."""

from __future__ import annotations

import asyncio
import json
import math
import re
from typing import Any, NoReturn, cast

from fastapi import Request

from qwen3_vl_retrieval.errors import quote, shorten
from qwen3_vl_retrieval.server.admission import BodyBytes
from qwen3_vl_retrieval.server.limits import ServerLimits
from qwen3_vl_retrieval.server.request_errors import RequestError

__all__ = ["read_json_body"]

_STRUCTURE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[{])|([\]}])|(,)', re.DOTALL)
"""Strings, which may hold anything, and the marks outside of them. Possessive: time grows with the length alone."""

_BIG_BODY_BYTES = 64 * 1024
"""Bodies from this size on are parsed in a thread: all other requests would wait."""


async def read_json_body(request: Request, limits: ServerLimits, held: BodyBytes) -> dict[str, Any]:
    """Returns the JSON object that is the body of a request.

    Args:
        request: The request, of which nothing has been read.
        limits: How large the body may be, how deep, and how long it may take.
        held: Counts its bytes among those of all requests.

    Raises:
        RequestError: The body is too large (413), too slow (408), no JSON of the allowed kind (400) or compressed or
            of another type (415), or the memory for bodies is full (429).
    """
    _check_headers(request, limits)
    content = bytearray()
    try:
        async with asyncio.timeout(limits.max_body_seconds):
            async for chunk in request.stream():
                if len(content) + len(chunk) > limits.max_body_bytes:
                    raise _refuse_size(limits)
                held.add(len(chunk))
                content += chunk
    except TimeoutError:
        raise RequestError(
            408,
            f"the body did not arrive within {limits.max_body_seconds:g} seconds; send less in a request",
            closes_connection=True,
        ) from None
    if len(content) < _BIG_BODY_BYTES:
        return _parse(bytes(content), limits)
    return await asyncio.to_thread(_parse, bytes(content), limits)


def _check_headers(request: Request, limits: ServerLimits) -> None:
    """Refuses a body by what its headers say of it; what they say is not relied on."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise RequestError(
            415, f"content-encoding {quote(encoding)} is not supported; send the body as it is", closes_connection=True
        )
    # A page of a browser can send any other type to a server of its user's network without asking.
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise RequestError(
            415,
            f"content-type {quote(media_type)} is not supported; send JSON as application/json",
            closes_connection=True,
        )
    declared = request.headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > limits.max_body_bytes:
        raise _refuse_size(limits)


def _refuse_size(limits: ServerLimits) -> RequestError:
    return RequestError(
        413,
        f"the body has more than {limits.max_body_bytes:,} bytes; send fewer or smaller items in a request",
        closes_connection=True,
    )


def _parse(content: bytes, limits: ServerLimits) -> dict[str, Any]:
    _check_structure(content, limits)
    try:
        document: object = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_build_object,
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
            parse_int=_parse_int,
        )
    except UnicodeDecodeError as error:
        raise RequestError(400, f"the body is not UTF-8 (byte {error.start:,}); send JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        raise RequestError(
            400, f"the body is not JSON: {error.msg} at character {error.pos:,}; send one JSON object"
        ) from None
    if not isinstance(document, dict):
        raise RequestError(400, f"the body is {quote(document, with_type=True)}; send one JSON object")
    return cast("dict[str, Any]", document)


def _check_structure(content: bytes, limits: ServerLimits) -> None:
    """Refuses what would take much more memory than it has bytes, before anything is built of it."""
    depth = values = 0
    for mark in _STRUCTURE.finditer(content):
        kind = mark.lastindex
        if kind is None:
            continue
        values += 1
        depth += {1: 1, 2: -1}.get(kind, 0)
        if depth > limits.max_json_depth:
            raise RequestError(
                400, f"the body has arrays and objects more than {limits.max_json_depth} deep; send them flat"
            )
        if values > limits.max_json_values:
            raise RequestError(
                413, f"the body has more than {limits.max_json_values:,} values; send fewer items in a request"
            )


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise RequestError(400, f"the key {quote(key)} is there twice in one object; send it once")
            seen.add(key)
    return built


def _refuse_constant(name: str) -> NoReturn:
    raise RequestError(400, f"the body holds {name}, which is no JSON; send a finite number or null")


def _parse_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise RequestError(400, f"the number {shorten(digits)} is too large; send one below 1.8e308")
    return value


def _parse_int(digits: str) -> int:
    # Nothing that is asked of this server is counted beyond 64 bits.
    if len(digits) > 20:
        raise RequestError(400, f"the number {shorten(digits)} is too large; send one below 2**63")
    return int(digits)
