"""Token-budget batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qwen3_vl_retrieval.engine.scheduling.batching import MAX_PADDING_SHARE, plan_batches, split_batch

lengths = st.lists(st.integers(1, 500), max_size=60)
budgets = st.integers(1, 2000)


@given(lengths, budgets)
def test_every_sequence_is_in_exactly_one_batch(lengths, budget):
    batches = plan_batches(lengths, max_batch_tokens=budget)
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))


@given(lengths, budgets)
def test_a_batch_keeps_to_the_budget_unless_it_is_a_single_sequence(lengths, budget):
    for batch in plan_batches(lengths, max_batch_tokens=budget):
        assert len(batch) == 1 or len(batch) * max(lengths[position] for position in batch) <= budget


@given(lengths, budgets)
def test_little_of_a_batch_is_padding(lengths, budget):
    for batch in plan_batches(lengths, max_batch_tokens=budget):
        padded = len(batch) * max(lengths[position] for position in batch)
        assert padded - sum(lengths[position] for position in batch) <= MAX_PADDING_SHARE * padded


@given(lengths, budgets)
def test_batches_come_longest_first(lengths, budget):
    batches = plan_batches(lengths, max_batch_tokens=budget)
    longest = [max(lengths[position] for position in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_equal_lengths_fill_the_budget():
    assert [len(batch) for batch in plan_batches([10] * 25, max_batch_tokens=100)] == [10, 10, 5]


def test_a_batch_splits_into_two_parts_that_are_not_empty():
    assert split_batch([5, 6, 7]) == ([5, 6], [7])
    assert split_batch([5, 6]) == ([5], [6])
