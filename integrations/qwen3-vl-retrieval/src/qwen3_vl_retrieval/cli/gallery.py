"""Searches as one page of HTML: pictures of what was found, before and after the second stage, the answer marked.

The page holds everything it shows: no script, no network, and it can be mailed or opened from a disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qwen3_vl_retrieval.cli.answers import AnsweredQuestion, describe_rank
from qwen3_vl_retrieval.cli.gallery_style import STYLE
from qwen3_vl_retrieval.cli.tables import name_failure
from qwen3_vl_retrieval.documents.labels import cut_excerpt, describe_place
from qwen3_vl_retrieval.documents.previews import draw_preview, encode_picture
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.index.results.failures import Found
from qwen3_vl_retrieval.index.results.html import Tile, build_failures, build_page, build_tile, write_text
from qwen3_vl_retrieval.media.images import read_image
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["Figure", "Gallery", "build_gallery"]

_EXCERPT_CHARACTERS = 160


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
        questions: The searches, all of one folder.
        shown: How many results of each order are shown.
    """

    title: str
    introduction: str
    notice: str | None
    figures: Sequence[Figure]
    details: Sequence[tuple[str, str]]
    questions: Sequence[AnsweredQuestion]
    shown: int


def build_gallery(gallery: Gallery, policy: MediaPolicy) -> str:
    """Returns the page; pictures that can no longer be read are left out of it.

    Args:
        gallery: What to show.
        policy: What may be opened of what was found.
    """
    pictures: dict[Unit, str | None] = {}
    for question in gallery.questions:
        for found in _list_shown(question, gallery.shown):
            if found.unit not in pictures:
                pictures[found.unit] = draw_preview(found.unit, policy)
    sections = [
        _build_question(number, question, gallery.shown, pictures)
        for number, question in enumerate(gallery.questions, start=1)
    ]
    # Reading failed once, for all questions.
    failures = [
        (name_failure(failure, question.report.folder), failure.error.reason)
        for question in gallery.questions[:1]
        for failure in question.report.failures
    ]
    body = [
        _build_head(gallery),
        _build_overview(gallery.questions),
        *sections,
        build_failures(failures),
    ]
    return build_page("\n".join(body), title=gallery.title, style=STYLE)


def _list_shown(question: AnsweredQuestion, shown: int) -> list[Found]:
    return [*question.report.candidates[:shown], *question.report.results[:shown]]


def _build_head(gallery: Gallery) -> str:
    notice = "" if gallery.notice is None else f'<p class="notice">{write_text(gallery.notice)}</p>'
    figures = "".join(
        f'<div class="figure"><dt>{write_text(figure.label)}</dt><dd>'
        + ("" if figure.before is None else f'<span class="before">{write_text(figure.before)} → </span>')
        + f"{write_text(figure.value)}</dd></div>"
        for figure in gallery.figures
    )
    details = "".join(
        f"<div><dt>{write_text(name)}</dt><dd>{write_text(value)}</dd></div>" for name, value in gallery.details
    )
    return (
        f"<header>\n<h1>{write_text(gallery.title)}</h1>\n"
        f'<p class="introduction">{write_text(gallery.introduction)}</p>\n{notice}\n'
        f'<dl class="figures">{figures}</dl>\n<dl class="details">{details}</dl>\n</header>'
    )


def _build_overview(questions: Sequence[AnsweredQuestion]) -> str:
    rows = "".join(
        f'<tr><td class="number">{number}</td><td><a href="#question-{number}">{write_text(question.title)}</a></td>'
        f"<td>{_build_rank(question.first_rank)}</td><td>{_build_rank(question.final_rank)}</td></tr>"
        for number, question in enumerate(questions, start=1)
    )
    return (
        '<table class="overview"><thead><tr><th></th><th>Where the answer was found</th><th>by vectors</th>'
        f"<th>after reranking</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _build_rank(rank: int | None) -> str:
    kind = " best" if rank == 1 else "" if rank is not None else " missing"
    return f'<span class="rank{kind}">{describe_rank(rank)}</span>'


def _build_question(number: int, question: AnsweredQuestion, shown: int, pictures: dict[Unit, str | None]) -> str:
    report = question.report
    places = {found.unit: found.rank for found in report.candidates}
    relevances = {found.unit: found.relevance_score for found in report.results}

    def build_row(name: str, found: Sequence[Found], *, is_final: bool) -> str:
        tiles = "".join(
            _build_tile(
                one,
                question,
                pictures.get(one.unit),
                relevance=relevances.get(one.unit),
                before=places.get(one.unit) if is_final else None,
            )
            for one in found[:shown]
        )
        kind = " final" if is_final else ""
        return f'<h3>{name}</h3>\n<ol class="row{kind}">{tiles}</ol>'

    rows = [build_row("By vectors", report.candidates, is_final=False)]
    if report.reranker is not None:
        rows.append(build_row("After reranking", report.results, is_final=True))
    return (
        f'<section id="question-{number}">\n<div class="question">{_build_query_image(report.query_image)}<div>\n'
        f'<p class="kind">{number} · {write_text(question.title)}</p>\n'
        f'<h2 lang="{write_text(question.language)}">{write_text(report.query)}</h2>\n'
        f'<p class="outcome">{_build_outcome(question)}</p></div></div>\n' + "\n".join(rows) + "\n</section>"
    )


def _build_outcome(question: AnsweredQuestion) -> str:
    if question.answer is None:
        return "The answer could not be read."
    place = describe_place(question.answer)
    name = write_text(question.answer.source.relative_to(question.report.folder).as_posix())
    return (
        f"The answer, {name}{', ' if place else ''}{place}, is {_build_rank(question.first_rank)} by vectors and "
        f"{_build_rank(question.final_rank)} after reranking."
    )


def _build_query_image(path: Path | None) -> str:
    """The picture of the query; it was read a moment ago, and is no part of the folder."""
    if path is None:
        return ""
    try:
        source = encode_picture(read_image(path, MediaPolicy()))
    except InputError:
        return ""
    return f'<img class="asked" src="{source}" alt="The picture of the question: {write_text(path.name)}">'


def _build_tile(
    found: Found, question: AnsweredQuestion, picture: str | None, *, relevance: float | None, before: int | None
) -> str:
    unit = found.unit
    name = unit.source.relative_to(question.report.folder)
    is_moved = before is not None and before != found.rank
    return build_tile(
        Tile(
            rank=found.rank,
            media_type=unit.media_type,
            name=name.name,
            parent="" if name.parent == Path() else name.parent.as_posix(),
            place=describe_place(unit),
            picture=picture,
            paper=_cut_paper(unit.text) if unit.media_type == "text" else None,
            similarity_score=found.similarity_score,
            relevance_score=relevance,
            note=f"was {describe_rank(before)}" if is_moved else None,
            is_answer=unit == question.answer,
        )
    )


def _cut_paper(text: str | None) -> str:
    return "" if text is None else cut_excerpt(text, most_characters=_EXCERPT_CHARACTERS)
