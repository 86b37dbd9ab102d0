"""Results as HTML: tiles with pictures, in a page of their own or in the output of a notebook.

What is written holds everything it shows: no script, no network, and it can be mailed or opened from a disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from qwen3_vl_retrieval.documents.labels import clean_text, cut_excerpt
from qwen3_vl_retrieval.index.results.style import NOTEBOOK_STYLE, RESULTS_STYLE

__all__ = [
    "MEDIA_NAMES",
    "ResultsPage",
    "Tile",
    "build_failures",
    "build_notebook_grid",
    "build_page",
    "build_results_page",
    "build_tile",
    "write_text",
]

MEDIA_NAMES = {"text": "note", "image": "picture", "page": "page", "video": "clip", "mixed": "item"}
"""What a reader calls each type of media."""

_EXCERPT_CHARACTERS = 240
_QUERY_CHARACTERS = 400
_MOST_FAILURES = 50

# Whatever a file name or a note tries, nothing is fetched and nothing runs.
_CONTENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One result, as a reader sees it. Texts and names are escaped where they are written.

    Attributes:
        rank: Its place, from 1.
        media_type: What it is.
        name: Of the file.
        parent: Of the folders above it, as far as they are shown; `""` if none.
        place: Page or time; `""` for a whole file.
        picture: A data URI; `None` if there is none.
        paper: Text in place of a picture, as long as it is to be shown; `None` if a picture belongs there.
        unreadable: What to say where a picture belongs and there is none.
        similarity_score: Cosine of the first stage.
        relevance_score: Probability of the second; `None` without one.
        note: Said beside the rank.
        badge: Said at the end of that line.
        excerpt: Text below the place, however long.
        details: Further lines there.
        is_answer: Whether to mark it as the one that was looked for.
    """

    rank: int
    media_type: str
    name: str
    parent: str
    place: str
    picture: str | None
    paper: str | None
    unreadable: str = "?"
    similarity_score: float
    relevance_score: float | None
    note: str | None = None
    badge: str | None = None
    excerpt: str | None = None
    details: Sequence[str] = ()
    is_answer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsPage:
    """What the page of one search shows.

    Attributes:
        title: Small, above the query.
        query: The text of the query, or what it is if it has none.
        query_pictures: Its pictures and clips as data URIs; `None` for one that cannot be read.
        summary: A line below the query.
        seconds: Name and duration of each step.
        tiles: The results.
        failures: Name and reason of what took no part.
    """

    title: str
    query: str
    query_pictures: Sequence[str | None]
    summary: str
    seconds: Sequence[tuple[str, float]]
    tiles: Sequence[Tile]
    failures: Sequence[tuple[str, str]]


def write_text(text: str) -> str:
    """Returns `text` for a place in HTML, between tags or in a quoted attribute: cleaned and escaped."""
    return escape(clean_text(text))


def build_page(body: str, *, title: str, style: str) -> str:
    """Returns a whole page around `body`, which is HTML; it may show embedded pictures and nothing else."""
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_CONTENT_POLICY}">',
            f'<meta name="color-scheme" content="light dark">\n<title>{write_text(title)}</title>',
            f'<style>{style}</style>\n</head>\n<body class="qwen3vl">\n<main>\n{body}\n</main>\n</body>\n</html>\n',
        ]
    )


def build_results_page(page: ResultsPage) -> str:
    """Returns the page of one search."""
    pictures = "".join(_build_query_picture(picture) for picture in page.query_pictures)
    asked = f'<div class="asked-for">{pictures}</div>' if pictures else ""
    durations = "".join(
        f"<div><dt>{write_text(name)}</dt><dd>{seconds:.2f} s</dd></div>" for name, seconds in page.seconds
    )
    query = cut_excerpt(page.query, most_characters=_QUERY_CHARACTERS)
    body = [
        f'<header>\n<div class="question">{asked}<div>\n<p class="kind">{write_text(page.title)}</p>',
        f'<h1 dir="auto">{escape(query)}</h1>\n<p class="outcome">{write_text(page.summary)}</p></div></div>',
        f'<dl class="details">{durations}</dl>' if durations else "",
        f"</header>\n{_build_grid(page.tiles)}",
        build_failures(page.failures),
    ]
    return build_page("\n".join(body), title=page.title, style=RESULTS_STYLE)


def build_notebook_grid(tiles: Sequence[Tile], *, summary: str, more: str | None = None) -> str:
    """Returns tiles for the output of a notebook, with a style that changes nothing else there.

    Args:
        tiles: The results to show.
        summary: A line above them; `""` is none.
        more: A line below them.
    """
    above = f'<p class="summary">{write_text(summary)}</p>' if summary else ""
    below = "" if more is None else f'<p class="more">{write_text(more)}</p>'
    return f'<div class="qwen3vl notebook"><style>{NOTEBOOK_STYLE}</style>{above}{_build_grid(tiles)}{below}</div>'


def build_tile(tile: Tile) -> str:
    """Returns a tile as the item of a list."""
    parent = f'<span class="parent">{write_text(tile.parent)}/</span>' if tile.parent else ""
    note = "" if tile.note is None else f"<span>{write_text(tile.note)}</span>"
    badge = "" if tile.badge is None else f'<span class="badge">{write_text(tile.badge)}</span>'
    mark = '<span class="mark" title="the answer">✓</span>' if tile.is_answer else ""
    details = "".join(f'<p class="place">{write_text(line)}</p>' for line in tile.details)
    return (
        f'<li class="tile{" answer" if tile.is_answer else ""}">{_build_picture(tile)}'
        f'<div class="caption"><p class="order"><b>{tile.rank}</b>{note}{badge}{mark}</p>'
        f'<p class="name">{parent}{write_text(tile.name)}</p><p class="place">{write_text(tile.place)}</p>'
        f"{details}{_build_excerpt(tile.excerpt)}"
        f"{_build_scores(tile.similarity_score, tile.relevance_score)}</div></li>"
    )


def build_failures(failures: Sequence[tuple[str, str]]) -> str:
    """Returns a section that lists names and reasons, the first fifty of them; nothing if there are none."""
    if not failures:
        return ""
    lines = "".join(
        f"<li><b>{write_text(name)}</b> {write_text(reason)}</li>" for name, reason in failures[:_MOST_FAILURES]
    )
    left = len(failures) - _MOST_FAILURES
    rest = f"<li>and {left} more</li>" if left > 0 else ""
    return f"<section><h2>Could not be read, and took no part ({len(failures)})</h2><ul>{lines}{rest}</ul></section>"


def _build_grid(tiles: Sequence[Tile]) -> str:
    return f'<ol class="grid">{"".join(build_tile(tile) for tile in tiles)}</ol>'


def _build_query_picture(picture: str | None) -> str:
    if picture is None:
        return '<div class="asked missing">cannot be shown</div>'
    return f'<img class="asked" src="{picture}" alt="Part of the query">'


def _build_picture(tile: Tile) -> str:
    if tile.paper is not None:
        return f'<div class="picture paper"><p dir="auto">{write_text(tile.paper)}</p></div>'
    if tile.picture is None:
        return f'<div class="picture unreadable">{write_text(tile.unreadable)}</div>'
    return f'<div class="picture"><img src="{tile.picture}" alt="{MEDIA_NAMES[tile.media_type]}" loading="lazy"></div>'


def _build_excerpt(text: str | None) -> str:
    if text is None:
        return ""
    return f'<p class="excerpt" dir="auto">{escape(cut_excerpt(text, most_characters=_EXCERPT_CHARACTERS))}</p>'


def _build_scores(similarity: float, relevance: float | None) -> str:
    cosine = f"<div><dt>cosine</dt><dd>{similarity:.3f}</dd></div>"
    if relevance is None:
        return f'<dl class="scores">{cosine}</dl>'
    percent = f"{100 * relevance:.1f}"
    return (
        f'<dl class="scores">{cosine}<div><dt>probability</dt><dd>{relevance:.3f}</dd></div></dl>'
        f'<div class="meter"><i style="width:{percent}%"></i></div>'
    )
