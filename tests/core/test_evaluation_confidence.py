"""What a number of questions can show: simulated, where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from qwen3_vl_retrieval.evaluation.confidence import compare_values, estimate_mean

DRAWS = 200


def draw_reciprocal_ranks(generator, count):
    """As of a stage that finds the answer first in half of the cases: skewed, with a heap at 1 and one at 0."""
    ranks = generator.geometric(0.5, size=count)
    return np.where(ranks > 10, 0.0, 1 / ranks)


MEAN_RECIPROCAL_RANK = sum(0.5**rank / rank for rank in range(1, 11))


@pytest.mark.parametrize("questions", [40, 120])
@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (draw_reciprocal_ranks, MEAN_RECIPROCAL_RANK),
        (lambda generator, count: (generator.random(count) < 0.7).astype(float), 0.7),
        (lambda generator, count: generator.beta(2, 5, size=count), 2 / 7),
    ],
    ids=["reciprocal ranks", "found or not", "between"],
)
def test_the_interval_covers_the_true_mean_as_often_as_it_says(questions, draw, mean):
    generator = np.random.default_rng(21)
    intervals = [estimate_mean(draw(generator, questions), seed=number) for number in range(DRAWS)]
    covered = sum(one.low <= mean <= one.high for one in intervals) / DRAWS
    assert 0.92 <= covered <= 0.98


def draw_pair(generator, count, gain):
    """Two settings that agree on most questions; where they do not, the second is better or worse."""
    base = draw_reciprocal_ranks(generator, count)
    moved = generator.random(count) < 0.5
    change = generator.normal(2 * gain, 0.15, size=count)
    return base, base + moved * change


def test_a_planted_difference_is_found_and_its_interval_covers_it():
    generator = np.random.default_rng(5)
    found = [compare_values(*draw_pair(generator, 100, 0.06), seed=number) for number in range(DRAWS)]
    assert sum(one.is_shown for one in found) / DRAWS >= 0.95
    assert 0.92 <= sum(one.interval.low <= 0.06 <= one.interval.high for one in found) / DRAWS <= 0.98


def test_a_planted_tie_is_found_to_differ_no_more_often_than_stated():
    generator = np.random.default_rng(6)
    found = [compare_values(*draw_pair(generator, 60, 0.0), seed=number) for number in range(DRAWS)]
    assert sum(one.is_shown for one in found) / DRAWS <= 0.08


def test_the_number_of_questions_that_is_named_is_enough_in_four_of_five_cases():
    generator = np.random.default_rng(7)
    needed = compare_values(*draw_pair(generator, 20_000, 0.02)).needed
    found = [compare_values(*draw_pair(generator, needed, 0.02), seed=number).is_shown for number in range(DRAWS)]
    assert 0.7 <= sum(found) / DRAWS <= 0.9


def test_differences_are_said_in_plain_words():
    generator = np.random.default_rng(8)
    first, second = draw_pair(generator, 400, 0.05)
    found = compare_values(first, second)
    mean, low, high = (f"{100 * value:.1f}" for value in (found.interval.mean, found.interval.low, found.interval.high))
    assert found.describe() == f"B is better by {mean} points (95 %: {low} to {high})"
    turned = compare_values(second, first).describe(first="full", second="short")
    assert turned.startswith(f"full is better by {mean} points (95 %: ")
    gained = compare_values(np.zeros(40), np.tile([0.02, 0.1, -0.05, 0.0], 10))
    assert gained.describe() == "no difference can be shown with 40 questions; about 77 would be needed"
    assert compare_values(first, first).describe() == (
        "no difference can be shown with 400 questions; their means are equal"
    )


def test_an_interval_in_a_sentence_has_the_smaller_end_first():
    generator = np.random.default_rng(9)
    for gain in (0.1, -0.1):
        found = compare_values(*draw_pair(generator, 200, gain))
        low, high = found.describe().split("95 %: ")[1].rstrip(")").split(" to ")
        assert 0 < float(low) < float(high)


def test_few_questions_show_nothing_however_they_agree():
    assert not compare_values(np.zeros(5), np.ones(5)).is_shown
    assert compare_values(np.zeros(6), np.ones(6)).is_shown
    assert "too few" in compare_values(np.zeros(5), np.array([1, 1, 1, 0.9, 1.0])).describe()


def test_the_same_values_have_the_same_interval():
    values = draw_reciprocal_ranks(np.random.default_rng(1), 50)
    assert estimate_mean(values) == estimate_mean(values)
    assert estimate_mean(np.ones(4)).low == 1.0


def test_values_of_other_questions_are_refused():
    with pytest.raises(ValueError, match="3 values are compared with 4"):
        compare_values(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="no values"):
        estimate_mean(np.zeros(0))
