"""Texts cut into chunks of a few paragraphs, in time that grows with their length and no faster.

The splitter looks at all of the text that is left for each chunk, which takes quadratic time. What it decides depends
on the next few thousand characters only, so it is given those, and what lies at their end is given to it once more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    Splitter: TypeAlias = MarkdownSplitter | TextSplitter

__all__ = ["split_text"]

_FEWEST_CHARACTERS = 500
_MOST_CHARACTERS = 1500
"""Characters of a chunk: a few paragraphs, far below the length of the models in any script."""

_WINDOW_CHARACTERS = 8_000
"""Given to the splitter at once; a chunk is kept if it begins at least two of the longest chunks before the end."""

_MARKDOWN_WINDOW_CHARACTERS = 64_000
"""The same of Markdown, whose structure is not known from the middle: a file that is not longer is split as a whole."""

_LONGEST_LINE_CHARACTERS = 8_000
"""A longer line has no structure that Markdown would add, and takes the splitter longest."""

_FILLED_LINE = re.compile(r"[^\r\n]+")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")

_FENCE = re.compile(r"[\s>]*(?:(?:[-*+]|\d+[.)])\s+)*(`{3,}(?!.*`)|~{3,})")
_RAW_HTML = re.compile(r"[\s>]*(?:<(pre|script|style|textarea)\b|(<!--))", re.IGNORECASE)
"""What begins a part of Markdown in which empty lines and headings mean nothing."""

_CONTINUED = re.compile(r"[\s>|]|[-*+=]|\d+[.)]")
"""How a line begins that may belong to what was before an empty line: a list, a quote, indented code, a table."""


def split_text(text: str, *, is_markdown: bool = False) -> list[str]:
    """Returns the chunks of a text, in order, without the white space between them.

    They are those of `semantic_text_splitter` on all of the text, cut at paragraphs, lines, sentences and words. Of
    Markdown they may differ where a text of more than 64,000 characters goes on for as long without a paragraph of its
    own, and around a line of more than 8,000.
    """
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    capacity = (_FEWEST_CHARACTERS, _MOST_CHARACTERS)
    if not is_markdown:
        return list(_split_plain(text, TextSplitter(capacity)))
    chunks: list[str] = []
    markdown, plain = MarkdownSplitter(capacity), TextSplitter(capacity)
    place = 0
    for line in _FILLED_LINE.finditer(text):
        if len(line[0]) <= _LONGEST_LINE_CHARACTERS:
            continue
        chunks += _split_markdown(text[place : line.start()], markdown)
        chunks += _split_plain(line[0], plain)
        place = line.end()
    chunks += _split_markdown(text[place:], markdown)
    return chunks


def _split_plain(text: str, splitter: Splitter) -> Iterator[str]:
    begin = 0
    while begin < len(text):
        window = text[begin : begin + _WINDOW_CHARACTERS]
        is_last = begin + _WINDOW_CHARACTERS >= len(text)
        following = begin + len(window)
        for offset, chunk in splitter.chunk_indices(window):
            if not is_last and offset > _WINDOW_CHARACTERS - 2 * _MOST_CHARACTERS:
                following = begin + offset
                break
            yield chunk
        begin = following


def _split_markdown(text: str, splitter: Splitter) -> Iterator[str]:
    if len(text) <= _MARKDOWN_WINDOW_CHARACTERS:
        yield from splitter.chunks(text)
        return
    paragraphs = set(_find_paragraphs(text))
    begin = 0
    while begin < len(text):
        window = text[begin : begin + _MARKDOWN_WINDOW_CHARACTERS]
        found = splitter.chunk_indices(window)
        following = begin + len(window)
        if following < len(text):
            last_offset = _MARKDOWN_WINDOW_CHARACTERS - 2 * _MOST_CHARACTERS
            offsets = [offset for offset, _ in found if 0 < offset <= last_offset]
            # Where structure begins anew, so that it is the same for who reads from there on.
            anew = [offset for offset in offsets if begin + offset in paragraphs]
            if offsets:
                following = begin + (anew or offsets)[-1]
        yield from (chunk for offset, chunk in found if begin + offset < following)
        begin = following


def _find_paragraphs(text: str) -> Iterator[int]:
    """Where an empty line is followed by one that belongs to no list, quote or block of code."""
    is_after_empty = True
    ending: re.Pattern[str] | None = None
    for found in _LINE.finditer(text):
        line = found[0]
        if ending is not None:
            if ending.search(line):
                ending = None
            is_after_empty = False
            continue
        if is_after_empty and not _CONTINUED.match(line):
            yield found.start()
        is_after_empty = not line.strip()
        if fence := _FENCE.match(line):
            ending = re.compile(rf"^[\s>]*{fence[1][0]}{{{len(fence[1])},}}\s*$")
        elif html := _RAW_HTML.match(line):
            end = re.compile("-->" if html[2] else f"</{html[1]}>", re.IGNORECASE)
            ending = None if end.search(line, html.end()) else end
