"""A bar for work whose steps are counted."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

__all__ = ["show_progress"]


@contextmanager
def show_progress(console: Console, what: str) -> Generator[Callable[[int, int], None], None, None]:
    """Yields a callback that moves a bar, called with what is done and with all; nothing is drawn where nobody watches.

    Args:
        console: Where it is drawn.
        what: Said before the bar.
    """
    columns = (SpinnerColumn(), TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)
