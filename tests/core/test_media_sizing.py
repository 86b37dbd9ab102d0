"""Sizes and frame numbers, against `qwen_vl_utils`."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qwen_vl_utils import vision_process

from qwen3_vl_retrieval.errors import InputError, MediaError
from qwen3_vl_retrieval.media.budgets import PixelBudget
from qwen3_vl_retrieval.media.sizing import (
    fit_frame_size,
    fit_image_size,
    fit_listed_frames,
    sample_file_frames,
    sample_listed_frames,
)

BUDGET = PixelBudget()
FRAME_LIMITS = {"min_pixels": BUDGET.frame_min_pixels, "max_pixels": BUDGET.frame_max_pixels}


@settings(max_examples=500, deadline=None)
@given(
    width=st.integers(1, 30_000),
    height=st.integers(1, 30_000),
    min_tokens=st.integers(1, 2_000),
    more_pixels=st.floats(0, 4e6),
)
def test_any_size_is_that_of_the_official_arithmetic(width, height, min_tokens, more_pixels):
    min_pixels = min_tokens * 1024
    max_pixels = min_pixels + more_pixels
    try:
        expected = vision_process.smart_resize(height, width, 32, min_pixels, max_pixels)
    except ValueError:
        expected = None
    if expected is None or min(expected) < 32:
        with pytest.raises(MediaError):
            fit_frame_size(width, height, min_pixels=min_pixels, max_pixels=max_pixels)
    else:
        assert fit_frame_size(width, height, min_pixels=min_pixels, max_pixels=max_pixels) == expected[::-1]


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_frames_of_files_become_as_large_as_in_the_reference(width, height):
    try:
        expected = vision_process.smart_resize(height, width, 32, 128 * 1024, 768 * 1024)
    except ValueError:
        with pytest.raises(MediaError):
            fit_frame_size(width, height, **FRAME_LIMITS)
        return
    assert fit_frame_size(width, height, **FRAME_LIMITS) == expected[::-1]


@given(st.integers(200, 2000), st.integers(200, 2000), st.integers(1, 64))
def test_frames_of_a_list_share_the_total(width, height, pairs):
    share = max(min(768 * 1024, 7680 * 1024 / (2 * pairs) * 2), int(128 * 1024 * 1.05))
    expected = vision_process.smart_resize(height, width, 32, 128 * 1024, share)
    assert fit_listed_frames(width, height, frames=2 * pairs, budget=BUDGET) == expected[::-1]


def test_an_image_too_thin_for_its_limit_is_an_error():
    with pytest.raises(MediaError, match="too thin"):
        fit_image_size(2000, 10, min_pixels=1024, max_pixels=2048)


def test_limits_that_contradict_are_an_error():
    with pytest.raises(MediaError, match="does not fit"):
        fit_image_size(100, 100, min_pixels=4096, max_pixels=2048)


@given(
    total=st.integers(2, 5000),
    frame_rate=st.floats(0.5, 120),
    fps=st.floats(0.1, 30),
    max_frames=st.integers(2, 80),
)
def test_whole_files_are_sampled_as_in_the_reference(total, frame_rate, fps, max_frames):
    kept = vision_process.smart_nframes({"fps": fps, "max_frames": max_frames}, total, frame_rate)
    expected = torch.linspace(0, total - 1, kept).round().long().tolist()
    sampled = sample_file_frames(total, frame_rate=frame_rate, fps=fps, max_frames=max_frames, start=None, end=None)
    assert sampled == expected
    assert len(sampled) % 2 == 0
    assert sampled == sorted(sampled)


def test_a_window_keeps_frames_inside_it():
    sampled = sample_file_frames(300, frame_rate=30.0, fps=2, max_frames=64, start=2.0, end=5.0)
    assert (sampled[0], sampled[-1], len(sampled)) == (60, 150, 6)


def test_a_file_of_one_frame_is_that_frame_twice():
    assert sample_file_frames(1, frame_rate=30.0, fps=1.0, max_frames=64, start=None, end=None) == [0, 0]


@pytest.mark.parametrize(("start", "end"), [(9.99, None), (20.0, None), (1.0, 1.01)])
def test_a_window_with_fewer_than_two_frames_is_an_error(start, end):
    with pytest.raises(InputError, match="fewer than two frames"):
        sample_file_frames(100, frame_rate=10.0, fps=1.0, max_frames=64, start=start, end=end)


def test_fewer_than_two_frames_cannot_be_asked_for():
    with pytest.raises(InputError, match="max_frames=1"):
        sample_file_frames(100, frame_rate=10.0, fps=1.0, max_frames=1, start=None, end=None)


def listed(count, *, fps=None, max_frames=64, start=None, end=None):
    return sample_listed_frames(count, fps=fps, max_frames=max_frames, start=start, end=end)


def test_a_list_without_a_rate_is_timed_at_two_frames_per_second_after_thinning():
    assert listed(5) == ([0, 1, 2, 3, 4, 4], [0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
    assert listed(100, max_frames=4) == ([0, 33, 66, 99], [0.0, 0.5, 1.0, 1.5])


def test_a_list_with_a_rate_keeps_its_real_times():
    assert listed(3, fps=10) == ([0, 1, 2, 2], [0.0, 0.1, 0.2, pytest.approx(0.3)])
    assert listed(100, fps=10.0, max_frames=4) == ([0, 33, 66, 99], [0.0, 3.3, 6.6, 9.9])
    assert listed(1, fps=4.0) == ([0, 0], [0.0, 0.25])


def test_a_window_of_a_list_needs_the_rate():
    assert listed(100, fps=10.0, start=1.0, end=1.3) == ([10, 11, 12, 13], [1.0, 1.1, 1.2, 1.3])
    with pytest.raises(InputError, match="need fps"):
        listed(100, start=1.0)
    with pytest.raises(InputError, match="holds none of 100 frames"):
        listed(100, fps=10.0, start=30.0)


def test_a_list_cannot_be_thinned_to_nothing():
    with pytest.raises(InputError, match="max_frames=0"):
        listed(5, max_frames=0)


@pytest.mark.parametrize(
    ("fps", "start", "end", "first", "last"),
    [(100, 1.1, None, 110, 199), (25, 7 / 25, None, 7, 199), (30, None, 4.1, 0, 123), (10, 1.01, 1.99, 11, 19)],
)
def test_rounding_loses_no_frame_at_the_edge_of_a_window(fps, start, end, first, last):
    indices, _ = listed(200, fps=fps, start=start, end=end, max_frames=200)
    assert (indices[0], indices[-1]) == (first, last)


def test_errors_name_what_was_measured():
    with pytest.raises(MediaError, match=r"the image 'a\.png' of 2000x10 pixels is too thin"):
        fit_image_size(2000, 10, min_pixels=1024, max_pixels=2048, shown="the image 'a.png'")
    with pytest.raises(MediaError, match=r"frame 3 of 9000x10 pixels does not fit"):
        fit_listed_frames(9000, 10, frames=2, budget=BUDGET, shown="frame 3")
