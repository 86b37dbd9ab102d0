"""What was measured, as tables on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from qwen3_vl_retrieval.cli.evaluation_session import ComparedStores, EvaluatedStore
from qwen3_vl_retrieval.documents.labels import clean_text
from qwen3_vl_retrieval.evaluation.evaluation import Evaluation, StageName, describe_drafts

__all__ = ["print_comparison", "print_evaluation"]

_STAGES: dict[StageName, str] = {"first": "First stage", "reranked": "Reranked"}

_MOST_NAMED = 20


def print_evaluation(evaluated: EvaluatedStore, console: Console) -> None:
    """Prints what was measured on one index."""
    evaluation = evaluated.evaluation
    console.print(
        Text(f"{evaluated.folder.name}: {len(evaluation.questions):,} questions, {len(evaluation.units):,} units"),
        style="bold",
    )
    console.print(_build_measures(evaluation))
    if evaluation.groups:
        console.print(_build_groups(evaluation))
    if len(evaluation.depth_curve) > 1:
        console.print(_build_depths(evaluation))
    if evaluation.vector_curve:
        console.print(_build_vectors(evaluation))
    if evaluated.thresholds:
        console.print(_build_thresholds(evaluated))
    for step, one in evaluation.latency.items():
        console.print(
            f"{step}: {one.median:.3f} s for a question, 95 %: {one.p95:.3f} s ({one.questions:,} timed)",
            highlight=False,
        )
    difference = evaluation.compare_stages()
    if difference is not None:
        said = difference.describe(first="the first stage", second="reranking")
        console.print(f"{evaluation.main_measure}: {said}", highlight=False, soft_wrap=True)
    _print_notes(evaluated, console)


def print_comparison(compared: ComparedStores, console: Console) -> None:
    """Prints what the second index, B, has over the first, A."""
    for stage, measures in compared.differences.items():
        for name, difference in measures.items():
            console.print(f"{_STAGES[stage]}, {name}: {difference.describe()}", highlight=False, soft_wrap=True)


def _build_measures(evaluation: Evaluation) -> Table:
    table = _begin("", *(header for stage in evaluation.stages for header in (_STAGES[stage], "95 %")))
    intervals = [stage.intervals for stage in evaluation.stages.values()]
    for name in intervals[0]:
        cells = [
            cell
            for one in intervals
            for cell in (f"{one[name].mean:.3f}", f"{one[name].low:.3f} to {one[name].high:.3f}")
        ]
        table.add_row(name, *cells)
    return table


def _build_groups(evaluation: Evaluation) -> Table:
    main = evaluation.main_measure
    table = _begin("", "Questions", *(f"{_STAGES[stage]}, {main}" for stage in evaluation.stages))
    for kind, groups in evaluation.groups.items():
        for name, group in groups.items():
            means = [f"{float(values[main].mean()):.3f}" for values in group.stages.values()]
            table.add_row(Text(f"{kind.replace('_', ' ')}: {clean_text(name)}"), str(group.questions), *means)
    return table


def _build_depths(evaluation: Evaluation) -> Table:
    main = evaluation.main_measure
    table = _begin("Judged", main, "recall", "Seconds")
    recall = f"recall@{evaluation.options.k}"
    for point in evaluation.depth_curve:
        seconds = "" if point.seconds is None else f"{point.seconds:.2f}"
        means = [f"{float(point.values[name].mean()):.3f}" for name in (main, recall)]
        table.add_row(str(point.depth), *means, seconds)
    return table


def _build_vectors(evaluation: Evaluation) -> Table:
    main = evaluation.main_measure
    table = _begin("Vectors alone", "Bytes", main)
    for point in evaluation.vector_curve:
        setting = point.setting
        mean = f"{float(point.values[main].mean()):.3f}"
        table.add_row(f"{setting.dimensions:,} {setting.precision}", f"{setting.vector_bytes:,}", mean)
    return table


def _build_thresholds(evaluated: EvaluatedStore) -> Table:
    table = _begin("Threshold", "Lowest score", "Wrong that pass", "Right that pass")
    for fitted in evaluated.thresholds:
        for rate, cut in fitted.cut_offs.items():
            table.add_row(
                f"{_STAGES[fitted.stage]}, fpr={rate}",
                f"{cut.score:.4g}",
                f"{100 * cut.false_positive_rate:.2f} %",
                f"{100 * cut.recall:.1f} %",
            )
    return table


def _print_notes(evaluated: EvaluatedStore, console: Console) -> None:
    evaluation = evaluated.evaluation
    notes = [describe_drafts(evaluation.drafts, len(evaluation.questions))] if evaluation.drafts else []
    notes += [f"not in the index: {name}" for name in evaluation.unknown]
    notes += [f"question {name}: {line}" for name, lines in evaluation.failures.items() for line in lines]
    if evaluated.dataset is not None:
        notes += [f"entry {name}: {reason}" for name, reason in evaluated.dataset.failures.items()]
    for note in notes[:_MOST_NAMED]:
        console.print(Text(clean_text(note), style="yellow"), soft_wrap=True)
    if len(notes) > _MOST_NAMED:
        console.print(f"and {len(notes) - _MOST_NAMED:,} more, see --json", highlight=False)


def _begin(*headers: str) -> Table:
    table = Table(border_style="dim")
    for place, header in enumerate(headers):
        table.add_column(header, justify="left" if place == 0 else "right")
    return table
