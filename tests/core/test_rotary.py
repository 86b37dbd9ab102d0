"""Turning by complex numbers and by halves gives the same, but for the order of the values."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from qwen3_vl_retrieval.engine.kernels.rotary import RotaryAngles

TOKENS, HEADS, SIZE = 5, 3, 8


@pytest.fixture
def turns():
    angles = torch.rand(TOKENS, 1, SIZE // 2, generator=torch.Generator().manual_seed(0)) * 6
    return RotaryAngles.build(angles.cos(), angles.sin())


@pytest.fixture
def states():
    return torch.randn(TOKENS, HEADS, SIZE, generator=torch.Generator().manual_seed(1))


def turn_by_formula(states, turns):
    """As `apply_rotary_pos_emb` of transformers: cosines of the states, sines of the states half turned."""
    first, second = states.chunk(2, dim=-1)
    half_turned = torch.cat([-second, first], dim=-1)
    return states * turns.cos.repeat(1, 1, 2) + half_turned * turns.sin.repeat(1, 1, 2)


def test_halves_are_turned_as_by_the_formula(turns, states):
    by_halves = dataclasses.replace(turns, both=None)
    torch.testing.assert_close(by_halves.turn(states), turn_by_formula(states, turns))


def test_complex_numbers_bring_the_two_values_of_a_pair_together(turns, states):
    assert turns.both is not None
    pairs = turns.turn(states).unflatten(-1, (-1, 2))
    torch.testing.assert_close(torch.cat(pairs.unbind(-1), dim=-1), turn_by_formula(states, turns))


def test_what_is_returned_is_contiguous_and_the_states_stay_as_they_are(turns, states):
    before = states.clone()
    laid_out_otherwise = states.transpose(0, 1).contiguous().transpose(0, 1)
    for own in (turns, dataclasses.replace(turns, both=None)):
        turned = own.turn(laid_out_otherwise)
        assert turned.is_contiguous()
        torch.testing.assert_close(turned, own.turn(states))
    assert torch.equal(states, before)


def test_turns_of_some_tokens_are_theirs(turns, states):
    chosen = torch.tensor([4, 0, 0])
    assert torch.equal(turns.select(chosen).turn(states[chosen]), turns.turn(states)[chosen])
    by_halves = dataclasses.replace(turns, both=None)
    assert torch.equal(by_halves.select(chosen).turn(states[chosen]), by_halves.turn(states)[chosen])


def test_half_precision_is_turned_by_halves(turns, states):
    half = RotaryAngles.build(turns.cos.bfloat16(), turns.sin.bfloat16())
    assert half.both is None
    assert half.turn(states.bfloat16()).dtype == torch.bfloat16
