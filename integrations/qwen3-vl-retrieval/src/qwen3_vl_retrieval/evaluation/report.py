"""An evaluation as one page: numbers, plots, and the worst questions with what came and what should have come.

The page holds everything it shows: no script, no network, and it can be mailed or opened from a disk. How it looks is
in the folder `templates`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qwen3_vl_retrieval.documents.previews import encode_thumbnail
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.evaluation.confidence import Interval
from qwen3_vl_retrieval.evaluation.directory import JudgedQuestion
from qwen3_vl_retrieval.evaluation.evaluation import Evaluation, StageName, describe_drafts
from qwen3_vl_retrieval.evaluation.plots import draw_depths, draw_stages, draw_vectors
from qwen3_vl_retrieval.evaluation.question_runs import QuestionRun
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.index.results.hits import Hit, find_folder, make_tile
from qwen3_vl_retrieval.index.results.html import Tile, load_templates
from qwen3_vl_retrieval.index.search import Candidate, build_hits
from qwen3_vl_retrieval.index.thresholds import FittedThresholds
from qwen3_vl_retrieval.media.images import read_image

__all__ = ["render_report"]

_MOST_QUESTIONS = 12

_SHOWN_HITS = 5

_SHOWN_ANSWERS = 3

_PERFECT = 0.9995

_STAGE_NAMES: Mapping[StageName, str] = {"first": "first stage", "reranked": "reranked"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstQuestion:
    """A question that was answered badly.

    Attributes:
        id: Its id.
        text: Its words, or what it is if it has none.
        language: Their language; `None` if nobody has said.
        image: Its image as a data URI; `None` if it has none, or one that cannot be read.
        value: The main measure.
        outcome: What became of its best answer.
        came: What was found, best first.
        expected: What answers it.
    """

    id: str
    text: str
    language: str | None
    image: str | None
    value: float
    outcome: str
    came: Sequence[Tile]
    expected: Sequence[Tile]


def render_report(
    evaluation: Evaluation, index: MultimodalIndex, *, thresholds: Sequence[FittedThresholds] = ()
) -> str:
    """Returns the page of an evaluation.

    Args:
        evaluation: What was measured.
        index: What it was measured on; its files are opened for thumbnails.
        thresholds: What the scores mean, if it was measured.

    Raises:
        StoreError: matplotlib is not installed.
    """
    difference = evaluation.compare_stages()
    plots = [("Measures, with 95 % intervals", draw_stages(evaluation))]
    if len(evaluation.depth_curve) > 1:
        plots.append(("How many candidates to judge", draw_depths(evaluation)))
    if evaluation.vector_curve:
        plots.append(("Shorter and coarser vectors", draw_vectors(evaluation)))
    return (
        load_templates("qwen3_vl_retrieval.evaluation")
        .get_template("report.html")
        .render(
            title="Evaluation",
            evaluation=evaluation,
            stage_names=_STAGE_NAMES,
            intervals={name: stage.intervals for name, stage in evaluation.stages.items()},
            show_interval=_show_interval,
            describe_drafts=describe_drafts,
            sentence=None if difference is None else difference.describe(first="the first stage", second="reranking"),
            plots=plots,
            thresholds=thresholds,
            worst=_list_worst(evaluation, index),
        )
    )


def _show_interval(interval: Interval) -> str:
    return f"{interval.low:.3f} to {interval.high:.3f}"


def _list_worst(evaluation: Evaluation, index: MultimodalIndex) -> list[WorstQuestion]:
    values = evaluation.stages[evaluation.last_stage].values[evaluation.main_measure]
    order = sorted(range(len(values)), key=lambda place: float(values[place]))
    chosen = [place for place in order if values[place] < _PERFECT][:_MOST_QUESTIONS]
    return [
        _show_question(evaluation.questions[place], evaluation.runs[place], evaluation, index, float(values[place]))
        for place in chosen
    ]


def _show_question(
    judged: JudgedQuestion, run: QuestionRun, evaluation: Evaluation, index: MultimodalIndex, value: float
) -> WorstQuestion:
    depth = evaluation.options.fetch_k
    candidates = list(run.candidates.get(depth, ()))
    ranking = run.rank_candidates(depth) if evaluation.last_stage == "reranked" else candidates
    best = [one for one in judged.targets if one.grade > 0]
    wanted = [unit_id for target in best for unit_id in sorted(target.unit_ids, key=_find_place(ranking))[:1]]
    hits = _load_hits([*ranking[:_SHOWN_HITS], *wanted[:_SHOWN_ANSWERS]], run, evaluation, index)
    folder = find_folder([hit.source for hit in hits.values() if hit.source is not None])
    came = [
        replace(_draw_tile(hits[unit_id], evaluation, folder), rank=rank, is_answer=judged.grade_unit(unit_id) > 0)
        for rank, unit_id in enumerate(ranking[:_SHOWN_HITS], start=1)
        if unit_id in hits
    ]
    expected = [
        replace(
            _draw_tile(hits[unit_id], evaluation, folder),
            rank=number,
            # What could not be asked has compared nothing.
            note=_describe_place(unit_id, ranking, candidates, depth) if run.error is None else None,
            similarity_score=hits[unit_id].similarity_score if run.error is None else None,
            is_answer=True,
        )
        for number, unit_id in enumerate(wanted[:_SHOWN_ANSWERS], start=1)
        if unit_id in hits
    ]
    question = judged.question
    return WorstQuestion(
        id=question.id,
        text=question.text if question.text.strip() else "What looks like this",
        language=question.language,
        image=_show_image(question.image, index),
        value=value,
        outcome=_describe_outcome(judged, run, wanted, ranking, candidates, depth),
        came=came,
        expected=expected,
    )


def _draw_tile(hit: Hit, evaluation: Evaluation, folder: str | None) -> Tile:
    """The tile of a hit; an entry of a corpus is called by its id."""
    tile = make_tile(hit, folder=folder)
    return tile if hit.source is not None else replace(tile, name=evaluation.units[hit.id].names[0], parent="")


def _find_place(ranking: Sequence[str]) -> Callable[[str], tuple[int, str]]:
    places = {unit_id: place for place, unit_id in enumerate(ranking)}
    return lambda unit_id: (places.get(unit_id, len(places)), unit_id)


def _load_hits(
    unit_ids: Sequence[str], run: QuestionRun, evaluation: Evaluation, index: MultimodalIndex
) -> dict[str, Hit]:
    """Hits with the scores that they had; of what was not found, the cosine is computed now."""
    rows = {unit_id: evaluation.units[unit_id].row for unit_id in unit_ids if unit_id in evaluation.units}
    unknown = [row for unit_id, row in rows.items() if unit_id not in run.similarities]
    cosines = index.store.score_rows(unknown, run.vector) if unknown and run.vector is not None else {}
    candidates = [
        Candidate(row=row, similarity=run.similarities.get(unit_id, cosines.get(row, 0.0)), keyword_rank=None)
        for unit_id, row in rows.items()
    ]
    hits = build_hits(index.store, candidates, policy=index.media_policy)
    return {hit.id: replace(hit, relevance_score=run.relevances.get(hit.id)) for hit in hits}


def _describe_place(unit_id: str, ranking: Sequence[str], candidates: Sequence[str], depth: int) -> str:
    if unit_id in ranking:
        return f"came as number {ranking.index(unit_id) + 1}"
    if unit_id in candidates:
        return "could not be judged"
    return f"not among the {depth} candidates"


def _describe_outcome(
    judged: JudgedQuestion,
    run: QuestionRun,
    wanted: Sequence[str],
    ranking: Sequence[str],
    candidates: Sequence[str],
    depth: int,
) -> str:
    if run.error is not None:
        return f"The question could not be asked: {run.error}"
    if not wanted:
        missing = next((one.name for one in judged.targets if one.grade > 0), "the answer")
        return f"The index does not hold the answer, {missing}"
    said = [_describe_place(unit_id, ranking, candidates, depth) for unit_id in wanted[:_SHOWN_ANSWERS]]
    return f"The answer {said[0]}" if len(wanted) == 1 else f"{len(wanted)} answers; the first {said[0]}"


def _show_image(image: Path | None, index: MultimodalIndex) -> str | None:
    if image is None:
        return None
    try:
        # Images of questions may lie anywhere.
        shown = read_image(image, replace(index.media_policy, allow_dirs=None))
    except InputError:
        return None
    shown.thumbnail((320, 320))
    return encode_thumbnail(shown)
