"""Runs requests on a server: in batches, several at once, each failure in its own place."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.engine.requests.builder import Request
from qwen3_vl_retrieval.engine.requests.outcome import Outcome
from qwen3_vl_retrieval.engine.requests.preparation import report_progress
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.remote.connection import Connection, RefusedRequestError

__all__ = ["RemoteEngine", "Route", "plan_batches"]


class Route(Protocol):
    """How a server is asked to compute requests.

    Attributes:
        width: Numbers that it computes of each.
    """

    width: int

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Returns the positions of the requests, by what is sent together."""
        ...

    async def compute(self, connection: Connection, requests: Sequence[Request]) -> npt.NDArray[np.float32]:
        """Returns what the server computes of requests that are sent together, one row each.

        Raises:
            InputError: The server cannot be asked for one of them.
            RefusedRequestError: The server refuses one of them.
            RemoteError: The server cannot be reached, or keeps failing.
        """
        ...


class RemoteEngine:
    """The engine of a model elsewhere: what `Engine` is to one in process.

    Args:
        connection: The server.
        route: How it is asked.
        role: What the items are called in errors: `"item"` or `"document"`.
    """

    def __init__(self, connection: Connection, route: Route, *, role: str) -> None:
        self.connection = connection
        self._route = route
        self._role = role

    def run(
        self, prepared: Sequence[Request | InputError], *, show_progress: bool = False, description: str = "computing"
    ) -> Outcome:
        """Returns the outcome of all positions of `prepared`; its errors are among the failures.

        Raises:
            RemoteError: The server cannot be reached, or keeps failing.
        """
        requests = [request for request in prepared if isinstance(request, Request)]
        with report_progress(description, total=len(requests), enabled=show_progress) as advance:
            future = self.connection.start(self.compute(requests, advance))
            try:
                outcome = future.result()
            except BaseException:
                # Ctrl-C: what is under way shall not go on behind the caller's back.
                future.cancel()
                raise
        return outcome.spread(prepared, role=self._role)

    async def run_shared(self, prepared: Sequence[Request | InputError]) -> Outcome:
        """Returns the same as `run`; cancelling ends the requests that are under way."""
        requests = [request for request in prepared if isinstance(request, Request)]
        outcome = await asyncio.wrap_future(self.connection.start(self.compute(requests)))
        return outcome.spread(prepared, role=self._role)

    async def compute(self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None) -> Outcome:
        """Returns the outcome of requests, in the event loop of the connection."""
        outcome = Outcome(np.zeros((len(requests), self._route.width), dtype=np.float32))
        batches = deque(self._route.plan(requests))

        async def compute_batches() -> None:
            # Each encodes its pixels when its turn comes: not all of them are in memory at once.
            while batches:
                batch = batches.popleft()
                try:
                    rows = await self._route.compute(self.connection, [requests[place] for place in batch])
                except (InputError, RefusedRequestError) as error:
                    if len(batch) > 1:
                        # One of them is the reason, and the others are not.
                        half = len(batch) // 2
                        batches.extendleft((batch[half:], batch[:half]))
                        continue
                    outcome.failures[batch[0]] = _name_refusal(error)
                else:
                    outcome.values[batch] = rows
                if on_progress is not None:
                    on_progress(len(batch))

        tasks = [
            asyncio.create_task(compute_batches()) for _ in range(min(len(batches), self.connection.max_concurrency))
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            # After an error, and when the caller has gone.
            for task in tasks:
                task.cancel()
        return outcome


def plan_batches(
    requests: Sequence[Request], *, max_tokens: int, max_requests: int, separate: Callable[[Request], bool]
) -> list[list[int]]:
    """Returns the positions of requests in batches, long ones first, so that the last to end are short.

    Args:
        requests: What is to be computed.
        max_tokens: Tokens of a batch at most, unless one request alone has more.
        max_requests: Requests of a batch at most.
        separate: Whether a request must be sent alone.
    """
    batches: list[list[int]] = []
    open_tokens = 0
    is_open = False
    for place in sorted(range(len(requests)), key=lambda place: -len(requests[place])):
        request = requests[place]
        if separate(request):
            batches.insert(0, [place])
            continue
        fits = is_open and open_tokens + len(request) <= max_tokens and len(batches[-1]) < max_requests
        if not fits:
            batches.append([])
            open_tokens, is_open = 0, True
        batches[-1].append(place)
        open_tokens += len(request)
    return batches


def _name_refusal(error: InputError | RefusedRequestError) -> InputError:
    if isinstance(error, InputError):
        return error
    return InputError(f"the server refuses it (HTTP {error.status}): {error.reason}")
