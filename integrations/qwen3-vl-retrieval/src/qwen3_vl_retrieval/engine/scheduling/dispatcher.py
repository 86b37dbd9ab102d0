"""Merges the requests of concurrent callers into shared runs."""

from __future__ import annotations

import queue
import threading
import time
from bisect import bisect_right
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate

from qwen3_vl_retrieval.engine.requests.builder import Request
from qwen3_vl_retrieval.engine.requests.outcome import Outcome
from qwen3_vl_retrieval.engine.scheduling.executor import Executor
from qwen3_vl_retrieval.forks import renew_in_children

__all__ = ["Dispatcher"]

_GATHER_SECONDS = 0.002
"""Longest wait after the first caller for others that are expected, as under `asyncio.gather`."""

_IDLE_SECONDS = 5.0
"""Idle time after which the thread ends; the next caller starts a new one."""


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    requests: Sequence[Request]
    future: Future[Outcome] = field(default_factory=Future[Outcome])

    @property
    def tokens(self) -> int:
        """Tokens of all requests together."""
        return sum(len(request) for request in self.requests)


class Dispatcher:
    """A thread that runs what callers have waiting together, a forward pass at a time; who cancels is left out.

    Who asks for more than a forward pass holds gets a thread of its own: others shall not wait for all of it.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begins with an empty queue that no thread serves: what others of a parent process asked for is its own."""
        self._jobs: queue.Queue[_Job] = queue.Queue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._expected = 0

    @contextmanager
    def expect(self) -> Generator[None]:
        """Announces a caller who is still preparing requests within the block: others wait a moment for them."""
        with self._lock:
            self._expected += 1
        try:
            yield
        finally:
            with self._lock:
                self._expected -= 1

    def submit(self, requests: Sequence[Request]) -> Future[Outcome]:
        """Returns a future of the outcome of `requests`, computed together with those of other callers.

        Cancelling it before its run begins takes the requests out; other callers are not affected.
        """
        job = _Job(requests)
        with self._lock:
            self._jobs.put(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="merge-requests", daemon=True)
                self._thread.start()
        return job.future

    def _serve(self) -> None:
        waiting: list[_Job] = []
        while True:
            if not waiting:
                try:
                    waiting.append(self._jobs.get(timeout=_IDLE_SECONDS))
                except queue.Empty:
                    with self._lock:
                        if self._jobs.empty():
                            self._thread = None
                            return
                    continue
                self._gather(waiting)
            self._collect(waiting)
            self._run(self._take_next(waiting))

    def _gather(self, waiting: list[_Job]) -> None:
        """Waits for those who are expected; a caller who is alone waits for nobody."""
        end = time.monotonic() + _GATHER_SECONDS
        while self._expected > 0 and (left := end - time.monotonic()) > 0:
            try:
                waiting.append(self._jobs.get(timeout=left))
            except queue.Empty:
                return

    def _collect(self, waiting: list[_Job]) -> None:
        """Adds what has been asked for to `waiting`."""
        while not self._jobs.empty():
            waiting.append(self._jobs.get())

    def _take_next(self, waiting: list[_Job]) -> list[_Job]:
        """Takes out of `waiting` what is run together: no more than a forward pass holds, so that nobody waits for all.

        Half of the pass is for the jobs that have waited longest, and the rest for the shortest. Whoever asks for more
        than a forward pass holds is started in a thread of its own.
        """
        limit = self._executor.max_batch_tokens
        for job in [job for job in waiting if job.tokens > limit]:
            waiting.remove(job)
            if job.future.set_running_or_notify_cancel():
                threading.Thread(target=self._run, args=([job],), name="run-long-request", daemon=True).start()
        half = bisect_right(list(accumulate(job.tokens for job in waiting)), limit // 2)
        # The oldest is always taken, however long it is.
        oldest, others = waiting[: max(half, 1)], waiting[max(half, 1) :]
        taken: list[_Job] = []
        tokens = 0
        for job in [*oldest, *sorted(others, key=lambda job: job.tokens)]:
            if tokens + job.tokens > limit:
                break
            waiting.remove(job)
            if job.future.set_running_or_notify_cancel():
                taken.append(job)
                tokens += job.tokens
        return taken

    def _run(self, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        requests = [request for job in jobs for request in job.requests]
        try:
            outcome = self._executor.run(requests)
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the callers, not to this thread
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
                return
            # One caller's failure is not the others': each gets a run of its own.
            for job in jobs:
                self._run([job])
            return
        start = 0
        for job in jobs:
            job.future.set_result(outcome.select(start, start + len(job.requests)))
            start += len(job.requests)
