"""Where in a file something was found, in words."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Placed", "describe_place"]


class Placed(Protocol):
    """What lies at a page or in a window of time, such as a unit or a hit."""

    @property
    def page(self) -> int | None:
        """Number of the page, from 1."""
        ...

    @property
    def start(self) -> float | None:
        """First second of the window."""
        ...

    @property
    def end(self) -> float | None:
        """Last second of the window."""
        ...


def describe_place(placed: Placed) -> str:
    """Returns the page or the time window, as in `page 3` or `00:25-00:55`; nothing for a whole file."""
    if placed.page is not None:
        return f"page {placed.page}"
    if placed.start is not None and placed.end is not None:
        return f"{_format_time(placed.start)}-{_format_time(placed.end)}"
    return ""


def _format_time(seconds: float) -> str:
    """Minutes and seconds, `12:05`; hours too where there are any, `1:02:05`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
