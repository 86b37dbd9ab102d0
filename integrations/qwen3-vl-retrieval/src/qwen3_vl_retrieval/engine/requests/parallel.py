"""Reads many items at once: decoding in threads, errors kept with their position, pixels within a memory bound."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from qwen3_vl_retrieval.engine.requests.builder import Request
from qwen3_vl_retrieval.engine.requests.media_reader import PreparedMedia
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.items import CoercedInput, TextPart

__all__ = ["HeldPixels", "prepare_all"]

MAX_HELD_BYTES = 1 << 30
"""Decoded pixels that a call keeps between reading and computing; beyond it pictures are decoded a second time."""

T = TypeVar("T")


class HeldPixels:
    """Counts the decoded pixels of one call and releases those beyond a bound."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._lock = threading.Lock()

    def admit(self, media: Sequence[PreparedMedia]) -> None:
        """Keeps the pixels of `media` if they fit the bound, and releases them otherwise."""
        size = sum(item.held_bytes for item in media)
        with self._lock:
            fits = self._held_bytes + size <= self._max_bytes
            self._held_bytes += size if fits else 0
        if not fits:
            for item in media:
                item.release()


def prepare_all(
    items: Sequence[CoercedInput | InputError],
    build: Callable[[CoercedInput], Request],
    *,
    on_progress: Callable[[int], None] | None = None,
) -> list[Request | InputError]:
    """Returns the request of each item, or why there is none, in input order.

    Items with media are read by several threads (Pillow and FFmpeg work outside the interpreter lock); an item that
    is already an error stays one.
    """

    def prepare(item: CoercedInput | InputError) -> Request | InputError:
        if isinstance(item, InputError):
            return item
        try:
            return build(item)
        except InputError as error:
            return error

    if not any(_has_media(item) for item in items):
        return [prepare(item) for item in _report(items, on_progress)]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="read-media") as pool:
        return list(_report(pool.map(prepare, items), on_progress))


def _has_media(item: CoercedInput | InputError) -> bool:
    return isinstance(item, CoercedInput) and any(not isinstance(part, TextPart) for part in item.parts)


def _report(values: Iterable[T], on_progress: Callable[[int], None] | None) -> Iterator[T]:
    for value in values:
        yield value
        if on_progress is not None:
            on_progress(1)
