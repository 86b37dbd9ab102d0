"""Files are read in processes of their own, which can be ended: bounds on time and memory for libraries that have none.

PDFium, Pillow, libtiff, FFmpeg and the codecs below them are written in C. A few kilobytes of PDF can ask for hours of
work or for more memory than the machine has, a damaged file can crash the library, and nothing inside the process can
stop any of it. So `read` and `stream` run a function in another process and hand back what it returns, yields or
raises; a file that takes too long, needs too much memory or crashes the library becomes an error about that file.

Several threads share a few processes, as many as there are cores, which start when they are first needed: pages and
images are decoded in parallel. These are bounds on resources, not a sandbox: a reader has the rights of its parent.
"""

from __future__ import annotations

import atexit
import multiprocessing.spawn
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar, cast

import numpy as np

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.forks import renew_in_children
from qwen3_vl_retrieval.media.kept_document import KEPT
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["read", "resolve_dirs", "serve", "stream"]

P = ParamSpec("P")
T = TypeVar("T")

_MOST_PROCESSES = min(8, os.cpu_count() or 1)

_START_SECONDS = 120.0
"""For a process to start: a second, and many on a machine whose disk and cores are busy."""

_LOOK_SECONDS = 1.0
"""Between two looks at how long a reader has been at work."""

_PATIENCE = 10
"""How many times `max_read_seconds` may pass on the clock: a busy machine or a slow disk is not the file's fault."""

_LARGE_BYTES = 64 * 1024 * 1024
"""Bytes of an array of which no second one is held: a frame of 22 million pixels, more than 5K video has."""

_KEPT_SHARE = 8
"""A document stays open while the reader has grown by less than this part of its limit: the rest is for what comes."""

_WATCH_SECONDS = 0.02
_EXIT_OUT_OF_MEMORY = 86
_NO_MORE_SECONDS = 5.0
"""For a reader to answer that it has stopped, before it is killed."""

_BACKSTOP_BYTES = 512 * 1024 * 1024
"""Added to `max_read_bytes` for the limit that the kernel holds, which counts stacks of threads, too."""


def read(function: Callable[P, T], policy: MediaPolicy, shown: str, /, *args: P.args, **options: P.kwargs) -> T:
    """Returns what `function` returns, called in another process within the limits of `policy`.

    Args:
        function: A function of a module. Its arguments and result are pickled.
        policy: The limits: `max_read_seconds`, of processor time where that is known, and `max_read_bytes`. With
            `isolate_reading=False` the function is called here, and neither limit holds.
        shown: The name of the file for messages.
        *args: The arguments of `function`.
        **options: The keyword arguments of `function`.

    Raises:
        MediaPolicyError: Reading takes more time or memory than the policy allows.
        MediaError: The library that reads the file crashed.
    """
    if not policy.isolate_reading:
        return function(*args, **options)
    with _POOL.borrow(policy.max_read_bytes) as process:
        process.send(_Call(function, args, options, is_stream=False))
        return cast("T", process.receive(policy, shown).unpack())


def stream(
    function: Callable[P, Iterable[T]],
    policy: MediaPolicy,
    shown: str,
    /,
    *args: P.args,
    **options: P.kwargs,
) -> Generator[T, None, None]:
    """Yields what `function` yields, as `read` does; the time limit holds for each value.

    While one value is used, the next is read, unless it is a large array. Closing the generator ends the reading.
    """
    if not policy.isolate_reading:
        yield from function(*args, **options)
        return
    with _POOL.borrow(policy.max_read_bytes) as process:
        process.send(_Call(function, args, options, is_stream=True))
        process.send(_Next())
        while (answer := process.receive(policy, shown)).is_open:
            is_large = isinstance(answer.value, np.ndarray) and answer.value.nbytes > _LARGE_BYTES
            if not is_large:
                process.send(_Next())
            try:
                yield cast("T", answer.unpack())
            except GeneratorExit:
                process.stop()
                raise
            if is_large:
                del answer
                process.send(_Next())
        answer.unpack()


def resolve_dirs(policy: MediaPolicy) -> MediaPolicy:
    """Returns the policy with absolute folders: a reader may have started in another working directory."""
    if policy.allow_dirs is None:
        return policy
    return replace(policy, allow_dirs=tuple(Path(folder).resolve() for folder in policy.allow_dirs))


@dataclass(frozen=True, slots=True)
class _Call:
    """A function to be called in a reader."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    options: dict[str, Any]
    is_stream: bool


@dataclass(frozen=True, slots=True)
class _Next:
    """Asks for the next value of a stream; without one, `is_wanted=False`, the stream is closed."""

    is_wanted: bool = True


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of a call, or of asking for the next value.

    Attributes:
        value: What was returned or yielded.
        error: What was raised, and what had caused it, which pickling an exception leaves out.
        is_open: Whether a stream may yield more.
    """

    value: Any = None
    error: tuple[BaseException, BaseException | None] | None = None
    is_open: bool = False

    def unpack(self) -> Any:
        """Returns the value, or raises the error."""
        if self.error is not None:
            error, cause = self.error
            raise error from cause
        return self.value


class _ReaderLostError(Exception):
    """A reader has ended or does not answer."""


class _ReaderProcess:
    """One process, used by one thread at a time.

    Args:
        memory_bytes: Memory that it may take beyond what it starts with.
    """

    def __init__(self, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        # Not `multiprocessing.Process`: it imports the caller's script again, which then has to be written for it.
        start = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from {__name__} import serve; serve(memory_bytes={memory_bytes}, parent_id={os.getpid()})"
        )
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = subprocess.Popen(  # noqa: S603 - the interpreter that runs this
            [os.fsdecode(multiprocessing.spawn.get_executable() or sys.executable), "-W", "ignore", "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **threads},
            # Ctrl-C in a terminal reaches the group of processes that runs there: the parent alone decides.
            start_new_session=True,
        )
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._answers: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
        threading.Thread(target=self._collect, name="collect-from-reader", daemon=True).start()
        try:
            self._await(_START_SECONDS)
        except _ReaderLostError as error:
            self.close()
            raise MediaError(
                f"no process to read files in can be started ({error}); "
                "MediaPolicy(isolate_reading=False) reads them in this process, without limits of time and memory"
            ) from error

    def send(self, request: _Call | _Next) -> None:
        """Sends a request; a reader that is gone is noticed when its answer is awaited."""
        with suppress(OSError):
            pickle.dump(request, self._requests, protocol=5)
            self._requests.flush()

    def receive(self, policy: MediaPolicy, shown: str) -> _Answer:
        """Returns the answer to one request.

        Raises:
            MediaPolicyError: There is none in time, or the reader needed too much memory.
            MediaError: The reader crashed.
        """
        limit = policy.max_read_seconds
        computing_ends = self._measure_seconds() + limit
        waiting_ends = time.monotonic() + _PATIENCE * limit
        try:
            while self._measure_seconds() < computing_ends and time.monotonic() < waiting_ends:
                with suppress(TimeoutError):
                    return self._await(min(limit / 4, _LOOK_SECONDS))
        except _ReaderLostError as lost:
            status = self._process.returncode
            self.close()
            if status == _EXIT_OUT_OF_MEMORY:
                raise MediaPolicyError(
                    f"{shown} needs more memory to read than max_read_bytes={policy.max_read_bytes:,}; "
                    "repair or split it, or raise max_read_bytes of the MediaPolicy"
                ) from None
            raise MediaError(f"{shown} is damaged: the library that reads it crashed ({lost})") from None
        self.close()
        raise MediaPolicyError(
            f"{shown} takes longer to read than max_read_seconds={limit:g}; "
            "repair or split it, or raise max_read_seconds of the MediaPolicy"
        )

    def stop(self) -> None:
        """Ends a stream that is not used up; a reader that does not stop is killed."""
        self.send(_Next(is_wanted=False))
        try:
            # What was being read ahead comes first.
            while self._await(_NO_MORE_SECONDS).is_open:
                pass
        except (TimeoutError, _ReaderLostError):
            self.close()

    def _measure_seconds(self) -> float:
        """Processor time of the thread that reads, on Linux; elsewhere the time on the clock."""
        if sys.platform != "linux":
            return time.monotonic()
        try:
            # The first thread has the number of the process. Fields 14 and 15, proc_pid_stat(5): user and system time.
            status = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/stat").read_bytes()
        except OSError:
            return 0.0
        fields = status.rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked again."""
        return self._process.returncode is None and self._process.poll() is None

    def close(self) -> None:
        """Kills the process."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self._requests.close()
        self._errors.close()

    def _await(self, seconds: float) -> _Answer:
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if answer is None:
            status = self._process.wait()
            raise _ReaderLostError(_describe_status(status) + self._read_errors())
        return answer

    def _collect(self) -> None:
        """Takes answers off the pipe; `None` is its end."""
        with cast("IO[bytes]", self._process.stdout) as pipe:
            try:
                while True:
                    self._answers.put(pickle.load(pipe))  # noqa: S301 - written by `serve`
            except (EOFError, OSError, pickle.UnpicklingError):
                self._answers.put(None)

    def _read_errors(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1][:200]}" if lines else ""


def _describe_status(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


class _Pool:
    """The processes of this process, lent to one thread at a time each."""

    def __init__(self) -> None:
        self._inherited: list[_ReaderProcess] = []
        self._is_ended_at_exit = False
        self._idle: list[_ReaderProcess] = []
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begins without processes: answers on the pipes that a child inherits belong to its parent."""
        # Kept: letting go of them would wait for processes that are not this one's children.
        self._inherited += self._idle
        self._idle = []
        self._count = 0
        self._changed = threading.Condition()

    @contextmanager
    def borrow(self, memory_bytes: int) -> Generator[_ReaderProcess, None, None]:
        """Yields a process with that bound on memory, once one is free."""
        process = self._take(memory_bytes)
        try:
            yield process
        except (MediaError, GeneratorExit):
            # A process that is at fault has been closed; a stream that was not used up has been stopped.
            self._give_back(process)
            raise
        except BaseException:
            # Interrupted before the answer came: the next caller must not be given it.
            process.close()
            self._give_back(process)
            raise
        else:
            self._give_back(process)

    def close(self) -> None:
        """Ends the processes that are idle."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._count -= len(idle)
        for process in idle:
            process.close()

    def _take(self, memory_bytes: int) -> _ReaderProcess:
        with self._changed:
            while not self._idle and self._count >= _MOST_PROCESSES:
                self._changed.wait()
            # The one that was used last, whose memory is warm.
            fitting = [process for process in self._idle if process.memory_bytes == memory_bytes and process.is_alive]
            process = fitting[-1] if fitting else (self._idle[0] if self._count >= _MOST_PROCESSES else None)
            if process is None:
                self._count += 1
            else:
                self._idle.remove(process)
            if not self._is_ended_at_exit:
                self._is_ended_at_exit = True
                atexit.register(self.close)
        if fitting and process is not None:
            return process
        try:
            if process is not None:
                process.close()
            return _ReaderProcess(memory_bytes)
        except BaseException:
            with self._changed:
                self._count -= 1
                self._changed.notify()
            raise

    def _give_back(self, process: _ReaderProcess) -> None:
        with self._changed:
            if process.is_alive:
                self._idle.append(process)
            else:
                self._count -= 1
            self._changed.notify()


_POOL = _Pool()


def serve(*, memory_bytes: int, parent_id: int) -> None:
    """Answers requests on standard input until it ends; the whole life of a reader.

    Args:
        memory_bytes: Memory that reading may take; beyond it the process ends.
        parent_id: The process whose end is this one's, too.
    """
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a library prints must not be taken for an answer.
    os.dup2(2, 1)
    _limit_memory(memory_bytes)
    base_bytes = _measure_memory()
    KEPT.allow(lambda: _measure_memory() - base_bytes < memory_bytes // _KEPT_SHARE)
    reading = threading.Event()
    watch = threading.Thread(target=_watch, args=(memory_bytes, parent_id, reading), name="watch-limits", daemon=True)
    watch.start()

    def answer(content: _Answer) -> None:
        pickle.dump(content, answers, protocol=5)
        answers.flush()

    answer(_Answer())
    while True:
        try:
            call = pickle.load(requests)  # noqa: S301 - sent by `_ReaderProcess`
        except EOFError:
            return
        if not isinstance(call, _Call):
            # Asked for one value more than there was.
            continue
        reading.set()
        KEPT.close_unless_owned(call.function.__module__)
        if call.is_stream:
            _serve_stream(call, requests, answer)
        else:
            answer(_answer_call(partial(call.function, *call.args, **call.options)))
        reading.clear()


def _serve_stream(call: _Call, requests: IO[bytes], answer: Callable[[_Answer], None]) -> None:
    values = iter(call.function(*call.args, **call.options))
    end = object()
    while cast("_Next", pickle.load(requests)).is_wanted:  # noqa: S301 - sent by `_ReaderProcess`
        found = _answer_call(partial(next, values, end))
        if found.error is not None or found.value is end:
            answer(_Answer(error=found.error))
            return
        answer(_Answer(found.value, is_open=True))
    # A generator closes its files when nobody holds it any more.
    del values
    answer(_Answer())


def _answer_call(function: Callable[[], Any]) -> _Answer:
    try:
        return _Answer(function())
    except MemoryError:
        os._exit(_EXIT_OUT_OF_MEMORY)
    except Exception as error:  # noqa: BLE001 - whatever it is belongs to the caller
        cause = error.__context__ if error.__cause__ is None else error.__cause__
        try:
            pickle.loads(pickle.dumps((error, cause)))  # noqa: S301 - of this very process
        except Exception:  # noqa: BLE001 - exceptions of C libraries may refuse in any way
            return _Answer(error=(RuntimeError(f"{type(error).__name__}: {error}"), None))
        return _Answer(error=(error, cause))


def _watch(memory_bytes: int, parent_id: int, reading: threading.Event) -> None:
    """Ends this process when reading needs too much memory, or when its parent is gone."""
    base_bytes = _measure_memory()
    while True:
        # Idle, it wakes up once a second.
        if reading.wait(_LOOK_SECONDS):
            time.sleep(_WATCH_SECONDS)
        else:
            KEPT.close_idle()
        if sys.platform != "win32" and os.getppid() != parent_id:
            os._exit(0)
        if _measure_memory() - base_bytes > memory_bytes:
            os._exit(_EXIT_OUT_OF_MEMORY)


def _measure_memory() -> int:
    """Bytes of this process in memory: now on Linux, at most so far on macOS, and 0, unknown, on Windows."""
    if sys.platform == "linux":
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - fifty times a second
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _limit_memory(memory_bytes: int) -> None:
    """Lets allocations fail where they come faster than `_watch` looks."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = _measure_memory() + memory_bytes + _BACKSTOP_BYTES
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    # Where the kernel does not count this, as on macOS, nothing is lost: `_watch` looks all the same.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))
