"""Indexes measured with the models of a command. Importing this module imports torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from qwen3_vl_retrieval.cli.limits import Limits
from qwen3_vl_retrieval.cli.models import load_embedder
from qwen3_vl_retrieval.cli.options import DEFAULT_EMBEDDER, LoadingOptions
from qwen3_vl_retrieval.cli.progress import show_progress
from qwen3_vl_retrieval.cli.store_session import load_index, remember_embedder
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.evaluation.confidence import Difference
from qwen3_vl_retrieval.evaluation.datasets import DatasetReport, index_dataset
from qwen3_vl_retrieval.evaluation.evaluate import evaluate_index
from qwen3_vl_retrieval.evaluation.evaluation import Evaluation, StageName, compare_evaluations, describe_difference
from qwen3_vl_retrieval.evaluation.question_runs import RunOptions, WorkingFile, describe_run
from qwen3_vl_retrieval.evaluation.questions import QuestionSet
from qwen3_vl_retrieval.evaluation.readers.files import read_questions
from qwen3_vl_retrieval.evaluation.report import render_report
from qwen3_vl_retrieval.evaluation.thresholds import fit_thresholds
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.index.store.store import Store
from qwen3_vl_retrieval.index.thresholds import FittedThresholds, save_thresholds
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["ComparedStores", "EvaluatedStore", "EvaluationRequest", "compare_stores", "evaluate_store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """What is measured, and how.

    Attributes:
        questions: Questions with their answers; `None` if there is a data set.
        qrels: Judgements of TREC.
        dataset: A data set to index first.
        split: Which judgements of a folder of BEIR.
        model: Name of the embedding model; `None` is the one of the index, or the published one.
        reranker: Name of the reranker; `None` is none.
        options: How questions are asked.
        allow_unknown: Whether unknown sources count as not found.
    """

    questions: Path | None
    qrels: Path | None
    dataset: Path | None
    split: str
    model: str | None
    reranker: str | None
    options: RunOptions
    allow_unknown: bool

    def read_questions(self) -> QuestionSet:
        """Returns the questions.

        Raises:
            InputError: They are not understood.
        """
        source = self.questions if self.questions is not None else self.dataset
        if source is None:
            raise InputError("there are no questions; give a file or a data set")
        return read_questions(source, qrels=self.qrels, split=self.split)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedStore:
    """A measured index.

    Attributes:
        folder: The index.
        evaluation: What was measured.
        thresholds: What its scores mean.
        dataset: What was indexed before; `None` if nothing was.
        working_file: What an interrupted run goes on from; `None` where nothing can be written.
    """

    folder: Path
    evaluation: Evaluation
    thresholds: Sequence[FittedThresholds]
    dataset: DatasetReport | None
    working_file: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        document = self.evaluation.to_dict()
        document["store"] = str(self.folder)
        document["thresholds"] = [one.to_dict() for one in self.thresholds]
        if self.dataset is not None:
            document["dataset"] = {
                "entries": len(self.dataset.entries),
                "embedded_units": self.dataset.embedded_units,
                "shared_entries": self.dataset.shared_entries,
                "failures": dict(self.dataset.failures),
            }
        return document

    def forget_progress(self) -> None:
        """Deletes the working file."""
        if self.working_file is not None:
            self.working_file.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedStores:
    """What the second of two indexes has over the first, by stage and measure."""

    differences: dict[StageName, dict[str, Difference]]
    main_measure: str

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        return {
            stage: {name: describe_difference(one, "A", "B") for name, one in measures.items()}
            for stage, measures in self.differences.items()
        }


def compare_stores(first: EvaluatedStore, second: EvaluatedStore) -> ComparedStores:
    """Returns what the second index has over the first."""
    return ComparedStores(
        differences=compare_evaluations(first.evaluation, second.evaluation),
        main_measure=first.evaluation.main_measure,
    )


def evaluate_store(
    folder: Path,
    request: EvaluationRequest,
    loading: LoadingOptions,
    limits: Limits,
    messages: Console,
    *,
    report: Path | None,
) -> EvaluatedStore:
    """Measures an index, after filling it from a data set if there is one; shows the progress.

    Raises:
        ModelError: A model cannot be loaded.
        StoreError: The index is in use, corrupt, or belongs to another model.
        InputError: The questions or the data set are not understood, or name what is not there.
        ValueError: An option is out of range.
    """
    policy = limits.build_policy()
    # What is wrong with questions is said before anything is computed.
    questions = request.read_questions()
    filled = (
        None if request.dataset is None else _fill(folder, request.dataset, request.model, loading, policy, messages)
    )
    if filled is not None:
        filled.require_entries(questions)
    with messages.status("loading the models"):
        index, _ = load_index(folder, request.model, request.reranker, loading, policy)
    with index:
        working_file = _choose_working_file(index, questions, request)
        done = 0
        if working_file is not None and working_file.is_file():
            with WorkingFile(working_file, describe_run(index, questions, request.options)) as file:
                done = len(file.done)
        if done:
            messages.print(f"{done:,} of {len(questions):,} questions were asked before; going on", highlight=False)
        with show_progress(messages, "asking") as on_progress:
            evaluation = evaluate_index(
                index,
                questions,
                request.options,
                # What is in the corpus and could not be embedded is not found, and is named.
                allow_unknown=request.allow_unknown or bool(filled is not None and filled.failures),
                working_file=working_file,
                on_progress=on_progress,
            )
        thresholds = fit_thresholds(evaluation)
        if thresholds and not index.store.is_read_only:
            save_thresholds(folder, thresholds)
        if report is not None:
            report.write_text(render_report(evaluation, index, thresholds=thresholds), encoding="utf-8")
    return EvaluatedStore(
        folder=folder,
        evaluation=evaluation,
        thresholds=thresholds,
        dataset=filled,
        working_file=working_file,
    )


def _fill(
    folder: Path, dataset: Path, model: str | None, loading: LoadingOptions, policy: MediaPolicy, messages: Console
) -> DatasetReport:
    name = DEFAULT_EMBEDDER if model is None else model
    with messages.status("loading the model"):
        embedder = load_embedder(name, loading, policy)
    with MultimodalIndex.open(folder, embedder, media_policy=policy) as index:
        remember_embedder(index.store, name, loading)
        with show_progress(messages, "indexing") as on_progress:
            return index_dataset(index, dataset, on_progress=on_progress)


def _choose_working_file(index: MultimodalIndex, questions: QuestionSet, request: EvaluationRequest) -> Path | None:
    """A file in the folder of the index for this run and no other; `None` where the index cannot be written."""
    store: Store = index.store
    if store.is_read_only or not os.access(store.layout.folder, os.W_OK):
        return None
    described = json.dumps(describe_run(index, questions, request.options), sort_keys=True)
    return store.layout.folder / f"evaluation-{hashlib.sha256(described.encode()).hexdigest()[:12]}.jsonl"
