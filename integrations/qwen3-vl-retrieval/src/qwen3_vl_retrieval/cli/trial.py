"""The office of the demo searched: its questions asked, and the outcome shown. Importing this module imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from qwen3_vl_retrieval.cli.answers import AnsweredQuestion, compute_recall
from qwen3_vl_retrieval.cli.comparisons import print_comparison, print_recall, print_seconds
from qwen3_vl_retrieval.cli.gallery import Figure, Gallery, build_gallery
from qwen3_vl_retrieval.cli.options import ModelOptions
from qwen3_vl_retrieval.cli.tables import print_failures
from qwen3_vl_retrieval.cli.trial_session import TrialSession

__all__ = ["run_trial"]

_CANDIDATES = 20
_SHOWN = 5
_DEPTHS = (1, 5)

# A window is a scene of the office's longer clips.
_WINDOW_SECONDS = 6.0

_INTRODUCTION = (
    "A small office of pictures, scans, PDFs, clips and notes, drawn by a program, and questions that have exactly one "
    "answer in it each, among near misses. The first stage orders everything by vectors. The second stage reads the "
    f"question and a candidate together, and judges the nearest {_CANDIDATES}."
)


def run_trial(
    office: Any,
    store: Path,
    options: ModelOptions,
    *,
    notice: str | None,
    writing_seconds: float,
    console: Console,
    messages: Console,
) -> str:
    """Indexes the office, asks its questions, prints both orders for each, and returns the report as HTML.

    Args:
        office: An `Office` of `qwen3_vl_pocket.office`.
        store: Where the index is kept: a second trial embeds nothing.
        options: Which models to take.
        notice: What the report must say about them.
        writing_seconds: How long the office took to write.
        console: Where results are printed.
        messages: Where progress and failures are shown.

    Raises:
        ModelError: A model cannot be loaded.
        StoreError: The index is in use or torn.
    """
    session = TrialSession.open(office.folder, store, options, window_seconds=_WINDOW_SECONDS, console=messages)
    with session.index:
        console.print(_describe_session(session), soft_wrap=True)
        answered = _ask_questions(session, office.questions, console)
    seconds = {"writing": writing_seconds, **session.seconds}
    seconds["searching"] = sum(question.report.seconds["searching_seconds"] for question in answered)
    print_recall(answered, console, depths=_DEPTHS)
    print_seconds(seconds, console)
    # Of the files that were written none fails; others may lie in the folder.
    print_failures(answered[0].report, messages)
    return build_gallery(_describe_trial(session, answered, seconds, notice), session.policy)


def _ask_questions(session: TrialSession, questions: Sequence[Any], console: Console) -> list[AnsweredQuestion]:
    unit_at = {
        (unit.source.relative_to(session.folder).as_posix(), unit.page, unit.start): unit for unit in session.units
    }
    answered: list[AnsweredQuestion] = []
    for number, asked in enumerate(questions, start=1):
        # All candidates are ranked, so that the place of an answer is known that is not among those shown.
        report = session.search(asked.text, query_image=asked.query_image, count=_CANDIDATES)
        question = AnsweredQuestion(
            title=asked.title, language=asked.language, report=report, answer=unit_at.get(tuple(asked.answer))
        )
        print_comparison(number, question, console, shown=_SHOWN)
        answered.append(question)
    return answered


def _describe_session(session: TrialSession) -> Text:
    known = len(session.units) - session.indexed.embedded_units
    done = f"{session.indexed.embedded_units} embedded in {session.seconds['indexing']:.1f} s" + (
        ", the others were in the index already" if known else f" ({_measure_rate(session):.0f} a second)"
    )
    held = f"{len(session.units)} pages, pictures, scenes and notes"
    return Text(f"{session.files} files in {session.folder.name}: {held}; {done}", style="bold")


def _measure_rate(session: TrialSession) -> float:
    return session.indexed.embedded_units / session.seconds["indexing"]


def _describe_trial(
    session: TrialSession, answered: Sequence[AnsweredQuestion], seconds: Mapping[str, float], notice: str | None
) -> Gallery:
    first = [question.first_rank for question in answered]
    final = [question.final_rank for question in answered]
    recalls = [
        Figure(
            label=f"recall@{depth}, by vectors → reranked",
            before=f"{compute_recall(first, depth):.0%}",
            value=f"{compute_recall(final, depth):.0%}",
        )
        for depth in _DEPTHS
    ]
    return Gallery(
        title="qwen3vl demo",
        introduction=_INTRODUCTION,
        notice=notice,
        figures=(
            *recalls,
            Figure(label="pages, pictures, scenes, notes", value=str(len(session.units))),
            Figure(label="embedded in a second", value=f"{_measure_rate(session):.0f}"),
        ),
        details=(
            ("embedding model", session.options.embedder),
            ("reranker", str(session.options.reranker)),
            ("device", str(session.models.embedder.model.device)),
            ("files", str(session.files)),
            *((name, f"{duration:.1f} s") for name, duration in seconds.items()),
        ),
        questions=answered,
        shown=_SHOWN,
    )
