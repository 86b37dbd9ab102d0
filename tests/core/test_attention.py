"""Attention of rows side by side, which may continue prefixes, against the formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_vl_retrieval.engine.kernels.varlen import attend_by_formula, build_spans
from qwen3_vl_retrieval.engine.language.packed_attention import HeadLayout, SideBySide, group_rows

HEADS, GROUPS, SIZE = 4, 2, 8
CPU = torch.device("cpu")

BATCHES = [
    # Tokens of each row, the prefix of each, tokens of the prefixes.
    ([1], [None], []),
    ([5, 5], [None, None], []),
    ([9, 8, 8, 3, 1], [None] * 5, []),
    ([4, 4, 4], [0, 0, 0], [7]),
    ([6, 5, 5, 1, 9, 2], [1, 1, 0, 0, None, None], [3, 11]),
    ([1100], [0], [3]),
    ([513, 513], [0, 0], [600]),
]


@pytest.fixture(params=[True, False], ids=["heads folded into queries", "keys repeated"])
def layout(request):
    """As on CPUs, and as on GPUs, whose kernel PyTorch also has for CPUs."""
    return HeadLayout(HEADS, GROUPS, folds=request.param)


def draw_batch(lengths, prefix_lengths):
    random = torch.Generator().manual_seed(len(lengths) + sum(lengths))

    def draw(tokens, heads):
        return torch.randn(tokens, heads, SIZE, generator=random)

    states = draw(sum(lengths), HEADS), draw(sum(lengths), GROUPS), draw(sum(lengths), GROUPS)
    return states, [(draw(length, GROUPS), draw(length, GROUPS)) for length in prefix_lengths]


def arrange(lengths, prefixes, prefix_lengths, layout):
    return SideBySide(lengths, prefixes, prefix_lengths, layout=layout, move=torch.from_numpy)


def attend_row_by_row(states, shared, lengths, prefixes):
    """Rows one after the other, each behind its prefix, by the formula."""
    mixed = []
    for query, key, value, prefix in zip(*(own.split(lengths) for own in states), prefixes, strict=True):
        if prefix is not None:
            key, value = (torch.cat(pair) for pair in zip(shared[prefix], (key, value), strict=True))
        spans = build_spans([len(query)], [len(key)], is_causal=True, device=CPU)
        mixed.append(attend_by_formula(query, key, value, spans))
    return mixed


@pytest.mark.parametrize(("lengths", "prefixes", "prefix_lengths"), BATCHES)
def test_each_token_sees_its_prefix_and_what_stands_before_it(lengths, prefixes, prefix_lengths, layout):
    states, shared = draw_batch(lengths, prefix_lengths)
    wanted = torch.cat(attend_row_by_row(states, shared, lengths, prefixes))
    own = arrange(lengths, prefixes, prefix_lengths, layout).attend(*states, shared)
    torch.testing.assert_close(own, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("lengths", "prefixes", "prefix_lengths"), BATCHES)
def test_a_last_token_sees_its_row_and_no_padding(lengths, prefixes, prefix_lengths, layout):
    states, shared = draw_batch(lengths, prefix_lengths)
    query, key, value = states
    last = torch.tensor(lengths).cumsum(0) - 1
    wanted = torch.stack([row[-1] for row in attend_row_by_row(states, shared, lengths, prefixes)])
    own = arrange(lengths, prefixes, prefix_lengths, layout).attend_last(query[last], key, value, shared)
    torch.testing.assert_close(own, wanted, atol=1e-5, rtol=1e-4)


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
        packed = group.start + np.arange(group.token_count)
        places = group.place_tokens()
        assert [row[length - 1] for row, length in zip(places, group.lengths, strict=True)] == (
            group.start + np.cumsum(group.lengths) - 1
        ).tolist()
        for folds in (True, False):
            layout = HeadLayout(HEADS, GROUPS, folds=folds)
            spread = layout.place_queries(group).reshape(-1)
            heads = packed[:, None] * HEADS + np.arange(HEADS)
            assert np.array_equal(spread[layout.place_mixed(group)], heads)
