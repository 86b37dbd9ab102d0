"""Cut-offs and a calibration from the scores of candidates whose worth is known, split by question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from qwen3_vl_retrieval.evaluation.evaluation import Evaluation, StageName
from qwen3_vl_retrieval.index.thresholds import Calibration, CutOff, FittedThresholds, place_score
from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["FALSE_POSITIVE_RATES", "fit_thresholds"]

FALSE_POSITIVE_RATES = (0.1, 0.01, 0.001)

_FOLDS = 5

_BINS = 10

_LEAST_QUESTIONS = 2
"""Questions that are needed to choose on some and measure on others."""


def fit_thresholds(evaluation: Evaluation) -> list[FittedThresholds]:
    """Returns what the scores of each stage mean; a stage without right or wrong candidates has none.

    Cut-offs are chosen on all questions. What is said of them (false-positive rate, recall, errors of the calibration)
    was measured on questions that were left out while choosing, a fifth at a time: candidates of one question are never
    on both sides. Candidates of which nobody has said anything count as wrong.
    """
    fitted: list[FittedThresholds] = []
    for stage in evaluation.stages:
        scored = _collect(evaluation, stage)
        if scored.is_usable:
            fitted.append(_fit(evaluation, stage, scored))
    return fitted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scored:
    """Candidates of all questions.

    Attributes:
        scores: Their scores.
        is_right: Whether they answer.
        questions: Place of the question of each.
    """

    scores: Float64[np.ndarray, " n"]
    is_right: Bool[np.ndarray, " n"]
    questions: Int64[np.ndarray, " n"]

    @property
    def is_usable(self) -> bool:
        """Whether there is anything to choose by."""
        several = len(np.unique(self.questions)) >= _LEAST_QUESTIONS
        return several and bool(self.is_right.any()) and not bool(self.is_right.all())

    def select(self, chosen: Bool[np.ndarray, " n"]) -> _Scored:
        """Some of them."""
        return _Scored(scores=self.scores[chosen], is_right=self.is_right[chosen], questions=self.questions[chosen])

    def split(self) -> list[tuple[_Scored, _Scored]]:
        """What to choose on, and what to measure on, once for each fold of questions."""
        folds = self.questions % _FOLDS
        parts = [(self.select(folds != fold), self.select(folds == fold)) for fold in range(_FOLDS)]
        return [(chosen, measured) for chosen, measured in parts if len(measured.scores) and chosen.is_usable]


def _collect(evaluation: Evaluation, stage: StageName) -> _Scored:
    scores: list[float] = []
    is_right: list[bool] = []
    places: list[int] = []
    for place, (question, run) in enumerate(zip(evaluation.questions, evaluation.runs, strict=True)):
        known = run.similarities if stage == "first" else run.relevances
        for unit_id in run.candidates.get(evaluation.options.fetch_k, ()):
            if unit_id in known:
                scores.append(known[unit_id])
                is_right.append(question.grade_unit(unit_id) > 0)
                places.append(place)
    return _Scored(
        scores=np.array(scores, dtype=np.float64),
        is_right=np.array(is_right, dtype=np.bool_),
        questions=np.array(places, dtype=np.int64),
    )


def _fit(evaluation: Evaluation, stage: StageName, scored: _Scored) -> FittedThresholds:
    cut_offs: dict[str, CutOff] = {}
    for rate in FALSE_POSITIVE_RATES:
        score = _choose_cut_off(scored, rate)
        if score is not None:
            passed = _measure_cut_off(scored, rate)
            cut_offs[f"{rate:g}"] = CutOff(score=score, false_positive_rate=passed[0], recall=passed[1])
    return FittedThresholds(
        stage=stage,
        fingerprint=evaluation.fingerprint,
        reranker=evaluation.reranker if stage == "reranked" else None,
        instruction=evaluation.options.instruction,
        questions=len(np.unique(scored.questions)),
        positives=int(scored.is_right.sum()),
        negatives=int((~scored.is_right).sum()),
        auc=_compute_auc(scored),
        cut_offs=cut_offs,
        calibration=_calibrate(scored, stage),
    )


def _choose_cut_off(scored: _Scored, rate: float) -> float | None:
    """The lowest score that no more than this share of the wrong candidates has; `None` if there are too few."""
    wrong = np.sort(scored.scores[~scored.is_right])[::-1]
    passing = math.floor(rate * len(wrong) + 1e-9)
    if passing < 1:
        return None
    # The next wrong one must not pass, nor others with its score.
    return float(np.nextafter(wrong[passing], np.inf)) if passing < len(wrong) else float(wrong[-1])


def _measure_cut_off(scored: _Scored, rate: float) -> tuple[float, float]:
    """Shares of the wrong and of the right candidates that pass, each by the cut-off of other questions."""
    passed, is_right = [np.zeros(0, dtype=np.bool_)], [np.zeros(0, dtype=np.bool_)]
    for chosen, measured in scored.split():
        # With a fifth less there may be too few for the rate: then the highest wrong score is what must not pass.
        cut = _choose_cut_off(chosen, rate)
        lowest = float(np.nextafter(chosen.scores[~chosen.is_right].max(), np.inf)) if cut is None else cut
        passed.append(measured.scores >= lowest)
        is_right.append(measured.is_right)
    all_passed, all_right = np.concatenate(passed), np.concatenate(is_right)
    return _share(all_passed[~all_right]), _share(all_passed[all_right])


def _share(passed: Bool[np.ndarray, " n"]) -> float:
    return float(passed.mean()) if len(passed) else 0.0


def _calibrate(scored: _Scored, stage: StageName) -> Calibration | None:
    placed = _Scored(
        scores=np.array([place_score(score, stage) for score in scored.scores.tolist()], dtype=np.float64),
        is_right=scored.is_right,
        questions=scored.questions,
    )
    slope, intercept = _fit_logistic(placed)
    if slope <= 0:
        return None
    shares: list[Float64[np.ndarray, " m"]] = []
    is_right: list[Bool[np.ndarray, " m"]] = []
    for chosen, measured in placed.split():
        curve = _fit_logistic(chosen)
        shares.append(1 / (1 + np.exp(-(curve[0] * measured.scores + curve[1]))))
        is_right.append(measured.is_right)
    if not shares:
        return None
    predicted, known = np.concatenate(shares), np.concatenate(is_right).astype(np.float64)
    return Calibration(
        slope=slope,
        intercept=intercept,
        brier=float(((predicted - known) ** 2).mean()),
        error=_compute_calibration_error(predicted, known),
    )


def _fit_logistic(scored: _Scored) -> tuple[float, float]:
    """Slope and intercept of the greatest likelihood; the targets of Platt (1999) keep separable scores finite."""
    right = int(scored.is_right.sum())
    wrong = len(scored.scores) - right
    targets = np.where(scored.is_right, (right + 1) / (right + 2), 1 / (wrong + 2))
    center, scale = float(scored.scores.mean()), float(scored.scores.std()) or 1.0
    x = (scored.scores - center) / scale

    def compute_loss(curve: Float64[np.ndarray, " 2"]) -> float:
        odds = curve[0] * x + curve[1]
        return float((np.logaddexp(0.0, odds) - targets * odds).sum())

    optimize = import_extra("scipy.optimize", purpose="calibrations", extra="evaluation")
    slope, intercept = optimize.minimize(compute_loss, np.array([0.0, math.log((right + 1) / (wrong + 1))])).x.tolist()
    return slope / scale, intercept - slope * center / scale


def _compute_calibration_error(predicted: Float64[np.ndarray, " n"], known: Float64[np.ndarray, " n"]) -> float:
    """Mean distance of probability and share, over parts of equal size in the order of probabilities."""
    order = np.argsort(predicted, kind="stable")
    parts: Sequence[Int64[np.ndarray, " m"]] = np.array_split(order, min(_BINS, len(order)))
    distances = [abs(float(predicted[part].mean() - known[part].mean())) * len(part) for part in parts]
    return sum(distances) / len(order)


def _compute_auc(scored: _Scored) -> float:
    """Share of the pairs of a right and a wrong candidate in which the right one is higher; ties are half."""
    right, wrong = scored.scores[scored.is_right], scored.scores[~scored.is_right]
    statistic = (
        import_extra("scipy.stats", purpose="thresholds", extra="evaluation").mannwhitneyu(right, wrong).statistic
    )
    return float(statistic) / (len(right) * len(wrong))
