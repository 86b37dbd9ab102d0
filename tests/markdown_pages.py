"""The Markdown pages of the repository, and what their tests need of them: code blocks, links, headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

_FENCE = re.compile(r"^```(?P<language>[^\n`]*)\n(?P<content>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (?P<title>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, and the line of the page on which its content begins."""

    language: str
    content: str
    line: int


def list_pages() -> list[Path]:
    """README, the packages' pages and the documentation, as paths from the root of the repository."""
    pages = [ROOT / "README.md", *ROOT.glob("integrations/*/README.md"), *ROOT.glob("docs/*.md")]
    return sorted(page.relative_to(ROOT) for page in pages)


def read_page(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def list_blocks(text: str, *languages: str) -> list[Block]:
    return [
        Block(match["language"].strip(), match["content"], text.count("\n", 0, match.start("content")) + 1)
        for match in _FENCE.finditer(text)
        if match["language"].strip() in languages
    ]


def list_links(text: str) -> Iterator[str]:
    """Targets of links to files and headings, outside code."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))
    for match in _LINK.finditer(prose):
        if not match["target"].startswith(("https://", "http://", "mailto:")):
            yield match["target"]


def list_anchors(text: str) -> set[str]:
    """Names that GitHub and MyST give the headings: lower case, without punctuation, hyphens for spaces."""
    titles = [match["title"].strip().lower() for match in _HEADING.finditer(_FENCE.sub("", text))]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}
