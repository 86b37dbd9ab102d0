"""Frames chosen by when they are shown: uneven rates, gaps, and headers that say something else."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qwen_vl_utils import vision_process

from qwen3_vl_retrieval.documents.previews import read_frames
from qwen3_vl_retrieval.documents.units import load_item, read_units
from qwen3_vl_retrieval.documents.windows import find_scene_seconds
from qwen3_vl_retrieval.errors import InputError, MediaPolicyError
from qwen3_vl_retrieval.items import VideoPart
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
from qwen3_vl_retrieval.media.container import decode_frames, read_index
from qwen3_vl_retrieval.media.frame_index import FrameIndex
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.media.sizing import sample_file_frames, sample_shown_frames
from qwen3_vl_retrieval.media.video import measure_video, read_video

POLICY = MediaPolicy()
OPTIONS = {
    "policy": POLICY,
    "sampling": FrameSampling(),
    "budget": PixelBudget(frame_min_pixels=4096, frame_max_pixels=8192),
}
BITS = 10


def draw_number(number, *, width=160, height=64):
    """An image that says its number in two rows of black and white squares."""
    picture = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            row, column = divmod(bit, BITS // 2)
            picture[row * height // 2 : (row + 1) * height // 2, column * width // 5 : (column + 1) * width // 5] = 255
    return picture


def read_number(picture):
    height, width, _ = picture.shape
    middles = [(height * (1 + 2 * (bit // 5)) // 4, width * (1 + 2 * (bit % 5)) // 10) for bit in range(BITS)]
    return sum(int(picture[y - 4 : y + 4, x - 4 : x + 4].mean() > 127) << bit for bit, (y, x) in enumerate(middles))


def write_clip(path, times, *, unit=Fraction(1, 1000), codec="mpeg4", rate=25, options=None, file_options=None):
    """A video whose frame `n` says `n`, shown from `times[n]` units on."""
    with av.open(str(path), "w", options=file_options or {}) as file:
        stream = file.add_stream(codec, rate=rate, options={"g": "8", **(options or {})})
        stream.width, stream.height, stream.pix_fmt = 160, 64, "yuv420p"
        stream.bit_rate = 4_000_000
        stream.codec_context.time_base = unit
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw_number(number), format="rgb24")
            frame.pts, frame.time_base = int(time), unit
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def build_index(times, *, rate, unit=0.001, last=0.04, is_matched=True):
    return FrameIndex(
        frame_rate=rate,
        total=len(times),
        times=np.array(times, dtype=np.int64),
        key_times=np.zeros(0, dtype=np.int64),
        unit_seconds=unit,
        last_seconds=last,
        is_matched=is_matched,
    )


def list_screen_recording():
    """610 seconds in milliseconds: still for long, ten frames a second where something moves."""
    moves = [*range(60), *range(1000, 1090), *range(5000, 5050)]
    return sorted({100 * place for place in moves} | {20_000 * place for place in range(30)} | {609_960})


@pytest.fixture(scope="module", params=["mkv", "mp4", "webm"])
def recording(request, tmp_path_factory):
    name = f"recording.{request.param}"
    codec = "libvpx" if request.param == "webm" else "mpeg4"
    return write_clip(tmp_path_factory.mktemp("clips") / name, list_screen_recording(), codec=codec)


def check_moments(clip, seconds, start=0.0, end=math.inf):
    """Each frame is the one shown at its time, within the window, and times rise."""
    numbers = [read_number(frame) for frame in clip.frames]
    assert all(before < after for before, after in pairwise(clip.frame_times))
    assert start - 1e-6 <= clip.frame_times[0]
    assert clip.frame_times[-1] <= end + 1e-6
    for number, time in zip(numbers, clip.frame_times, strict=True):
        following = seconds[number + 1] if number + 1 < len(seconds) else math.inf
        assert seconds[number] - 0.0015 <= time < following + 0.0015
    return numbers


def test_a_screen_recording_is_as_long_as_it_is_shown(recording):
    seconds = [time / 1000 for time in list_screen_recording()]
    index = read_index(recording, POLICY)
    assert not index.is_constant
    assert index.duration_seconds == pytest.approx(610, abs=0.2)
    clip = read_video(VideoPart(source=recording), **OPTIONS)
    assert len(clip.frames) == 64
    check_moments(clip, seconds)
    assert clip.frame_times[-1] > 595
    # Even over the time, however many frames a stretch has.
    assert max(after - before for before, after in pairwise(clip.frame_times)) < 20


def test_every_window_of_a_screen_recording_shows_its_own_moment(recording):
    seconds = [time / 1000 for time in list_screen_recording()]
    units = read_units(recording, POLICY)
    assert len(units) == 25
    assert units[-1].end == pytest.approx(610, abs=0.2)
    for unit in units:
        part = VideoPart(
            **{"source" if name == "video" else name: value for name, value in load_item(unit, POLICY).items()}
        )
        clip = read_video(part, **OPTIONS)
        assert len(clip.frames) == pytest.approx(min(unit.end - unit.start, 30), abs=4)
        assert measure_video(part, **OPTIONS)[0] == len(clip.frames)
        check_moments(clip, seconds, unit.start, unit.end)


def test_a_result_shows_the_moment_of_its_window(recording):
    seconds = [time / 1000 for time in list_screen_recording()]
    (picture,) = read_frames(VideoPart(source=recording, start=500.0, end=510.0), POLICY, shares=(0.25,))
    number = read_number(np.asarray(picture))
    assert seconds[number] <= 502.5 + 0.0015 < seconds[number + 1] + 0.003


def test_scenes_begin_when_they_are_shown(tmp_path):
    times = [*range(0, 1000, 100), *range(60_000, 61_000, 100)]
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=10, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time in times:
            color = (200, 20, 20) if time < 60_000 else (20, 20, 200)
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), color, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    assert find_scene_seconds(tmp_path / "a.mp4", POLICY) == pytest.approx([60.0], abs=0.01)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.flv", "a.ts"])
def test_by_number_an_uneven_video_is_read_as_the_official_scripts_read_it(tmp_path, name):
    times = [*range(0, 4000, 40), *range(20_000, 24_000, 200)]
    path = write_clip(tmp_path / name, times, codec="flv" if name.endswith("flv") else "mpeg4")
    index = read_index(path, POLICY)
    expected = sample_file_frames(
        index.total, frame_rate=index.frame_rate, fps=1.0, max_frames=64, start=None, end=None
    )
    clip = read_video(VideoPart(source=path), **OPTIONS, reading="reference")
    assert [read_number(frame) for frame in clip.frames] == expected
    assert list(clip.frame_times) == [number / index.frame_rate for number in expected]
    assert measure_video(VideoPart(source=path), **OPTIONS, reading="reference")[0] == len(expected)
    shown = read_video(VideoPart(source=path), **OPTIONS)
    check_moments(shown, [time / 1000 for time in times])
    assert shown.frame_times[-1] > 22


@pytest.mark.parametrize(
    "rate", [Fraction(30000, 1001), Fraction(24000, 1001), 25, 60, Fraction(15, 2), Fraction(1, 10)]
)
@pytest.mark.parametrize("unit", [Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 600)])
@pytest.mark.parametrize("window", [(None, None), (25.0, 55.0), (7.3, None)])
def test_times_rounded_by_the_container_are_a_constant_rate(rate, unit, window):
    if unit == Fraction(1, 600) and rate not in (25, 60):
        pytest.skip("600 units a second hold these rates only")
    total = max(int(90 * rate), 9)
    times = [round(number / rate / unit) + 12345 for number in range(total)]
    index = build_index(times, rate=float(rate), unit=float(unit), last=float(1 / rate))
    assert index.is_constant
    assert index.duration_seconds == total / float(rate)
    asked = {"fps": 1.0, "max_frames": 64, "start": window[0], "end": window[1]}
    expected = sample_file_frames(total, frame_rate=float(rate), **asked)
    numbers, seconds = sample_shown_frames(index, **asked)
    assert numbers == expected
    assert seconds == [number / float(rate) for number in expected]


def test_half_an_hour_in_matroska_drifts_no_further_than_its_header_rounds():
    rate = 30000 / 1001
    times = [round(number / rate * 1000) for number in range(100_000)]
    assert build_index(times, rate=29.97).is_constant
    assert not build_index(times, rate=30.0).is_constant


@pytest.mark.parametrize("declared", [1000.0, 90000.0, 0.5])
def test_a_rate_that_the_header_invents_is_not_believed(declared):
    times = [40 * number for number in range(1500)]
    index = build_index(times, rate=declared)
    assert not index.is_constant
    assert index.duration_seconds == pytest.approx(60.0)
    numbers, seconds = sample_shown_frames(index, fps=1.0, max_frames=64, start=None, end=None)
    assert len(numbers) == 60
    np.testing.assert_allclose(seconds, [times[number] / 1000 for number in numbers])
    assert seconds[-1] > 59


def test_a_video_of_two_rates_that_agree_on_average_is_uneven():
    times = [*range(0, 10_000, 20), *range(10_000, 30_000, 40)]
    index = build_index(times, rate=len(times) / 30)
    assert not index.is_constant
    numbers, seconds = sample_shown_frames(index, fps=1.0, max_frames=64, start=None, end=None)
    assert all(times[number] / 1000 == pytest.approx(second) for number, second in zip(numbers, seconds, strict=True))
    np.testing.assert_allclose(np.diff(seconds), 1.1, atol=0.05)


@st.composite
def draw_times(draw):
    """Rising times with gaps, jitter and duplicates, from anywhere."""
    start = draw(st.integers(-5000, 5000))
    gaps = draw(st.lists(st.sampled_from([0, 1, 16, 17, 33, 40, 41, 100, 500, 5000, 40_000]), min_size=1, max_size=80))
    return [start + int(gap) for gap in np.cumsum([0, *gaps])]


@settings(max_examples=300, deadline=None)
@given(
    times=draw_times(),
    declared=st.sampled_from([0.1, 1.0, 25.0, 1000.0, 90000.0]),
    last=st.integers(1, 30_000),
    fps=st.sampled_from([0.2, 1.0, 2.0, 30.0]),
    window=st.tuples(st.floats(0, 1), st.floats(0, 1)) | st.none(),
)
def test_chosen_frames_are_those_that_a_viewer_sees_at_the_moments(times, declared, last, fps, window):
    if times[0] == times[-1]:
        return
    index = build_index(times, rate=declared, last=last / 1000)
    seconds = [Fraction(time - times[0], 1000) for time in times]
    duration = index.duration_seconds
    start, end = (None, None) if window is None else (min(window) * duration, max(window) * duration)
    if start is not None and end is not None and end - start <= 1e-3:
        return
    numbers, shown = sample_shown_frames(index, fps=fps, max_frames=16, start=start, end=end)
    assert len(numbers) % 2 == 0
    assert 2 <= len(numbers) <= 16
    assert all(before < after for before, after in pairwise(shown))
    assert shown[0] >= (start or 0)
    assert shown[-1] <= (duration if end is None else end) + 1e-6
    if index.is_constant:
        return
    assert duration == pytest.approx(float(seconds[-1]) + last / 1000)
    for number, second in zip(numbers, shown, strict=True):
        # The model: walk over all frames, and keep the last that has appeared.
        model = 0
        for place, appeared in enumerate(seconds):
            if appeared <= Fraction(second) + Fraction(1, 1_000_000):
                model = place
        assert number == model
    for place, number in enumerate(numbers):
        is_new = place > 0 and number != numbers[place - 1]
        if is_new:
            assert shown[place] == pytest.approx(float(seconds[number]))


@settings(max_examples=100, deadline=None)
@given(
    rate=st.sampled_from([8, 10, 24, 25, 30, 50, 60]),
    total=st.integers(2, 2000),
    fps=st.sampled_from([0.5, 1.0, 2.0, 100.0]),
    most=st.integers(2, 70),
)
def test_a_constant_rate_gives_the_frames_of_the_official_arithmetic(rate, total, fps, most):
    index = build_index([round(1000 * number / rate) for number in range(total)], rate=float(rate))
    numbers, seconds = sample_shown_frames(index, fps=fps, max_frames=most, start=None, end=None)
    kept = vision_process.smart_nframes({"fps": fps, "max_frames": most}, total, float(rate))
    assert numbers == torch.linspace(0, total - 1, kept).round().long().tolist()
    assert seconds == [number / rate for number in numbers]


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_reordered_frames_of_uneven_rate_are_found_by_their_times(tmp_path, codec):
    gaps = np.random.default_rng(1).choice([20, 40, 50, 300, 2000], size=120)
    times = np.cumsum(gaps) + 700
    path = write_clip(tmp_path / "a.mkv", times, codec=codec, options={"bf": "2"})
    seconds = ((times - times[0]) / 1000).tolist()
    for window in ((None, None), (10.0, 20.0), (31.5, 33.0), (seconds[-1] - 2, None)):
        clip = read_video(VideoPart(source=path, start=window[0], end=window[1]), **OPTIONS)
        check_moments(clip, seconds, window[0] or 0.0, window[1] or math.inf)


def test_frames_at_the_same_time_are_counted_and_the_last_of_them_is_seen():
    index = build_index([0, 1000, 1000, 1000, 5000], rate=25.0)
    numbers, _ = sample_shown_frames(index, fps=1.0, max_frames=64, start=1.0, end=3.0)
    assert set(numbers) == {3}


def test_a_window_of_a_slide_show_shows_the_slide(tmp_path):
    path = write_clip(tmp_path / "slides.mp4", [60_000 * slide for slide in range(5)], rate=1)
    for start, slide in ((10.0, 0), (65.0, 1), (125.0, 2)):
        clip = read_video(VideoPart(source=path, start=start, end=start + 30), **OPTIONS)
        assert {read_number(frame) for frame in clip.frames} == {slide}
        assert clip.frame_times[0] == pytest.approx(start, abs=0.04)
    with pytest.raises(InputError, match="fewer than two frames"):
        read_video(VideoPart(source=path, start=5000.0), **OPTIONS)


def test_a_video_longer_than_allowed_by_its_times_is_refused(tmp_path):
    path = write_clip(tmp_path / "a.mkv", [0, 40, 80, 700_000])
    with pytest.raises(MediaPolicyError, match="lasts 700 seconds"):
        read_video(VideoPart(source=path), **{**OPTIONS, "policy": MediaPolicy(max_duration_seconds=600)})


def test_more_frames_than_there_are_may_be_asked_for_without_a_message(tmp_path, caplog, capfd):
    path = write_clip(tmp_path / "a.mp4", range(0, 1600, 40))
    assert len(read_video(VideoPart(source=path, fps=100.0), **OPTIONS).frames) == 40
    assert len(read_video(VideoPart(source=path, fps=100.0), **OPTIONS, reading="reference").frames) == 40
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_the_frames_of_a_file_without_times_are_counted(tmp_path):
    path = write_clip(tmp_path / "a.mpg", range(100), unit=Fraction(1, 25), codec="mpeg1video", options={"bf": "2"})
    index = read_index(path, POLICY)
    assert index.is_constant
    assert not index.is_matched
    wanted = [0, 5, 50, 99]
    assert [read_number(frame) for frame in decode_frames(path, POLICY, index, wanted)] == wanted
