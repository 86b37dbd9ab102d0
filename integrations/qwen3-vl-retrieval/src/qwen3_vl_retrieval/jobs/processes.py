"""Shards embedded by processes of this machine, one for each device, which are started, watched and replaced."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import cast

from qwen3_vl_retrieval.errors import ModelError, RemoteError, RetrievalError
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.jobs.executor import STALL_SECONDS, Executor, LoadEmbedder, check_stall_seconds
from qwen3_vl_retrieval.jobs.in_process import run_task
from qwen3_vl_retrieval.jobs.shard_embedder import ShardEmbedder
from qwen3_vl_retrieval.jobs.tasks import ShardOutcome, ShardTask, WorkSettings

__all__ = ["ProcessExecutor"]

_MOST_STARTS = 5
"""How many times in a row workers may end before they are ready; then it is not chance."""

_CLOSE_SECONDS = 5.0
"""For a worker to end, before it is killed."""

_SIGN_SECONDS = 1.0
"""Between two signs of life of a worker, at least."""


@dataclass(frozen=True, slots=True)
class _Ready:
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class _NotReady:
    error: RetrievalError


@dataclass(frozen=True, slots=True)
class _SignOfLife:
    """Another file is read, or other units are embedded."""


@dataclass(slots=True, kw_only=True)
class _Worker:
    number: int
    process: BaseProcess
    pipe: Connection
    is_ready: bool = False
    task: ShardTask | None = None
    last_sign: float = field(default_factory=monotonic)

    @property
    def is_idle(self) -> bool:
        return self.is_ready and self.task is None


class ProcessExecutor(Executor):
    """Starts processes that load the model each, and gives them shards.

    The processes begin anew (`spawn`): a script that uses this needs the usual `if __name__ == "__main__":`. They end
    with this one, however it ends.

    Args:
        load_embedder: Loads the model of a worker by its number, in the worker.
        workers: How many.
        stall_seconds: A worker that has a shard, and neither reads a file nor embeds anything for so long, hangs: it is
            ended and replaced. `None` waits for ever.

    Raises:
        ValueError: There are no workers, or the time is not positive.
    """

    def __init__(
        self, load_embedder: LoadEmbedder, *, workers: int, stall_seconds: float | None = STALL_SECONDS
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers={workers} must be at least 1")
        check_stall_seconds(stall_seconds)
        self._load_embedder = load_embedder
        self._count = workers
        self._stall_seconds = stall_seconds
        self._context = multiprocessing.get_context("spawn")
        self._settings: WorkSettings | None = None
        self._workers: list[_Worker] = []
        self._fingerprint: Fingerprint | None = None
        self._failed_starts = 0

    def start(self, settings: WorkSettings) -> Fingerprint:
        """Starts the workers, and returns the identity of their vectors once the first of them has loaded its model."""
        if not settings.run.is_shared:
            raise ValueError(
                f"{settings.run.location!r} is in the memory of this process, where workers cannot write; give a "
                "folder or an object store, or one worker"
            )
        self._settings = settings
        self._workers = [self._start_worker(number) for number in range(self._count)]
        while self._fingerprint is None:
            self.wait()
        return self._fingerprint

    @property
    def device_count(self) -> int:
        """The number of workers."""
        return self._count

    @property
    def process_ids(self) -> list[int]:
        """Process ids of the workers that are there now."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    def has_room(self) -> bool:
        """Returns whether a worker waits for a shard."""
        return any(worker.is_idle for worker in self._workers)

    def submit(self, task: ShardTask) -> None:
        """Gives a shard to a worker that waits."""
        worker = next(worker for worker in self._workers if worker.is_idle)
        worker.task = task
        worker.last_sign = monotonic()
        try:
            worker.pipe.send(task)
        except OSError:
            # It has ended meanwhile, which `wait` notices.
            return

    def wait(self) -> ShardOutcome | None:
        """Returns what became of a task once one has ended; `None` when a worker is ready or was replaced."""
        by_pipe = {worker.pipe: worker for worker in self._workers}
        # The end of a process closes its pipe.
        ready = cast("list[Connection]", connection.wait(list(by_pipe), self._find_patience_seconds()))
        if not ready:
            return self._end_stalled()
        worker = by_pipe[ready[0]]
        worker.last_sign = monotonic()
        try:
            message: object = worker.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return self._replace(worker)
        match message:
            case _Ready():
                self._greet(worker, message.fingerprint)
            case _NotReady():
                self._refuse(worker, message.error)
            case _SignOfLife():
                pass
            case ShardOutcome():
                worker.task = None
                if message.account is None:
                    # It ends itself, see `_work`: nothing more is given to it.
                    self._drop(worker)
                    self._workers.append(self._start_worker(worker.number))
                return message
            case _:
                raise TypeError(f"a worker answered {type(message).__name__}")
        return None

    def close(self) -> None:
        """Ends the workers, whatever they are doing."""
        for worker in self._workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in self._workers:
            _end(worker.process)
        self._workers = []

    def _start_worker(self, number: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work,
            args=(theirs, number, self._load_embedder, self._settings),
            name=f"qwen3vl-embed-{number}",
            daemon=True,
        )
        process.start()
        # Held by the worker alone, so that its end is noticed here.
        theirs.close()
        return _Worker(number=number, process=process, pipe=ours)

    def _greet(self, worker: _Worker, fingerprint: Fingerprint) -> None:
        if self._fingerprint is None:
            self._fingerprint = fingerprint
        self._fingerprint.require_match(fingerprint)
        self._failed_starts = 0
        worker.is_ready = True

    def _refuse(self, worker: _Worker, error: RetrievalError) -> None:
        """A model or an engine is not there: the other workers go on, unless there are none."""
        self._drop(worker)
        if not self._workers or not isinstance(error, RemoteError):
            raise error

    def _drop(self, worker: _Worker) -> None:
        worker.pipe.close()
        _end(worker.process)
        self._workers.remove(worker)

    def _find_patience_seconds(self) -> float | None:
        """How long until a worker hangs that is silent from now on; `None` if there is none with a shard."""
        if self._stall_seconds is None:
            return None
        signs = [worker.last_sign for worker in self._workers if worker.task is not None]
        return max(0.0, min(signs) + self._stall_seconds - monotonic()) if signs else None

    def _end_stalled(self) -> ShardOutcome | None:
        at_work = [worker for worker in self._workers if worker.task is not None]
        worker = min(at_work, key=lambda worker: worker.last_sign)
        # It may be beyond signals that it could handle.
        worker.process.kill()
        silent_seconds = monotonic() - worker.last_sign
        return self._replace(worker, f"did nothing for {silent_seconds:,.0f} s and was ended")

    def _replace(self, worker: _Worker, said: str | None = None) -> ShardOutcome | None:
        task = worker.task
        self._drop(worker)
        said = said or _describe_end(worker.process)
        if not worker.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_STARTS:
                raise ModelError(
                    f"{self._failed_starts} workers in a row ended before they were ready, the last {said}; see "
                    "whether the model fits into memory that many times, or start fewer workers"
                )
        self._workers.append(self._start_worker(worker.number))
        return None if task is None else ShardOutcome(task=task, crash=f"its worker {said}")


def _work(pipe: Connection, number: int, load_embedder: LoadEmbedder, settings: WorkSettings) -> None:
    """What a worker does from its start to its end."""
    # Ctrl-C reaches the whole group of processes; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    try:
        shards = ShardEmbedder(load_embedder(number), settings)
        pipe.send(_Ready(shards.fingerprint))
    except RetrievalError as error:
        pipe.send(_NotReady(error))
        return
    except ValueError as error:
        # An option is out of range for this model.
        pipe.send(_NotReady(ModelError(str(error))))
        return
    while True:
        try:
            task: ShardTask = pipe.recv()
        except (EOFError, OSError):
            return
        outcome = run_task(shards, task, on_sign_of_life=_SignSender(pipe).send)
        pipe.send(outcome)
        if outcome.account is None:
            # A device that has failed once fails again, and so does a connection: the next worker begins anew.
            return


class _SignSender:
    """Sends signs of life, and not all too many."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sent = monotonic()

    def send(self) -> None:
        now = monotonic()
        if now - self._sent >= _SIGN_SECONDS:
            self._sent = now
            self._pipe.send(_SignOfLife())


def _end_with_parent() -> None:
    """Ends this process when its parent has ended, also in the middle of a shard."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def _end(process: BaseProcess) -> None:
    process.join(_CLOSE_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()


def _describe_end(process: BaseProcess) -> str:
    code = process.exitcode
    if code is None:
        return "does not answer"
    if code >= 0:
        return f"ended with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"was ended by signal {name}"
