"""The packed language model gives what transformers gives, whatever is shared, packed or left out."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from qwen3_vl_retrieval.engine.kernels.varlen import attend_by_formula
from qwen3_vl_retrieval.engine.language.packed_model import PackedLanguageModel
from qwen3_vl_retrieval.engine.language.padded_model import PaddedLanguageModel
from qwen3_vl_retrieval.engine.scheduling.executor import choose_language_model
from qwen3_vl_retrieval.engine.states import PackedRow, VisionFeatures

TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def model(embedder):
    return embedder.model.language_model


@pytest.fixture(params=["side by side", "end to end"])
def packed(model, request, monkeypatch):
    """The model as CPUs and GPUs arrange rows; the kernel of the latter is the formula."""
    if request.param == "end to end":
        monkeypatch.setattr(
            "qwen3_vl_retrieval.engine.language.packed_model.find_varlen_kernel", lambda *_, **__: attend_by_formula
        )
    return PackedLanguageModel(model)


@pytest.fixture(scope="module")
def padded(model):
    return PaddedLanguageModel(model)


def make_row(model, length, *, seed, pictures=()):
    """Random tokens, with visual features from each place of `images` on, four tokens each."""
    random = np.random.default_rng(seed)
    hidden = model.config.hidden_size
    places = np.concatenate([np.arange(at, at + 4) for at in pictures]) if pictures else np.zeros(0, np.int64)
    torch.manual_seed(seed)
    features = tuple(VisionFeatures(torch.randn(4, hidden), (torch.randn(4, hidden),)) for _ in pictures)
    positions = np.stack([np.arange(length), np.arange(length) % 5 + 3, np.arange(length) % 7])
    return PackedRow(random.integers(0, 200, length), positions.astype(np.int64), places, features)


def cut_row(row, at, *, first, prefix=None):
    """The tokens of a row before or behind a place that no image crosses."""
    chosen = slice(0, at) if first else slice(at, None)
    inside = (row.visual_places < at) if first else (row.visual_places >= at)
    pictures = [bool(inside[4 * number]) for number in range(len(row.features))]
    return PackedRow(
        row.token_ids[chosen],
        row.positions[:, chosen],
        row.visual_places[inside] - (0 if first else at),
        tuple(own for own, kept in zip(row.features, pictures, strict=True) if kept),
        prefix,
    )


@pytest.mark.parametrize("lengths", [(7,), (5, 5, 5), (40, 12, 11, 3), (600, 520, 2)], ids=str)
def test_rows_of_any_lengths_get_the_states_of_padded_rows(model, packed, padded, lengths):
    rows = [make_row(model, length, seed=length + place) for place, length in enumerate(lengths)]
    torch.testing.assert_close(
        packed.compute_last(rows, []), padded.compute_last(rows, []), atol=TOLERANCE, rtol=TOLERANCE
    )


def test_images_and_their_deep_features_are_in_their_places(model, packed, padded):
    rows = [
        make_row(model, 30, seed=1, pictures=(3, 20)),
        make_row(model, 28, seed=2),
        make_row(model, 9, seed=3, pictures=(0,)),
    ]
    expected = padded.compute_last(rows, [])
    torch.testing.assert_close(packed.compute_last(rows, []), expected, atol=TOLERANCE, rtol=TOLERANCE)
    blind = [PackedRow(row.token_ids, row.positions, np.zeros(0, np.int64), ()) for row in rows]
    assert (packed.compute_last(blind, []) - expected).abs().max() > 0.01


def test_rows_that_continue_a_prefix_get_the_states_of_whole_rows(model, packed, padded):
    beginnings = [make_row(model, 21, seed=5, pictures=(4,)), make_row(model, 600, seed=6)]
    whole, own = [], []
    for number, (beginning, length) in enumerate([(0, 13), (0, 13), (0, 4), (1, 13), (1, 1), (None, 17)]):
        rest = make_row(model, length, seed=10 + number, pictures=(5,) if length == 13 else ())
        if beginning is None:
            whole.append(rest)
            own.append(rest)
            continue
        first = beginnings[beginning]
        at = len(first)
        whole.append(
            PackedRow(
                np.concatenate([first.token_ids, rest.token_ids]),
                np.concatenate([first.positions, rest.positions + at], axis=1),
                np.concatenate([first.visual_places, rest.visual_places + at]),
                (*first.features, *rest.features),
            )
        )
        own.append(cut_row(whole[-1], at, first=False, prefix=beginning))
    prefixes = [packed.compute_prefix(row) for row in beginnings]
    torch.testing.assert_close(
        packed.compute_last(own, prefixes), padded.compute_last(whole, []), atol=TOLERANCE, rtol=TOLERANCE
    )
    assert [len(states) for states in prefixes] == [21, 600]
    assert prefixes[0].byte_count == 2 * 21 * 4 * sum(states[0].numel() for states in prefixes[0].keys)


@pytest.fixture
def compute_natively(monkeypatch):
    monkeypatch.setattr("qwen3_vl_retrieval.engine.kernels.cpu_linear.find_arithmetic", lambda dtype, device: dtype)


@pytest.mark.usefixtures("compute_natively")
def test_half_precision_errs_no_more_than_that_of_transformers(model):
    exact = model
    half = copy.deepcopy(exact).to(torch.bfloat16)
    # One row's error is luck (it differs by machine, up to twice); the mean of many is not.
    rows = [make_row(half, length, seed=length + seed) for seed in range(0, 2000, 100) for length in (50, 20, 9)]
    wanted = PackedLanguageModel(exact).compute_last(rows, [])

    def measure_error(model):
        return ((model.compute_last(rows, []).float() - wanted).norm(dim=-1) / wanted.norm(dim=-1)).mean()

    ours, theirs = measure_error(PackedLanguageModel(half)), measure_error(PaddedLanguageModel(half))
    assert theirs > 0.001
    assert ours < 1.25 * theirs


def test_named_kernels_go_through_transformers(embedder):
    config = embedder.model.language_model.config
    assert isinstance(choose_language_model(embedder.model), PackedLanguageModel)
    before = config._attn_implementation
    try:
        config._attn_implementation = "eager"
        assert isinstance(choose_language_model(embedder.model), PaddedLanguageModel)
    finally:
        config._attn_implementation = before
