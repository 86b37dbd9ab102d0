"""Reading ahead: an iterator runs in a thread of its own, a few values ahead of whoever consumes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["look_ahead"]

T = TypeVar("T")

_POLL_SECONDS = 0.1

_CLOSE_SECONDS = 2.0
"""For the thread to end. What it still reads after that is bounded by the limits of the `MediaPolicy`, and dropped."""


@dataclass(frozen=True, slots=True)
class _Value(Generic[T]):
    content: T


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


def look_ahead(
    produce: Callable[[threading.Event], Generator[T, None, None]],
    *,
    depth: int,
    on_wait: Callable[[], None] | None = None,
) -> Generator[T, None, None]:
    """Yields what `produce` yields, which runs in another thread, at most `depth` values ahead.

    What it raises is raised here, after the values before it. Closing the generator sets the event that `produce` is
    given and waits for the thread, but not for long: Ctrl-C is heard while a value takes minutes. `on_wait` is called
    now and then while there is nothing to yield yet.
    """
    values: queue.Queue[_Value[T] | _End] = queue.Queue(maxsize=depth)
    is_closed = threading.Event()

    def put(value: _Value[T] | _End) -> None:
        while not is_closed.is_set():
            with suppress(queue.Full):
                values.put(value, timeout=_POLL_SECONDS)
                return

    def run() -> None:
        try:
            with closing(produce(is_closed)) as produced:
                for content in produced:
                    put(_Value(content))
                    if is_closed.is_set():
                        return
            put(_End(None))
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the consumer
            put(_End(error))

    thread = threading.Thread(target=run, name="look-ahead", daemon=True)
    thread.start()
    try:
        while isinstance(value := _take(values, on_wait), _Value):
            yield value.content
        if value.error is not None:
            raise value.error
    finally:
        is_closed.set()
        thread.join(_CLOSE_SECONDS)


def _take(values: queue.Queue[_Value[T] | _End], on_wait: Callable[[], None] | None) -> _Value[T] | _End:
    while on_wait is not None:
        with suppress(queue.Empty):
            return values.get(timeout=_POLL_SECONDS)
        on_wait()
    return values.get()
