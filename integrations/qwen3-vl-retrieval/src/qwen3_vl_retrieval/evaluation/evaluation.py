"""What came of an evaluation: numbers, intervals, and what they show, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float64

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.evaluation.confidence import Difference, Interval, compare_values, estimate_mean
from qwen3_vl_retrieval.evaluation.directory import JudgedQuestion, NamedUnit
from qwen3_vl_retrieval.evaluation.measures import write_qrels, write_run
from qwen3_vl_retrieval.evaluation.question_runs import QuestionRun, RunOptions
from qwen3_vl_retrieval.evaluation.vector_curve import VectorSetting
from qwen3_vl_retrieval.fingerprint import Fingerprint

__all__ = [
    "DepthPoint",
    "Evaluation",
    "GroupMeasures",
    "Latency",
    "Stage",
    "StageName",
    "Values",
    "VectorPoint",
    "compare_evaluations",
    "describe_difference",
    "describe_drafts",
]

StageName: TypeAlias = Literal["first", "reranked"]
"""`"first"` is the order of vectors and words, `"reranked"` that of the second stage."""

Values: TypeAlias = Mapping[str, Float64[np.ndarray, " questions"]]
"""By measure: one value for each question."""

_ROUNDED = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """A stage of the search.

    Attributes:
        documents: What was found for each question, best first, by the names of runs.
        values: Its measures.
    """

    documents: Mapping[str, Sequence[str]]
    values: Values

    @property
    def means(self) -> dict[str, float]:
        """Mean of each measure."""
        return _average(self.values)

    @property
    def intervals(self) -> dict[str, Interval]:
        """Mean and 95 % interval of each measure."""
        return {name: estimate_mean(values) for name, values in self.values.items()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupMeasures:
    """Measures of some of the questions.

    Attributes:
        questions: How many they are.
        stages: Their values, by stage.
    """

    questions: int
    stages: Mapping[StageName, Values]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthPoint:
    """What a number of judged candidates gives.

    Attributes:
        depth: Candidates that are judged.
        values: Measures of the ranking.
        seconds: Median duration of judging them for one question; `None` if none was timed.
        timed_questions: Questions that were timed.
    """

    depth: int
    values: Values
    seconds: float | None
    timed_questions: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorPoint:
    """What vectors of a length and format find.

    Attributes:
        setting: Length and format.
        values: Measures of the ranking by these vectors alone.
    """

    setting: VectorSetting
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long a step took for a question, in seconds.

    Attributes:
        median: Half of the questions took less.
        p95: 95 of 100 took less.
        questions: Questions that were timed.
    """

    median: float
    p95: float
    questions: int

    @classmethod
    def measure(cls, seconds: Sequence[float]) -> Latency:
        """Returns the figures of some durations."""
        return cls(median=float(np.median(seconds)), p95=float(np.quantile(seconds, 0.95)), questions=len(seconds))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Evaluation:
    """How well an index answers questions. Printed, it is a table.

    Attributes:
        folder: The index.
        questions: What was asked.
        runs: What was found.
        units: The units of the index.
        options: How questions were asked.
        fingerprint: Fingerprint of the index.
        reranker: Model of the second stage; `None` if there was none.
        origin: Where the questions are from.
        stages: Measures of both stages.
        groups: The same by media type, language and tag.
        depth_curve: What judging more candidates gives.
        vector_curve: What shorter and coarser vectors find.
        latency: How long the steps took.
        unknown: Sources that the index does not hold.
    """

    folder: Path
    questions: tuple[JudgedQuestion, ...]
    runs: tuple[QuestionRun, ...]
    units: Mapping[str, NamedUnit] = field(repr=False)
    options: RunOptions
    fingerprint: Fingerprint
    reranker: str | None
    origin: str
    stages: Mapping[StageName, Stage]
    groups: Mapping[str, Mapping[str, GroupMeasures]]
    depth_curve: tuple[DepthPoint, ...]
    vector_curve: tuple[VectorPoint, ...]
    latency: Mapping[str, Latency]
    unknown: tuple[str, ...] = ()

    @property
    def main_measure(self) -> str:
        """What questions are ordered and settings compared by."""
        return f"ndcg@{self.options.k}"

    @property
    def last_stage(self) -> StageName:
        """The stage whose order a search shows."""
        return "reranked" if "reranked" in self.stages else "first"

    @property
    def drafts(self) -> int:
        """Questions that nobody has checked."""
        return sum(one.question.is_draft for one in self.questions)

    @property
    def failures(self) -> dict[str, list[str]]:
        """What could not be read or judged, by question."""
        said = {run.question_id: [*([] if run.error is None else [run.error]), *run.failures] for run in self.runs}
        return {name: lines for name, lines in said.items() if lines}

    def compare_stages(self, measure: str | None = None) -> Difference | None:
        """Returns what reranking gives over the first stage; `None` without a reranker."""
        if "reranked" not in self.stages:
            return None
        name = self.main_measure if measure is None else measure
        return compare_values(self.stages["first"].values[name], self.stages["reranked"].values[name])

    def write_runs(self, prefix: str | Path) -> list[Path]:
        """Writes `PREFIX.first.trec`, with a reranker `PREFIX.reranked.trec`, and `PREFIX.qrels`; returns the files.

        Raises:
            OSError: They cannot be written.
        """
        start = Path(prefix)
        written: list[Path] = []
        for name, stage in self.stages.items():
            path = start.with_name(f"{start.name}.{name}.trec")
            write_run(path, stage.documents, tag=name)
            written.append(path)
        path = start.with_name(f"{start.name}.qrels")
        write_qrels(path, {one.question.id: one.grades for one in self.questions})
        return [*written, path]

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON has it; means of measures first."""
        difference = self.compare_stages()
        return {
            "stages": {name: _round(stage.means) for name, stage in self.stages.items()},
            "intervals": {
                name: {measure: [_cut(one.low), _cut(one.high)] for measure, one in stage.intervals.items()}
                for name, stage in self.stages.items()
            },
            "questions": len(self.questions),
            "drafts": self.drafts,
            "origin": self.origin,
            "k": self.options.k,
            "fetch_k": self.options.fetch_k,
            "instruction": self.options.instruction,
            "fingerprint": self.fingerprint.to_dict(),
            "reranker": self.reranker,
            "reranking": None if difference is None else describe_difference(difference, "first", "reranked"),
            "groups": {
                kind: {
                    name: {
                        "questions": group.questions,
                        **{stage: _round(_average(values)) for stage, values in group.stages.items()},
                    }
                    for name, group in groups.items()
                }
                for kind, groups in self.groups.items()
            },
            "depth_curve": [
                {
                    "depth": point.depth,
                    **_round(_average(point.values)),
                    "seconds": None if point.seconds is None else _cut(point.seconds),
                    "timed_questions": point.timed_questions,
                }
                for point in self.depth_curve
            ],
            "vector_curve": [
                {
                    "dimensions": point.setting.dimensions,
                    "precision": point.setting.precision,
                    "vector_bytes": point.setting.vector_bytes,
                    **_round(_average(point.values)),
                }
                for point in self.vector_curve
            ],
            "latency_seconds": {
                step: {"median": _cut(one.median), "p95": _cut(one.p95), "questions": one.questions}
                for step, one in self.latency.items()
            },
            "unknown": list(self.unknown),
            "failures": self.failures,
            "per_question": {
                one.question.id: {
                    name: _round({measure: float(values[place]) for measure, values in stage.values.items()})
                    for name, stage in self.stages.items()
                }
                for place, one in enumerate(self.questions)
            },
        }

    def __repr__(self) -> str:
        lines = [f"{len(self.questions)} questions, {len(self.units):,} units"]
        names = list(next(iter(self.stages.values())).values)
        width = max(len(name) for name in names)
        lines.append(f"{'':{width}}  " + "  ".join(f"{stage:>22}" for stage in self.stages))
        for name in names:
            shown = [
                f"{one.mean:.3f} ({one.low:.3f} to {one.high:.3f})"
                for one in (estimate_mean(stage.values[name]) for stage in self.stages.values())
            ]
            lines.append(f"{name:{width}}  " + "  ".join(f"{one:>22}" for one in shown))
        difference = self.compare_stages()
        if difference is not None:
            said = difference.describe(first="the first stage", second="reranking")
            lines.append(f"{self.main_measure}: {said}")
        if self.drafts:
            lines.append(describe_drafts(self.drafts, len(self.questions)))
        return "\n".join(lines)


def compare_evaluations(first: Evaluation, second: Evaluation) -> dict[StageName, dict[str, Difference]]:
    """Returns what the second evaluation has over the first, by stage and measure, question by question.

    Raises:
        InputError: They are not of the same questions.
    """
    if [one.question.id for one in first.questions] != [one.question.id for one in second.questions]:
        raise InputError("the evaluations are not of the same questions; ask both the same")
    compared: dict[StageName, dict[str, Difference]] = {}
    for name, stage in first.stages.items():
        if name in second.stages:
            other = second.stages[name].values
            compared[name] = {
                measure: compare_values(values, other[measure])
                for measure, values in stage.values.items()
                if measure in other
            }
    return compared


def describe_difference(difference: Difference, first: str, second: str) -> dict[str, Any]:
    """Returns a difference as JSON has it."""
    found = difference.interval
    return {
        "difference": _cut(found.mean),
        "interval": [_cut(found.low), _cut(found.high)],
        "is_shown": difference.is_shown,
        "questions": found.questions,
        "needed_questions": difference.needed,
        "sentence": difference.describe(first=first, second=second),
    }


def describe_drafts(drafts: int, questions: int) -> str:
    """Returns the sentence that warns of questions which nobody has checked."""
    return (
        f"{drafts:,} of {questions:,} questions are unchecked drafts of a language model, which may be ambiguous or "
        "wrong: check them with qwen3vl eval label"
    )


def _average(values: Values) -> dict[str, float]:
    return {name: float(each.mean()) for name, each in values.items()}


def _round(values: Mapping[str, float]) -> dict[str, float]:
    return {name: _cut(value) for name, value in values.items()}


def _cut(value: float) -> float:
    return round(float(value), _ROUNDED)
