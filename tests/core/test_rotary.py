"""Rotary positions are those of transformers."""

from __future__ import annotations

import pytest
import torch

from qwen3_vl_retrieval.engine.states import RotaryAngles

TOKENS, HEADS, SIZE = 5, 3, 8


@pytest.fixture
def angles():
    drawn = torch.rand(TOKENS, 1, SIZE // 2, generator=torch.Generator().manual_seed(0)) * 6
    return RotaryAngles(drawn.cos(), drawn.sin())


@pytest.fixture
def states():
    return torch.randn(TOKENS, HEADS, SIZE, generator=torch.Generator().manual_seed(1))


def rotate_by_formula(states, angles):
    """As `apply_rotary_pos_emb` of transformers: cosines of the states, sines of the states half rotated."""
    first, second = states.chunk(2, dim=-1)
    half_rotated = torch.cat([-second, first], dim=-1)
    return states * angles.cos.repeat(1, 1, 2) + half_rotated * angles.sin.repeat(1, 1, 2)


def test_states_are_rotated_as_by_the_formula(angles, states):
    torch.testing.assert_close(angles.rotate(states), rotate_by_formula(states, angles))


def test_what_is_returned_is_contiguous_and_the_states_stay_as_they_are(angles, states):
    before = states.clone()
    laid_out_otherwise = states.transpose(0, 1).contiguous().transpose(0, 1)
    rotated = angles.rotate(laid_out_otherwise)
    assert rotated.is_contiguous()
    torch.testing.assert_close(rotated, angles.rotate(states))
    assert torch.equal(states, before)


def test_the_angles_of_some_tokens_are_theirs(angles, states):
    chosen = torch.tensor([4, 0, 0])
    assert torch.equal(angles.select(chosen).rotate(states[chosen]), angles.rotate(states)[chosen])


def test_half_precision_stays_half_precision(angles, states):
    half = RotaryAngles(angles.cos.bfloat16(), angles.sin.bfloat16())
    assert half.rotate(states.bfloat16()).dtype == torch.bfloat16
