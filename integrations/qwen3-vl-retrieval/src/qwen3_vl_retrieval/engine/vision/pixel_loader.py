"""Pixels that had to be let go, read again by other threads while the model computes the batch before."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.engine.requests.media_reader import PreparedMedia

__all__ = ["PixelLoader", "Pixels"]

Pixels: TypeAlias = dict[bytes, npt.NDArray[np.uint8]]
"""Frames by content key, each `(frames, height, width, 3)`."""


class PixelLoader:
    """Loads pixels ahead of their batch; a context manager, which waits for nothing that is not needed any more."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._started: dict[bytes, Future[npt.NDArray[np.uint8]]] = {}

    def start(self, media: Iterable[PreparedMedia]) -> None:
        """Begins to read those whose pixels are not held."""
        for item in media:
            if not item.held_bytes and item.key not in self._started:
                if self._pool is None:
                    threads = min(8, os.cpu_count() or 1)
                    self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="read-media-again")
                self._started[item.key] = self._pool.submit(item.load)

    def load(self, media: PreparedMedia) -> npt.NDArray[np.uint8]:
        """Returns the pixels, read before or now.

        Raises:
            MediaError: They can no longer be read, or have changed.
        """
        started = self._started.pop(media.key, None)
        return media.load() if started is None else started.result()

    def __enter__(self) -> PixelLoader:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
