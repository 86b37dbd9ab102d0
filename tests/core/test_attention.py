"""Attention of rows that continue a prefix, against the formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_vl_retrieval.engine.attention import attend_by_kernel, attend_causally, attend_from_last
from qwen3_vl_retrieval.engine.packing import group_rows

SHAPES = [(1, 1, 0), (2, 5, 0), (3, 4, 7), (1, 1100, 3), (2, 513, 600)]


def draw_states(rows, length, before):
    torch.manual_seed(length + before)
    return (
        torch.randn(rows, length, 4, 8),
        torch.randn(rows, before + length, 2, 8),
        torch.randn(rows, before + length, 2, 8),
    )


def attend_by_formula(query, key, value, seen):
    key, value = (states.repeat_interleave(2, dim=2) for states in (key, value))
    weights = torch.einsum("rqhs,rkhs->rhqk", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("rhqk,rkhs->rqhs", weights.masked_fill(~seen, -torch.inf).softmax(-1), value)


@pytest.mark.parametrize(("rows", "length", "before"), SHAPES)
@pytest.mark.parametrize("attend", [attend_causally, attend_by_kernel])
def test_each_token_sees_the_prefix_and_what_stands_before_it(attend, rows, length, before):
    query, key, value = draw_states(rows, length, before)
    seen = torch.ones(length, before + length, dtype=torch.bool).tril(before)
    torch.testing.assert_close(
        attend(query, key, value), attend_by_formula(query, key, value, seen), atol=1e-5, rtol=1e-4
    )


def test_a_last_token_sees_its_row_and_no_padding():
    query, key, value = draw_states(3, 1, 9)
    counts = torch.tensor([10, 4, 1])
    seen = (torch.arange(10) < counts[:, None])[:, None, None]
    expected = attend_by_formula(query, key, value, seen)
    torch.testing.assert_close(attend_from_last(query, key, value, counts), expected)
    everything = torch.ones(1, 10, dtype=torch.bool)
    torch.testing.assert_close(
        attend_from_last(query, key, value, None), attend_by_formula(query, key, value, everything)
    )


rows_of_prefixes = st.lists(st.tuples(st.integers(1, 40), st.sampled_from([None, 0, 1])), min_size=1, max_size=30)


@settings(max_examples=60)
@given(rows_of_prefixes)
def test_groups_hold_every_token_once_in_order(rows):
    lengths, prefixes = [length for length, _ in rows], [prefix for _, prefix in rows]
    groups = group_rows(lengths, prefixes)
    assert [length for group in groups for length in group.lengths] == lengths
    assert [group.prefix for group in groups for _ in group.lengths] == prefixes
    start = 0
    for group in groups:
        assert group.start == start
        start += group.token_count
        padded = group.longest * len(group.lengths)
        assert padded - group.token_count <= 0.15 * padded
        packed = np.arange(group.token_count)
        spread = packed[group.place_tokens()]
        assert np.array_equal(spread.reshape(-1)[group.place_real()], packed)
        assert [row[length - 1] for row, length in zip(spread, group.lengths, strict=True)] == (
            np.cumsum(group.lengths) - 1
        ).tolist()
