"""How much a server does for one request, and for all of them at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from qwen3_vl_retrieval.errors import quote

__all__ = ["ServerLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Limits of a server; how large one image or video may be, its `MediaPolicy` says.

    Attributes:
        max_body_bytes: Most bytes of the body of a request.
        max_buffered_bytes: Most bytes of all bodies that are held at one time; beyond it, requests are refused (429).
        max_items: Most texts, images and documents of a request.
        max_tokens: Most tokens of the texts of a request, where the server can count them (see `create_app`).
        max_pixels: Most pixels of all images of a request together, as their headers declare them.
        max_json_depth: Most arrays and objects inside one another.
        max_json_values: Most values in a body, counted by its commas and brackets.
        max_body_seconds: Longest time in which a body must have arrived.
        max_request_seconds: Longest time from a whole body to its answer, the wait for a turn included.
        max_running_requests: Requests that are computed at one time; their forward passes are shared.
        max_running_bulk_requests: Those among them that may be bulk, so that there is always room for a query.
        min_bulk_items: Items from which on a request is bulk, and lets the others go first.
        max_waiting_requests: Requests that are read or wait for a turn at one time; others are refused (429).
        retry_after_seconds: When a client that was refused with 429 or 503 is told to come back, in whole seconds.
    """

    max_body_bytes: int = 64 * 1024 * 1024
    max_buffered_bytes: int = 1024 * 1024 * 1024
    max_items: int = 2048
    max_tokens: int = 1_000_000
    max_pixels: int = 1_000_000_000
    max_json_depth: int = 32
    max_json_values: int = 200_000
    max_body_seconds: int | float = 60
    max_request_seconds: int | float = 300
    max_running_requests: int = 64
    max_running_bulk_requests: int = 4
    min_bulk_items: int = 32
    max_waiting_requests: int = 512
    retry_after_seconds: int = 1

    def __post_init__(self) -> None:
        """Raises `ValueError` for limits that allow nothing or are not understood."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int":
                if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                    raise ValueError(f"{field.name}={quote(value)} must be an int of at least 1")
            elif isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise ValueError(f"{field.name}={quote(value)} must be a positive number of seconds")
