"""Searches as one page of HTML: what was found, before and after the second stage, the answer marked.

The page holds everything it shows: no script, no network, and it can be mailed or opened from a disk. How it looks is
in the folder `templates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qwen3_vl_retrieval.cli.answers import AnsweredQuestion, describe_rank
from qwen3_vl_retrieval.documents.labels import cut_excerpt, describe_place
from qwen3_vl_retrieval.documents.previews import encode_thumbnail
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.index.results.hits import FailedFile, Hit, make_tile, name_failures
from qwen3_vl_retrieval.index.results.html import Tile, load_templates
from qwen3_vl_retrieval.media.images import read_image
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["Figure", "Gallery", "build_gallery"]

_PAPER_CHARACTERS = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number at the head of the page.

    Attributes:
        label: What it is.
        value: The number.
        before: What it was before; `None` if there is nothing to compare with.
    """

    label: str
    value: str
    before: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """What the page shows.

    Attributes:
        title: Its heading.
        introduction: A sentence or two below.
        notice: What must not be overlooked; `None` if there is nothing.
        figures: Numbers at its head.
        details: Small print: name and value.
        folder: What was searched.
        questions: The searches.
        failures: What could not be read in the folder.
        shown: How many results of each order are shown.
    """

    title: str
    introduction: str
    notice: str | None
    figures: Sequence[Figure]
    details: Sequence[tuple[str, str]]
    folder: Path
    questions: Sequence[AnsweredQuestion]
    failures: Sequence[FailedFile]
    shown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """A question with both orders of its results, as the page shows it."""

    question: AnsweredQuestion
    query_image: str | None
    answer: str | None
    by_vectors: Sequence[Tile]
    reranked: Sequence[Tile]


def build_gallery(gallery: Gallery) -> str:
    """Returns the page; images that can no longer be read are left out of it."""
    templates = load_templates("qwen3_vl_retrieval.cli")
    drawn: dict[str, Tile] = {}
    return templates.get_template("gallery.html").render(
        title=gallery.title,
        gallery=gallery,
        sections=[_build_section(question, gallery, drawn) for question in gallery.questions],
        failures=name_failures(gallery.failures, folder=str(gallery.folder)),
        describe_rank=describe_rank,
    )


def _build_section(question: AnsweredQuestion, gallery: Gallery, drawn: dict[str, Tile]) -> _Section:
    relevances = {hit.id: hit.relevance_score for hit in question.reranked}
    ranks = {hit.id: hit.rank for hit in question.by_vectors}

    def build_tile(hit: Hit, *, before: int | None) -> Tile:
        if hit.id not in drawn:
            drawn[hit.id] = make_tile(hit, folder=str(gallery.folder))
        return replace(
            drawn[hit.id],
            rank=hit.rank,
            paper=_cut_paper(hit.text) if hit.media_type == "text" else None,
            unreadable="?",
            similarity_score=hit.similarity_score,
            relevance_score=relevances.get(hit.id),
            note=None if before is None or before == hit.rank else f"was {describe_rank(before)}",
            badge=None,
            excerpt=None,
            details=(),
            is_answer=question.is_answer(hit),
        )

    return _Section(
        question=question,
        query_image=_draw_query_image(question.query_image),
        answer=_name_answer(question, gallery.folder),
        by_vectors=[build_tile(hit, before=None) for hit in question.by_vectors[: gallery.shown]],
        reranked=[build_tile(hit, before=ranks.get(hit.id)) for hit in question.reranked[: gallery.shown]],
    )


def _name_answer(question: AnsweredQuestion, folder: Path) -> str | None:
    """The file of the answer, with its page or window; `None` if it could not be read."""
    if question.answer is None:
        return None
    name = question.answer.source.relative_to(folder).as_posix()
    place = describe_place(question.answer)
    return f"{name}, {place}" if place else name


def _draw_query_image(path: Path | None) -> str | None:
    """The image of the query as a data URI; it was read a moment ago, and is no part of the folder."""
    if path is None:
        return None
    try:
        return encode_thumbnail(read_image(path, MediaPolicy()))
    except InputError:
        return None


def _cut_paper(text: str | None) -> str:
    return "" if text is None else cut_excerpt(text, most_characters=_PAPER_CHARACTERS)
