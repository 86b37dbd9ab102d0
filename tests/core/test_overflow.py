"""Items longer than the model's length."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from qwen3_vl_retrieval import FrameSampling, InputTooLongError, MediaPolicy, PixelBudget
from qwen3_vl_retrieval.engine.engine import Engine


@pytest.fixture
def noise():
    generator = np.random.default_rng(3)
    return lambda width, height: Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_an_image_that_does_not_fit_gets_fewer_pixels_and_one_warning(make_embedder, noise):
    embedder = make_embedder(max_length=300)
    pictures = [{"image": noise(900, 900)}, {"image": noise(640, 900)}, "text"]
    with pytest.warns(UserWarning, match=r"item 0: .* exceed 300: 1 image.* reduced to .*, and 1 more") as caught:
        requests = embedder.prepare(pictures)
    assert len(caught) == 1
    assert all(len(request) <= 300 for request in requests)
    assert [request.media[0].token_count > 150 for request in requests[:2]] == [True, True]


def test_a_video_that_does_not_fit_gets_fewer_pixels_then_fewer_frames(make_embedder, noise):
    frames = [noise(128, 128) for _ in range(40)]
    with pytest.warns(UserWarning, match="40 frame"):
        (fewer_pixels,) = make_embedder(max_length=900).prepare([{"video": frames}])
    with pytest.warns(UserWarning, match="40 frame"):
        (fewer_frames,) = make_embedder(max_length=200).prepare([{"video": frames}])
    assert len(fewer_pixels) <= 900
    assert fewer_pixels.media[0].pair_count == 20
    assert len(fewer_frames) <= 200
    assert 1 <= fewer_frames.media[0].pair_count < 20


def test_the_official_default_video_fits_without_a_warning(embedder, media):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (request,) = embedder.prepare([{"video": media / "clip_200f_2fps.mp4"}])
    assert len(request) == 5010


def test_text_beside_an_image_that_does_not_fit_keeps_a_share(make_embedder, noise):
    with pytest.warns(UserWarning, match="reduced"):
        (request,) = make_embedder(max_length=300).prepare([{"image": noise(900, 900), "text": "word " * 500}])
    assert len(request) == 300
    assert 150 < request.media[0].token_count < 230


def test_what_does_not_fit_can_be_refused(make_embedder, noise):
    strict = make_embedder(max_length=300, on_overflow="error")
    with pytest.raises(InputTooLongError, match=r"item 1: \d+ tokens, allowed are 300"):
        strict.embed(["short", {"image": noise(900, 900)}])
    with pytest.raises(InputTooLongError, match="item 0"):
        strict.embed(["word " * 1000])


def test_a_pair_is_fitted_on_both_sides(make_reranker, noise):
    reranker = make_reranker(max_length=600)
    with pytest.warns(UserWarning, match="document 0: .*2 image"):
        scores = reranker.score({"image": noise(800, 800)}, [{"image": noise(700, 900)}])
    assert scores.shape == (1,)


def test_a_pair_that_does_not_fit_can_be_refused(make_reranker):
    with pytest.raises(InputTooLongError, match="document 1"):
        make_reranker(max_length=200, on_overflow="error").score("query", ["short", "word " * 500])


def test_an_instruction_longer_than_the_model_is_refused(make_embedder):
    with pytest.raises(InputTooLongError, match="shorten the instruction"):
        make_embedder(max_length=100).embed(["text"], instruction="word " * 300)


@pytest.mark.parametrize("length", [0, 32_769])
def test_a_length_beyond_the_model_is_refused(make_embedder, length):
    with pytest.raises(ValueError, match=f"max_length={length} must be between 1 and 32768"):
        make_embedder(max_length=length)


def test_text_that_is_cut_is_said_once_a_call(make_embedder, make_reranker):
    with pytest.warns(UserWarning, match=r"item 1: text cut from \d+ to 100 tokens, and 1 more") as caught:
        make_embedder(max_length=100).embed(["short", "word " * 500, "word " * 400])
    assert len(caught) == 1
    with pytest.warns(UserWarning, match=r"document 0: text cut from \d+ to 205 tokens$"):
        make_reranker(max_length=200).score("query", ["word " * 500])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_overflow": "raise"}, 'allowed are "fit" and "error"'),
        ({"max_batch_tokens": 0}, "must be at least 1"),
        ({"max_length": -1}, "between 1 and"),
    ],
)
def test_options_out_of_range_fail_at_construction(make_embedder, options, message):
    with pytest.raises(ValueError, match=message):
        make_embedder(**options)


@pytest.mark.parametrize("options", [{"max_length": 64.5}, {"max_batch_tokens": 1.5}, {"dimensions": 64.0}])
def test_counts_are_whole_numbers(make_embedder, options):
    with pytest.raises(TypeError, match="float"):
        make_embedder(**options)


def test_a_misspelt_truncation_fails(embedder):
    with pytest.raises(ValueError, match="truncation='longest' is unknown"):
        Engine(
            embedder.model,
            embedder.processor,
            role="document",
            media_policy=MediaPolicy(),
            pixel_budget=PixelBudget(),
            frame_sampling=FrameSampling(),
            image_reading="reference",
            max_length=100,
            on_overflow="fit",
            pair_truncation="longest",
        )


@pytest.mark.parametrize("budget", [{"max_pixels": 1_843_200.0}, {"total_pixels": "many"}])
def test_a_pixel_budget_is_of_whole_numbers(budget):
    with pytest.raises(TypeError):
        PixelBudget(**budget)
