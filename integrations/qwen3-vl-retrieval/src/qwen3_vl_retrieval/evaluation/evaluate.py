"""An index measured with questions: both stages, by groups, by depth, by length of vectors; and how long it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from qwen3_vl_retrieval.evaluation.directory import JudgedQuestion, UnitDirectory
from qwen3_vl_retrieval.evaluation.evaluation import (
    DepthPoint,
    Evaluation,
    GroupMeasures,
    Latency,
    Stage,
    StageName,
    VectorPoint,
)
from qwen3_vl_retrieval.evaluation.measures import compute_measures, list_measures
from qwen3_vl_retrieval.evaluation.question_runs import (
    OnProgress,
    QuestionRun,
    RunOptions,
    WorkingFile,
    describe_run,
    run_questions,
)
from qwen3_vl_retrieval.evaluation.questions import QuestionSet
from qwen3_vl_retrieval.evaluation.vector_curve import list_settings, rank_by_vectors
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex

__all__ = ["evaluate_index"]


def evaluate_index(
    index: MultimodalIndex,
    questions: QuestionSet,
    options: RunOptions | None = None,
    *,
    allow_unknown: bool = False,
    working_file: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Returns how well an index answers questions.

    Args:
        index: What is measured; without a reranker, its first stage alone.
        questions: With what is known of their answers.
        options: How they are asked; `None` is the defaults of `RunOptions`.
        allow_unknown: Let sources that the index does not hold count as not found; they are named.
        working_file: A file in which what is done is kept at once: called again after it was interrupted, nothing that
            was judged is judged again. `None` keeps nothing.
        on_progress: Called with the number of questions that are done, and of all.

    Raises:
        InputError: A source is unknown, or is the end of several paths.
        StoreError: The index is corrupt, the disk is full, or ir-measures is not installed.
    """
    options = RunOptions() if options is None else options
    directory = UnitDirectory(index.store)
    judged = directory.resolve(questions, allow_unknown=allow_unknown)
    unknown = [f"{one.name} ({one.where})" for one in directory.list_unknown(questions)]
    if working_file is None:
        runs = run_questions(index, questions, options, on_progress=on_progress)
    else:
        with WorkingFile(Path(working_file), describe_run(index, questions, options)) as file:
            runs = run_questions(index, questions, options, working_file=file, on_progress=on_progress)
    measuring = _Measuring(directory, judged, runs, options, is_reranked=index.reranker is not None)
    stages = measuring.measure_stages()
    return Evaluation(
        folder=index.store.layout.folder,
        questions=tuple(judged),
        runs=tuple(runs),
        units=directory.by_id,
        options=options,
        fingerprint=index.store.head.fingerprint,
        reranker=None if index.reranker is None else index.reranker.model_id,
        origin=questions.origin,
        stages=stages,
        groups=_measure_groups(judged, stages),
        depth_curve=measuring.measure_depths(),
        vector_curve=measuring.measure_vectors(index),
        latency=_measure_latency(runs, options),
        unknown=tuple(unknown),
    )


class _Measuring:
    """Measures of rankings of the same questions."""

    def __init__(
        self,
        directory: UnitDirectory,
        judged: Sequence[JudgedQuestion],
        runs: Sequence[QuestionRun],
        options: RunOptions,
        *,
        is_reranked: bool,
    ) -> None:
        self._directory = directory
        self._judged = judged
        self._runs = runs
        self._options = options
        self._is_reranked = is_reranked
        self._grades = {one.question.id: one.grades for one in judged}
        self._names = list_measures(k=options.k, fetch_k=options.fetch_k)

    def measure_stages(self) -> dict[StageName, Stage]:
        """Both stages as a search has them."""
        fetch_k = self._options.fetch_k
        rankings: dict[StageName, list[Sequence[str]]] = {
            "first": [run.candidates.get(fetch_k, ()) for run in self._runs]
        }
        if self._is_reranked:
            rankings["reranked"] = [run.rank_candidates(fetch_k) for run in self._runs]
        stages: dict[StageName, Stage] = {}
        for name, ranking in rankings.items():
            documents = self._name_documents(ranking)
            values = compute_measures(documents, self._grades, self._names)
            stages[name] = Stage(documents=documents, values=values)
        return stages

    def measure_depths(self) -> tuple[DepthPoint, ...]:
        """What each number of judged candidates gives, and costs."""
        if not self._is_reranked:
            return ()
        points: list[DepthPoint] = []
        for depth in self._options.limits:
            seconds = [run.depth_seconds[depth] for run in self._runs if depth in run.depth_seconds]
            values = self._measure([run.rank_candidates(depth) for run in self._runs])
            points.append(
                DepthPoint(
                    depth=depth,
                    values=values,
                    seconds=float(np.median(seconds)) if seconds else None,
                    timed_questions=len(seconds),
                )
            )
        return tuple(points)

    def measure_vectors(self, index: MultimodalIndex) -> tuple[VectorPoint, ...]:
        """What shorter and coarser vectors find, all of them compared."""
        places = [place for place, run in enumerate(self._runs) if run.vector is not None]
        if not places:
            return ()
        ids = {unit.row: unit.id for unit in self._directory.by_id.values()}
        vectors = np.stack([run.vector for run in self._runs if run.vector is not None])
        settings = list_settings(index.store)
        points: list[VectorPoint] = []
        for setting, rankings in rank_by_vectors(index.store, vectors, settings, limit=self._options.fetch_k).items():
            found: list[Sequence[str]] = [() for _ in self._runs]
            for place, rows in zip(places, rankings, strict=True):
                found[place] = [ids[row] for row in rows if row in ids]
            points.append(VectorPoint(setting=setting, values=self._measure(found)))
        return tuple(points)

    def _measure(self, rankings: Sequence[Sequence[str]]) -> dict[str, Float64[np.ndarray, " questions"]]:
        return compute_measures(self._name_documents(rankings), self._grades, self._names)

    def _name_documents(self, rankings: Iterable[Sequence[str]]) -> dict[str, list[str]]:
        units = self._directory.by_id
        return {
            one.question.id: one.name_units(units[unit_id] for unit_id in ranking if unit_id in units)
            for one, ranking in zip(self._judged, rankings, strict=True)
        }


def _measure_groups(
    judged: Sequence[JudgedQuestion], stages: Mapping[StageName, Stage]
) -> dict[str, dict[str, GroupMeasures]]:
    """Means by media type of the answer, by language and by tag; a question with several tags is in several groups."""
    members: dict[str, dict[str, list[int]]] = {"media_type": {}, "language": {}, "tag": {}}
    for place, one in enumerate(judged):
        members["media_type"].setdefault(one.media_type, []).append(place)
        if one.question.language is not None:
            members["language"].setdefault(one.question.language, []).append(place)
        for tag in one.question.tags:
            members["tag"].setdefault(tag, []).append(place)
    return {
        kind: {
            name: GroupMeasures(
                questions=len(places),
                stages={
                    stage: {measure: values[places] for measure, values in measured.values.items()}
                    for stage, measured in stages.items()
                },
            )
            for name, places in sorted(groups.items())
        }
        for kind, groups in members.items()
        if groups
    }


def _measure_latency(runs: Sequence[QuestionRun], options: RunOptions) -> dict[str, Latency]:
    steps: dict[str, list[float]] = {}
    for run in runs:
        for step, seconds in run.seconds.items():
            steps.setdefault(step, []).append(seconds)
        if options.fetch_k in run.depth_seconds:
            steps.setdefault("reranking", []).append(run.depth_seconds[options.fetch_k])
    return {step: Latency.measure(seconds) for step, seconds in steps.items()}
