"""Who is let in, and whose turn it is: a bounded number of requests wait, short ones go before bulk."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from qwen3_vl_retrieval.server.limits import ServerLimits
from qwen3_vl_retrieval.server.request_errors import RequestError

__all__ = ["Admission", "BodyBytes"]


class BodyBytes:
    """The bytes of one body, counted among those of all while they arrive."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._held = 0

    def add(self, count: int) -> None:
        """Counts bytes that have arrived.

        Raises:
            RequestError: All bodies together would exceed `max_buffered_bytes`.
        """
        self._admission.hold_bytes(count)
        self._held += count

    def release(self) -> None:
        """Gives back what was counted: the body is no longer held."""
        self._admission.release_bytes(self._held)
        self._held = 0


class Admission:
    """Counts requests that are in the server and hands out turns; belongs to the event loop of the server.

    A request first takes a place, which it holds until it is answered, and then a turn to compute. Whoever finds no
    place is refused at once, so that no client waits for what will not come.

    Args:
        limits: How many may wait and compute.
    """

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._places = 0
        self._buffered_bytes = 0
        self._running = 0
        self._running_bulk = 0
        self._queries: deque[asyncio.Future[None]] = deque()
        self._bulk: deque[asyncio.Future[None]] = deque()
        self._is_closed = False

    @property
    def running(self) -> int:
        """Requests that are computed now."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests that are read or wait for a turn now."""
        return self._places - self._running

    @property
    def is_accepting(self) -> bool:
        """Whether another request would be let in."""
        return not self._is_closed and self.waiting < self._limits.max_waiting_requests

    def close(self) -> None:
        """Lets nobody in from now on; who has a place is still answered."""
        self._is_closed = True

    @contextmanager
    def admit(self) -> Generator[BodyBytes, None, None]:
        """Holds a place within the block, and counts the bytes of its body.

        Raises:
            RequestError: All places are taken (429), or the server is going away (503).
        """
        if self._is_closed:
            raise self._refuse(503, "this server is shutting down; send the request to another, or later")
        if self.waiting >= self._limits.max_waiting_requests:
            raise self._refuse(429, f"{self.waiting:,} requests are waiting already; send the request again later")
        self._places += 1
        body = BodyBytes(self)
        try:
            yield body
        finally:
            body.release()
            self._places -= 1

    @asynccontextmanager
    async def take_turn(self, *, items: int) -> AsyncGenerator[None, None]:
        """Waits for a turn and holds it within the block; to be called with a place.

        Args:
            items: Texts, images and documents of the request: many of them are bulk, and let the others go first.
        """
        is_bulk = items >= self._limits.min_bulk_items
        turn = asyncio.get_running_loop().create_future()
        (self._bulk if is_bulk else self._queries).append(turn)
        self._hand_out()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._running -= 1
                self._running_bulk -= is_bulk
            turn.cancel()
            self._hand_out()

    def hold_bytes(self, count: int) -> None:
        """Counts bytes of a body.

        Raises:
            RequestError: Those of all bodies would exceed `max_buffered_bytes`.
        """
        if self._buffered_bytes + count > self._limits.max_buffered_bytes:
            raise self._refuse(429, "the bodies of other requests fill the memory; send the request again later")
        self._buffered_bytes += count

    def release_bytes(self, count: int) -> None:
        """Gives back bytes that `hold_bytes` counted."""
        self._buffered_bytes -= count

    def _hand_out(self) -> None:
        """Gives turns to those that wait longest, queries first, as far as there are any."""
        while self._running < self._limits.max_running_requests:
            may_be_bulk = self._running_bulk < self._limits.max_running_bulk_requests
            waiting = self._queries or (self._bulk if may_be_bulk else self._queries)
            if not waiting:
                return
            turn = waiting.popleft()
            # Who was cancelled while waiting has left an empty turn.
            if not turn.done():
                self._running += 1
                self._running_bulk += waiting is self._bulk
                turn.set_result(None)

    def _refuse(self, status: int, message: str) -> RequestError:
        return RequestError(
            status, message, retry_after_seconds=self._limits.retry_after_seconds, closes_connection=True
        )
