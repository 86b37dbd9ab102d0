"""Searches as one page of HTML: pictures of what was found, before and after the second stage, the answer marked.

The page holds everything it shows: no script, no network, and it can be mailed or opened from a disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from qwen3_vl_retrieval.cli.answers import AnsweredQuestion, describe_rank
from qwen3_vl_retrieval.cli.gallery_style import STYLE
from qwen3_vl_retrieval.cli.previews import draw_preview, encode_picture
from qwen3_vl_retrieval.cli.report import clean_text
from qwen3_vl_retrieval.cli.tables import describe_place, name_failure
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.index.results import FailedFile, Found
from qwen3_vl_retrieval.index.units import Unit
from qwen3_vl_retrieval.media.images import read_image
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["Figure", "Gallery", "build_gallery"]

_EXCERPT_CHARACTERS = 160
_MOST_FAILURES = 50
_MEDIA_NAMES = {"text": "note", "image": "picture", "page": "page", "video": "clip"}


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
    failures = gallery.questions[0].report.failures if gallery.questions else ()
    title = _write(gallery.title)
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Whatever a file name or a note tries, nothing is fetched and nothing runs.
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
            f'<meta name="color-scheme" content="light dark">\n<title>{title}</title>',
            f"<style>{STYLE}</style>\n</head>\n<body>\n<main>",
            _build_head(gallery, title),
            _build_overview(gallery.questions),
            *sections,
            _build_failures(failures, gallery.questions[0].report.folder) if failures else "",
            "</main>\n</body>\n</html>\n",
        ]
    )


def _list_shown(question: AnsweredQuestion, shown: int) -> list[Found]:
    return [*question.report.candidates[:shown], *question.report.results[:shown]]


def _build_head(gallery: Gallery, title: str) -> str:
    notice = "" if gallery.notice is None else f'<p class="notice">{_write(gallery.notice)}</p>'
    figures = "".join(
        f'<div class="figure"><dt>{_write(figure.label)}</dt><dd>'
        + ("" if figure.before is None else f'<span class="before">{_write(figure.before)} → </span>')
        + f"{_write(figure.value)}</dd></div>"
        for figure in gallery.figures
    )
    details = "".join(f"<div><dt>{_write(name)}</dt><dd>{_write(value)}</dd></div>" for name, value in gallery.details)
    return (
        f'<header>\n<h1>{title}</h1>\n<p class="introduction">{_write(gallery.introduction)}</p>\n{notice}\n'
        f'<dl class="figures">{figures}</dl>\n<dl class="details">{details}</dl>\n</header>'
    )


def _build_overview(questions: Sequence[AnsweredQuestion]) -> str:
    rows = "".join(
        f'<tr><td class="number">{number}</td><td><a href="#question-{number}">{_write(question.title)}</a></td>'
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
        f'<p class="kind">{number} · {_write(question.title)}</p>\n'
        f'<h2 lang="{_write(question.language)}">{_write(report.query)}</h2>\n'
        f'<p class="outcome">{_build_outcome(question)}</p></div></div>\n' + "\n".join(rows) + "\n</section>"
    )


def _build_outcome(question: AnsweredQuestion) -> str:
    if question.answer is None:
        return "The answer could not be read."
    place = describe_place(question.answer)
    name = _write(question.answer.source.relative_to(question.report.folder).as_posix())
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
    return f'<img class="asked" src="{source}" alt="The picture of the question: {_write(path.name)}">'


def _build_tile(
    found: Found, question: AnsweredQuestion, picture: str | None, *, relevance: float | None, before: int | None
) -> str:
    unit, folder = found.unit, question.report.folder
    name = unit.source.relative_to(folder)
    parent = "" if name.parent == Path() else f'<span class="parent">{_write(name.parent.as_posix())}/</span>'
    place = describe_place(unit)
    is_answer = unit == question.answer
    mark = '<span class="mark" title="the answer">✓</span>' if is_answer else ""
    moved = "" if before is None or before == found.rank else f'<span class="moved">was {describe_rank(before)}</span>'
    return (
        f'<li class="tile{" answer" if is_answer else ""}">{_build_picture(unit, picture)}'
        f'<div class="caption"><p class="order"><b>{found.rank}</b>{moved}{mark}</p>'
        f'<p class="name">{parent}{_write(name.name)}</p><p class="place">{_write(place)}</p>'
        f"{_build_scores(found.similarity_score, relevance)}</div></li>"
    )


def _build_picture(unit: Unit, picture: str | None) -> str:
    if unit.media_type == "text":
        text = clean_text("" if unit.text is None else unit.text)
        excerpt = text if len(text) <= _EXCERPT_CHARACTERS else text[: _EXCERPT_CHARACTERS - 1] + "…"
        return f'<div class="picture paper"><p>{escape(excerpt)}</p></div>'
    if picture is None:
        return '<div class="picture unreadable">?</div>'
    return f'<div class="picture"><img src="{picture}" alt="{_MEDIA_NAMES[unit.media_type]}" loading="lazy"></div>'


def _build_scores(similarity: float, relevance: float | None) -> str:
    cosine = f"<div><dt>cosine</dt><dd>{similarity:.3f}</dd></div>"
    if relevance is None:
        return f'<dl class="scores">{cosine}</dl>'
    percent = f"{100 * relevance:.1f}"
    return (
        f'<dl class="scores">{cosine}<div><dt>probability</dt><dd>{relevance:.3f}</dd></div></dl>'
        f'<div class="meter"><i style="width:{percent}%"></i></div>'
    )


def _build_failures(failures: Sequence[FailedFile], folder: Path) -> str:
    lines = "".join(
        f"<li><b>{_write(name_failure(failure, folder))}</b> {_write(failure.error.reason)}</li>"
        for failure in failures[:_MOST_FAILURES]
    )
    return f"<section><h2>Could not be read, and took no part ({len(failures)})</h2><ul>{lines}</ul></section>"


def _write(text: str) -> str:
    return escape(clean_text(text))
