"""Texts and names that are not ours, made fit to be shown."""

from __future__ import annotations

import re

__all__ = ["clean_text", "cut_excerpt"]


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
