"""Child processes that are really forked, with a deadline: a child that waits for ever is ended and reported."""

from __future__ import annotations

import os
import pickle
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

SECONDS = 15.0


def run_in_fork(work: Callable[[], Any]) -> Any:
    """Returns what `work()` returned in a forked child; raises `AssertionError` if it raised or never ended."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # From Python 3.12 on: that threads are at work is what these tests are about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _answer(work, writing)
    os.close(writing)
    deadline, answer = time.monotonic() + SECONDS, b""
    # Not `select`, which refuses descriptors above 1,023.
    while wait([reading], timeout=max(0.0, deadline - time.monotonic())):
        part = os.read(reading, 1 << 16)
        if not part:
            break
        answer += part
    else:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    os.waitpid(child, 0)
    assert answer, "the child never answered"
    outcome, value = pickle.loads(answer)  # noqa: S301 - written by the child
    assert outcome == "returned", value
    return value


def _answer(work: Callable[[], Any], writing: int) -> None:
    """Ends the process, whatever happens: nothing of the test session may run twice."""
    try:
        try:
            answer = ("returned", work())
        except BaseException:  # noqa: BLE001 - told to the test
            answer = ("raised", traceback.format_exc())
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(pickle.dumps(answer))
    finally:
        os._exit(0)
