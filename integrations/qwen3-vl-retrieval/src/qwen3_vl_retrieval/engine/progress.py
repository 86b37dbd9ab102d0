"""Progress of long calls, on the terminal or in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from tqdm.auto import tqdm

__all__ = ["report_progress"]


@contextmanager
def report_progress(description: str, *, total: int, enabled: bool) -> Generator[Callable[[int], None] | None]:
    """Yields a callback that advances a bar by so many items, or `None` when nothing is to be shown."""
    if not enabled:
        yield None
        return
    with tqdm(total=total, desc=description, unit="item") as bar:

        def advance(count: int) -> None:
            bar.update(count)

        yield advance
