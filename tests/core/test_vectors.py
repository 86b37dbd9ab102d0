"""Matryoshka dimensions, number formats, scores: the arithmetic after the model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from qwen3_vl_retrieval.outputs.scoring import compute_margins, compute_probabilities, rank_scores
from qwen3_vl_retrieval.outputs.vectors import (
    check_dimensions,
    decode_embeddings,
    int8_step,
    quantize_embeddings,
    truncate_dimensions,
)

finite_margins = arrays.arrays(np.float32, st.integers(0, 20), elements=st.floats(-200, 200, width=32))


@pytest.fixture
def unit_vectors() -> np.ndarray:
    vectors = np.random.default_rng(0).standard_normal((200, 256)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("dimensions", [32, 100, 256])
def test_truncated_vectors_have_unit_length(unit_vectors, dimensions):
    shortened = truncate_dimensions(unit_vectors, dimensions, normalize=True)
    np.testing.assert_allclose(np.linalg.norm(shortened, axis=1), 1, atol=1e-6)
    raw = truncate_dimensions(unit_vectors, dimensions, normalize=False)
    assert np.array_equal(raw, unit_vectors[:, :dimensions])


@pytest.mark.parametrize("dimensions", [0, 31, 257, -1])
def test_dimensions_out_of_range_are_refused(dimensions):
    with pytest.raises(ValueError, match=f"dimensions={dimensions} must be between 32 and 256"):
        check_dimensions(dimensions, hidden_size=256)


def test_int8_codes_do_not_depend_on_the_other_vectors_of_a_call(unit_vectors):
    together = quantize_embeddings(unit_vectors, "int8")
    alone = np.concatenate([quantize_embeddings(row[None], "int8") for row in unit_vectors])
    assert np.array_equal(together, alone)


def test_int8_keeps_the_cosine(unit_vectors):
    codes = quantize_embeddings(unit_vectors, "int8").astype(np.float32)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    # A dot product of unit vectors carries the rounding of both: a standard deviation of step * sqrt(2 / 12).
    deviation = int8_step(256) * np.sqrt(2 / 12)
    assert np.abs(codes @ codes.T - unit_vectors @ unit_vectors.T).max() < 5 * deviation


def test_int8_codes_times_the_step_are_the_values(unit_vectors):
    step = int8_step(256)
    values = quantize_embeddings(unit_vectors, "int8") * step
    assert np.abs(values - unit_vectors).max() <= step / 2 + 1e-7


def test_int8_saturates_instead_of_wrapping():
    vector = np.zeros((1, 1024), np.float32)
    vector[0, 0], vector[0, 1] = 0.8, -0.6
    assert quantize_embeddings(vector, "int8")[0, :3].tolist() == [127, -127, 0]


def test_uint8_is_int8_shifted(unit_vectors):
    shifted = quantize_embeddings(unit_vectors, "uint8").astype(np.int16) - 128
    assert np.array_equal(shifted, quantize_embeddings(unit_vectors, "int8"))


def test_binary_packs_signs_eight_to_a_byte(unit_vectors):
    packed = quantize_embeddings(unit_vectors, "ubinary")
    assert packed.shape == (200, 32)
    assert np.array_equal(np.unpackbits(packed, axis=1), unit_vectors > 0)
    assert np.array_equal(quantize_embeddings(unit_vectors, "binary").astype(np.int16) + 128, packed)


@pytest.mark.parametrize(
    ("precision", "error"),
    [("float32", 0), ("float16", 2e-4), ("int8", 0.5), ("uint8", 0.5), ("binary", None), ("ubinary", None)],
)
def test_decoded_codes_stand_for_the_vectors(unit_vectors, precision, error):
    decoded = decode_embeddings(quantize_embeddings(unit_vectors, precision), precision, dimensions=256)
    assert decoded.dtype == np.float32
    if error is None:
        assert np.array_equal(decoded > 0, unit_vectors > 0)
        np.testing.assert_allclose(np.linalg.norm(decoded, axis=1), 1, atol=1e-6)
    else:
        step = int8_step(256) if precision in ("int8", "uint8") else 1
        assert np.abs(decoded - unit_vectors).max() <= error * step + 1e-7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "allowed are float32"),
        ({"precision": "int8", "normalize": False}, "needs normalize=True"),
        ({"precision": "binary", "dimensions": 36}, "36 is not a multiple of 8"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
        ({"dimensions": 65}, "dimensions=65"),
    ],
)
def test_impossible_options_fail_before_anything_is_computed(embedder, options, message):
    with pytest.raises(ValueError, match=message):
        embedder.embed(["text"], **options)


def test_a_misspelt_option_fails(embedder):
    with pytest.raises(TypeError, match="normalise"):
        embedder.embed(["text"], normalise=True)


@given(finite_margins)
def test_probabilities_are_the_logistic_function(margins):
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-margins.astype(np.float64)))
    np.testing.assert_allclose(compute_probabilities(margins), expected, atol=1e-7)


@given(finite_margins)
def test_exchanging_yes_and_no_turns_the_probability_round(margins):
    np.testing.assert_allclose(compute_probabilities(margins) + compute_probabilities(-margins), 1, atol=1e-6)


def test_margins_are_computed_in_float32_whatever_the_model_computes_in():
    states = np.array([[1.0, 2.0]], dtype=np.float16)
    weight = np.array([0.001, 1.0001], dtype=np.float32)
    assert compute_margins(states, weight).tolist() == pytest.approx([2.0012], abs=1e-6)


@given(finite_margins, st.none() | st.integers(0, 10), st.none() | st.floats(0, 1))
def test_ranking_is_stable_and_honours_its_limits(margins, top_n, threshold):
    ranked = rank_scores(margins, top_n=top_n, threshold=threshold)
    keys = [(-place.margin, place.index) for place in ranked]
    assert keys == sorted(keys)
    assert top_n is None or len(ranked) <= top_n
    assert threshold is None or all(place.score >= threshold for place in ranked)
    if top_n is None and threshold is None:
        assert {place.index for place in ranked} == set(range(len(margins)))
