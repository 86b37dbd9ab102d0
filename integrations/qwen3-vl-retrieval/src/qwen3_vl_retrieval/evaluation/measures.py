"""Measures of rankings, as `ir-measures` computes them (trec_eval's, by pytrec_eval)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
from jaxtyping import Float64

from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["compute_measures", "list_measures", "write_qrels", "write_run"]

_NAMES = {"ndcg": "nDCG", "recall": "R", "precision": "P"}


def list_measures(*, k: int, fetch_k: int) -> list[str]:
    """Returns the names of the measures of a stage: those at `k` and below, and the recall at `fetch_k`."""
    cuts = sorted({cut for cut in (1, 5, k) if cut <= k})
    names = [f"{measure}@{cut}" for measure in _NAMES for cut in cuts]
    # What the first stage does not find, the second cannot judge.
    return [*names, *([] if fetch_k in cuts else [f"recall@{fetch_k}"]), "mrr"]


def compute_measures(
    runs: Mapping[str, Sequence[str]], grades: Mapping[str, Mapping[str, int]], names: Sequence[str]
) -> dict[str, Float64[np.ndarray, " questions"]]:
    """Returns the values of each measure, in the order of `runs`.

    Args:
        runs: The documents that were found for each question, best first.
        grades: What is known of documents, for each question.
        names: `ndcg@10`, `recall@50`, `precision@5`, `mrr`.

    Raises:
        StoreError: ir-measures is not installed.
    """
    ir_measures = import_extra("ir_measures", purpose="measures", extra="evaluation")
    parsed = {ir_measures.parse_measure(_translate(name)): name for name in names}
    scored = {question: _score_ranks(documents) for question, documents in runs.items()}
    places = {question: place for place, question in enumerate(runs)}
    values = {name: np.zeros(len(places), dtype=np.float64) for name in names}
    wanted = {question: dict(grades[question]) for question in runs}
    for metric in ir_measures.iter_calc(list(parsed), wanted, scored):
        values[parsed[metric.measure]][places[metric.query_id]] = metric.value
    return values


def write_run(path: Path, runs: Mapping[str, Sequence[str]], *, tag: str) -> None:
    """Writes rankings as TREC has them, `question Q0 document rank score tag`.

    White space in names is written as `%20`. The score is one over the rank: the order of the second stage is that of
    log-odds, and probabilities near 1 are equal.

    Raises:
        OSError: `path` cannot be written to.
    """
    with path.open("w", encoding="utf-8") as file:
        for question, documents in runs.items():
            for rank, document in enumerate(documents, start=1):
                file.write(f"{question} Q0 {_encode(document)} {rank} {1 / rank!r} {tag}\n")


def write_qrels(path: Path, grades: Mapping[str, Mapping[str, int]]) -> None:
    """Writes judgements as TREC has them, `question 0 document grade`, with the names of `write_run`.

    Raises:
        OSError: `path` cannot be written to.
    """
    with path.open("w", encoding="utf-8") as file:
        for question, judged in grades.items():
            for document, grade in judged.items():
                file.write(f"{question} 0 {_encode(document)} {grade}\n")


def _score_ranks(documents: Sequence[str]) -> dict[str, float]:
    return {document: 1 / rank for rank, document in enumerate(documents, start=1)}


def _translate(name: str) -> str:
    measure, at, cut = name.partition("@")
    return f"{_NAMES[measure]}@{cut}" if at else "RR"


def _encode(name: str) -> str:
    """The name without white space, and with percent signs of its own marked as such."""
    return re.sub(r"[\s%]", lambda found: quote(found[0]), name)
