"""What both stages found for each question, kept line by line: a run that is killed goes on where it was."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.evaluation.appended_lines import AppendedLines
from qwen3_vl_retrieval.evaluation.questions import Question, QuestionSet
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.index.results.hits import Hit
from qwen3_vl_retrieval.index.search import SearchOptions, find_hits, judge_hits
from qwen3_vl_retrieval.items import Item

__all__ = ["OnProgress", "QuestionRun", "RunOptions", "WorkingFile", "describe_run", "run_questions"]

OnProgress: TypeAlias = Callable[[int, int], None]
"""Called with the number of questions that are done, and of all."""

_FORMAT = 1

_TIMED_ROUNDS = 3
"""Questions at most for which a depth is judged by itself, to see how long it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How questions are asked.

    Attributes:
        k: Results that a reader sees.
        fetch_k: Candidates that the second stage judges.
        depths: Numbers of candidates to compare; `fetch_k` is always among them.
        instruction: What makes a document relevant; `None` is the models' own.
        match_words: Whether the keyword index takes part in the first stage.
        oversample: As in `MultimodalIndex.search`.

    Raises:
        ValueError: One of them is out of range.
    """

    k: int = 10
    fetch_k: int = 50
    depths: tuple[int, ...] = (5, 10, 20, 50, 100)
    instruction: str | None = None
    match_words: bool = True
    oversample: int = 4

    def __post_init__(self) -> None:
        """Checks them together."""
        if not 1 <= self.k <= self.fetch_k:
            raise ValueError(f"k={self.k} must be at least 1, and fetch_k={self.fetch_k} at least k")
        if any(depth < 1 for depth in self.depths):
            raise ValueError(f"depths={self.depths} must be at least 1 each")

    @property
    def limits(self) -> tuple[int, ...]:
        """All depths, rising."""
        return tuple(sorted({*self.depths, self.fetch_k}))

    @property
    def search_options(self) -> SearchOptions:
        """As the index takes them."""
        return SearchOptions(
            k=self.k,
            fetch_k=self.fetch_k,
            where=None,
            media_types=None,
            threshold=None,
            instruction=self.instruction,
            oversample=self.oversample,
            match_words=self.match_words,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRun:
    """What was found for one question.

    Attributes:
        question_id: Id of the question.
        candidates: Ids of the units of the first stage, best first, for each depth: as a search of that depth finds
            them.
        similarities: Cosine of each of them.
        relevances: Probability of each that was judged, best first; empty without a reranker.
        seconds: How long embedding the question and finding `fetch_k` candidates took.
        depth_seconds: How long judging took, of the depths that were judged by themselves for this question.
        vector: The question, embedded.
        failures: What could not be opened or judged, and why.
        error: Why the question could not be asked at all; `None` if it could.
    """

    question_id: str
    candidates: Mapping[int, Sequence[str]] = field(default_factory=dict[int, Sequence[str]])
    similarities: Mapping[str, float] = field(default_factory=dict[str, float])
    relevances: Mapping[str, float] = field(default_factory=dict[str, float])
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    depth_seconds: Mapping[int, float] = field(default_factory=dict[int, float])
    vector: Float32[np.ndarray, " dimensions"] | None = field(default=None, compare=False)
    failures: Sequence[str] = ()
    error: str | None = None

    def rank_candidates(self, depth: int) -> list[str]:
        """Returns the candidates of a depth in the order of the second stage, as a search of that depth gives them."""
        wanted = set(self.candidates.get(depth, ()))
        return [unit_id for unit_id in self.relevances if unit_id in wanted]

    def to_json(self) -> str:
        """Returns it on one line."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "vector"}
        if self.vector is not None:
            values["vector"] = base64.b64encode(self.vector.astype("<f4").tobytes()).decode()
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> QuestionRun:
        """Returns what `to_json` wrote."""
        values: dict[str, Any] = json.loads(line)
        vector = values.pop("vector", None)
        for name in ("candidates", "depth_seconds"):
            values[name] = {int(depth): value for depth, value in values[name].items()}
        decoded = None if vector is None else np.frombuffer(base64.b64decode(vector), dtype="<f4").astype(np.float32)
        return cls(**values, vector=decoded)


class WorkingFile(AppendedLines):
    """A file in which what is done is written at once; a context manager.

    What it holds of another run is left: it is begun anew.

    Args:
        path: The file; its folder is made.
        description: What decides about the run, see `describe_run`.

    Attributes:
        done: What was done before, by id of the question.

    Raises:
        StoreError: The disk is full, or the file cannot be written.
    """

    def __init__(self, path: Path, description: Mapping[str, Any]) -> None:
        super().__init__(path, head=json.dumps({"format": _FORMAT, **description}, sort_keys=True))
        runs = [QuestionRun.from_json(line) for line in self.kept]
        self.done = {run.question_id: run for run in runs}

    def add(self, run: QuestionRun) -> None:
        """Writes what was done for a question, to the disk."""
        self.append(run.to_json())
        self.done[run.question_id] = run


def describe_run(index: MultimodalIndex, questions: QuestionSet, options: RunOptions) -> dict[str, Any]:
    """Returns what decides about what a run finds: with the same, what was found before holds."""
    store = index.store
    return {
        "questions": questions.compute_hash(),
        "fingerprint": store.head.fingerprint.to_dict(),
        "generation": store.catalog.generation,
        "units": store.catalog.count_units(),
        "reranker": None if index.reranker is None else index.reranker.model_id,
        "fetch_k": options.fetch_k,
        "depths": list(options.limits),
        "instruction": options.instruction,
        "match_words": options.match_words,
        "oversample": options.oversample,
    }


def run_questions(
    index: MultimodalIndex,
    questions: QuestionSet,
    options: RunOptions,
    *,
    working_file: WorkingFile | None = None,
    on_progress: OnProgress | None = None,
) -> list[QuestionRun]:
    """Returns what both stages find for each question, in their order.

    Args:
        index: Where; without a reranker there is one stage.
        questions: What is asked.
        options: How.
        working_file: Holds what was done before, and gets what is done now; `None` keeps nothing.
        on_progress: Called after each question.

    Raises:
        StoreError: The index is corrupt, or the working file cannot be written.
    """
    done = {} if working_file is None else working_file.done
    runs: list[QuestionRun] = []
    for place, question in enumerate(questions.questions):
        run = done.get(question.id)
        if run is None:
            run = _ask(index, question, options, place)
            if working_file is not None:
                working_file.add(run)
        runs.append(run)
        if on_progress is not None:
            on_progress(len(runs), len(questions))
    return runs


def _ask(index: MultimodalIndex, question: Question, options: RunOptions, place: int) -> QuestionRun:
    try:
        return _run_stages(index, question.id, question.item, options, place)
    except InputError as error:
        # One question that cannot be read costs its own answer, and is named.
        return QuestionRun(question_id=question.id, error=error.reason)


def _run_stages(index: MultimodalIndex, name: str, item: Item, options: RunOptions, place: int) -> QuestionRun:
    begun = perf_counter()
    vector = index.embedder.embed([item], input_type="query", instruction=options.instruction)[0]
    seconds = {"embedding": perf_counter() - begun}
    found: dict[int, list[Hit]] = {}
    for limit in options.limits:
        begun = perf_counter()
        found[limit] = find_hits(
            index.store, item, vector, options.search_options, limit=limit, policy=index.media_policy
        )
        if limit == options.fetch_k:
            seconds["finding"] = perf_counter() - begun
    hits = {hit.id: hit for limit in reversed(options.limits) for hit in found[limit]}
    relevances: dict[str, float] = {}
    depth_seconds: dict[int, float] = {}
    failures: list[str] = []
    if index.reranker is not None:
        timed = _choose_depth(options, place)
        if timed is not None and timed != options.limits[-1]:
            begun = perf_counter()
            judge_hits(index.reranker, item, found[timed], options.instruction)
            depth_seconds[timed] = perf_counter() - begun
        begun = perf_counter()
        judged, failed = judge_hits(index.reranker, item, list(hits.values()), options.instruction)
        if not depth_seconds:
            depth_seconds[options.limits[-1]] = perf_counter() - begun
        relevances = {hit.id: hit.relevance_score for hit in judged if hit.relevance_score is not None}
        failures = [f"{failure.path.name}: {failure.error.reason}" for failure in failed]
    return QuestionRun(
        question_id=name,
        candidates={limit: [hit.id for hit in found[limit]] for limit in options.limits},
        similarities={hit.id: hit.similarity_score for hit in hits.values()},
        relevances=relevances,
        seconds=seconds,
        depth_seconds=depth_seconds,
        vector=np.asarray(vector, dtype=np.float32),
        failures=failures,
    )


def _choose_depth(options: RunOptions, place: int) -> int | None:
    """The depth that is timed by itself for the question at `place`: each for a few questions, `fetch_k` first."""
    order = [options.fetch_k, *(limit for limit in options.limits if limit != options.fetch_k)]
    return order[place % len(order)] if place < _TIMED_ROUNDS * len(order) else None
