"""What is said of a unit where it is shown: the place in its file, in words, and its text, made fit to be shown."""

from __future__ import annotations

import re
from typing import Protocol

__all__ = ["Placed", "clean_text", "cut_excerpt", "describe_place"]


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


def clean_text(text: str) -> str:
    """Returns `text` on one line, without what a terminal would obey or UTF-8 cannot write.

    File names and documents are not ours: escape sequences in them would move the cursor or rename the window.
    """
    one_line = re.sub(r"\s+", " ", text).strip()
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in one_line)


def cut_excerpt(text: str, *, most_characters: int) -> str:
    """Returns `text` cleaned (see `clean_text`), cut to `most_characters` with an ellipsis where it is longer."""
    cleaned = clean_text(text)
    return cleaned if len(cleaned) <= most_characters else cleaned[: most_characters - 1] + "…"


def _format_time(seconds: float) -> str:
    """Minutes and seconds, `12:05`; hours too where there are any, `1:02:05`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
