"""What a number of questions can show: intervals by the bootstrap over questions, and differences in plain words.

Intervals are bias-corrected and accelerated (BCa, Efron 1987), with levels that are widened for small samples as
Hesterberg does ("What Teachers Should Know About the Bootstrap", 2015): with 40 questions they cover the true mean
about as often as they say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Float64

from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["Difference", "Interval", "compare_values", "estimate_mean"]

_NORMAL = NormalDist()

_LEVEL = 0.95

_POWER = 0.8
"""How surely a difference is to be found of which it is said how many questions it needs."""

_RESAMPLES = 2_000

_LEAST_DIFFERING = 6
"""Questions that must differ before a difference is claimed: were there none, five would all point one way in one of
sixteen comparisons."""

_RESAMPLED_VALUES = 4_000_000
"""Values that are drawn at a time: 32 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over questions, and where the mean over all questions of this kind is with 95 % confidence.

    Attributes:
        mean: The mean.
        low: Lower end.
        high: Upper end.
        questions: Number of questions.
    """

    mean: float
    low: float
    high: float
    questions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What B has over A on the same questions.

    Attributes:
        interval: Mean of the differences, with its interval.
        is_shown: Whether the questions show that there is one.
        needed: About how many questions would be needed for one of this size; `None` if there is none to be seen.
    """

    interval: Interval
    is_shown: bool
    needed: int | None

    def describe(self, *, first: str = "A", second: str = "B") -> str:
        """Returns it in a sentence; points are hundredths.

        Args:
            first: What A is called.
            second: What B is called.
        """
        found = self.interval
        if self.is_shown:
            better, sign = (second, 1) if found.mean > 0 else (first, -1)
            low, high = sorted((sign * found.low, sign * found.high))
            return (
                f"{better} is better by {_points(sign * found.mean)} points (95 %: {_points(low)} to {_points(high)})"
            )
        said = (
            f"no difference can be shown with {found.questions} {'question' if found.questions == 1 else 'questions'}"
        )
        if self.needed is None:
            return f"{said}; their means are equal"
        if self.needed <= found.questions:
            return f"{said}; too few of them differ"
        return f"{said}; about {self.needed:,} would be needed"


def estimate_mean(values: Float[np.ndarray, " questions"], *, seed: int = 0) -> Interval:
    """Returns the mean of a measure with its interval; the same for the same values.

    Args:
        values: One for each question.
        seed: Seed of the resampling.

    Raises:
        ValueError: There are no values.
    """
    sample = np.asarray(values, dtype=np.float64)
    count = len(sample)
    if count == 0:
        raise ValueError("there are no values to estimate a mean from; give at least one")
    mean = float(sample.mean())
    if count == 1 or np.ptp(sample) == 0.0:
        return Interval(mean=mean, low=mean, high=mean, questions=count)
    found = import_extra("scipy.stats", purpose="intervals", extra="evaluation").bootstrap(
        (sample,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=max(1, _RESAMPLED_VALUES // count),
        confidence_level=_widen_level(count),
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    ends = found.confidence_interval
    return Interval(mean=mean, low=float(ends.low), high=float(ends.high), questions=count)


def compare_values(
    first: Float[np.ndarray, " questions"], second: Float[np.ndarray, " as_many"], *, seed: int = 0
) -> Difference:
    """Returns what the second has over the first, question by question.

    Args:
        first: A measure of A, one value for each question.
        second: The same of B, in the same order.
        seed: Seed of the resampling.

    Raises:
        ValueError: They are not of the same questions, or there are none.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values are compared with {len(second)}; give those of the same questions")
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    # What arithmetic leaves of equal values is no difference.
    differences[np.abs(differences) < 1e-12] = 0.0
    interval = estimate_mean(differences, seed=seed)
    is_shown = int(np.count_nonzero(differences)) >= _LEAST_DIFFERING and (interval.low > 0 or interval.high < 0)
    return Difference(interval=interval, is_shown=is_shown, needed=_count_needed(differences))


def _widen_level(count: int) -> float:
    """The level at which the bootstrap covers the mean as often as 95 % says."""
    # Resamples of n values spread too little by √((n-1)/n), and the normal distribution has too thin ends.
    quantile = float(
        import_extra("scipy.stats", purpose="intervals", extra="evaluation").t.ppf(1 - (1 - _LEVEL) / 2, count - 1)
    )
    return 2 * _NORMAL.cdf(math.sqrt(count / (count - 1)) * quantile) - 1


def _count_needed(differences: Float64[np.ndarray, " n"]) -> int | None:
    """Questions with which a difference of this size is found in four of five cases."""
    mean = float(differences.mean())
    if len(differences) < 2 or mean == 0.0:
        return None
    spread = float(differences.std(ddof=1))
    wanted = _NORMAL.inv_cdf(1 - (1 - _LEVEL) / 2) + _NORMAL.inv_cdf(_POWER)
    needed = (wanted * spread / mean) ** 2
    return _round_up(max(needed, 1.0))


def _round_up(number: float) -> int:
    """The number in two digits: it is an estimate from a sample."""
    unit = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return math.ceil(number / unit) * unit


def _points(share: float) -> str:
    return f"{100 * share:.1f}"
