"""Results as HTML: tiles with images, in a page of their own or in the output of a notebook.

What is written holds everything it shows: no script, no network, and it can be mailed or opened from a disk. How it
looks is in the folder `templates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from qwen3_vl_retrieval.documents.labels import clean_text

__all__ = ["ResultsPage", "Tile", "load_templates", "render_notebook_grid", "render_results_page"]

_MEDIA_NAMES = {"text": "note", "image": "image", "page": "page", "video": "video", "mixed": "item"}
"""What a reader calls each type of media."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One result, as a reader sees it. Texts and names are cleaned and escaped where they are written.

    Attributes:
        rank: Its place, from 1.
        media_type: What it is.
        name: Name of the file.
        parent: Names of the folders above it, as far as they are shown; `""` if none.
        place: Page or time; `""` for a whole file.
        image: A data URI; `None` if there is none.
        paper: Text in place of an image; `None` if an image belongs there.
        unreadable: What to say where an image belongs and there is none.
        similarity_score: Cosine of the first stage; `None` if nothing was compared.
        relevance_score: Probability of the second; `None` without one.
        note: Said beside the rank.
        badge: Said at the end of that line.
        excerpt: Text below the place.
        details: Further lines there.
        is_answer: Whether to mark it as the one that was looked for.
        explanation: Why it was found, as HTML; `None` if that was not asked for.
    """

    rank: int
    media_type: str
    name: str
    parent: str
    place: str
    image: str | None
    paper: str | None
    unreadable: str = "?"
    similarity_score: float | None
    relevance_score: float | None
    note: str | None = None
    badge: str | None = None
    excerpt: str | None = None
    details: Sequence[str] = ()
    is_answer: bool = False
    explanation: Markup | None = None

    @property
    def media_name(self) -> str:
        """What a reader calls it."""
        return _MEDIA_NAMES[self.media_type]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsPage:
    """What the page of one search shows.

    Attributes:
        query: The text of the query, or what it is if it has none.
        query_images: Its images and videos as data URIs; `None` for one that cannot be read.
        summary: A line below the query.
        seconds: Name and duration of each step.
        tiles: The results.
        failures: Name and reason of what took no part.
    """

    query: str
    query_images: Sequence[str | None]
    summary: str
    seconds: Sequence[tuple[str, float]]
    tiles: Sequence[Tile]
    failures: Sequence[tuple[str, str]]


@cache
def load_templates(*packages: str) -> Environment:
    """Returns the templates of results, and those in the folders `templates` of other packages.

    Whatever a template writes is made printable (see `clean_text`) and escaped.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, "qwen3_vl_retrieval.index.results")]),
        autoescape=True,
        finalize=_clean,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_results_page(page: ResultsPage, *, title: str) -> str:
    """Returns the page of one search; `title` is small, above the query."""
    return load_templates().get_template("results.html").render(page=page, title=title)


def render_notebook_grid(tiles: Sequence[Tile], *, summary: str, more: str | None = None) -> str:
    """Returns tiles for the output of a notebook, with a style that changes nothing else there.

    Args:
        tiles: The results to show.
        summary: A line above them; `""` is none.
        more: A line below them.
    """
    return load_templates().get_template("notebook.html").render(tiles=tiles, summary=summary, more=more)


def _clean(value: Any) -> Any:
    """File names and texts are not ours; what a template has escaped or marked as safe is."""
    return clean_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value
