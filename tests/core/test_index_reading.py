"""What files become beyond the default: scenes, and words read from images."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from qwen3_vl_retrieval import MediaPolicy
from qwen3_vl_retrieval.documents.ocr import read_with_rapidocr
from qwen3_vl_retrieval.documents.units import read_units
from qwen3_vl_retrieval.documents.windows import find_scene_seconds, plan_windows

POLICY = MediaPolicy()


def write_letter(path, text):
    picture = Image.new("RGB", (700, 160), "white")
    ImageDraw.Draw(picture).text((20, 50), text, fill="black", font=ImageFont.load_default(size=40))
    picture.save(path)


def write_clip(path, frames, *, frame_rate):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=frame_rate)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


def test_windows_overlap_and_end_with_the_video():
    assert plan_windows(12.0, window_seconds=30, overlap_seconds=5) == [(0.0, 12.0)]
    assert plan_windows(70.0, window_seconds=30, overlap_seconds=5) == [(0.0, 30.0), (25.0, 55.0), (50.0, 70.0)]


@pytest.mark.parametrize("duration", [30.03, 30.5, 32.4])
def test_a_rest_of_a_window_is_no_window_of_its_own(duration):
    assert plan_windows(duration, window_seconds=30, overlap_seconds=5) == [(0.0, duration)]
    assert plan_windows(duration + 25, window_seconds=30, overlap_seconds=5) == [(0.0, 30.0), (25.0, duration + 25)]
    scenes = plan_windows(duration + 60, window_seconds=30, overlap_seconds=5, scene_seconds=[60.0])
    assert scenes[-1] == (60.0, duration + 60)


def test_a_rest_of_a_tenth_of_a_window_is_one():
    assert plan_windows(33.0, window_seconds=30, overlap_seconds=5) == [(0.0, 30.0), (25.0, 33.0)]


@settings(deadline=None)
@given(
    duration=st.floats(0.01, 2_000),
    window=st.floats(5, 120),
    overlap=st.floats(0, 0.9),
    scenes=st.lists(st.floats(0, 1), max_size=5),
)
def test_windows_cover_every_moment_and_each_adds_something(duration, window, overlap, scenes):
    step = window * (1 - overlap)
    begins = sorted(duration * scene for scene in scenes)
    windows = plan_windows(duration, window_seconds=window, overlap_seconds=window - step, scene_seconds=begins)
    assert (windows[0][0], windows[-1][1]) == (0.0, duration)
    seen = 0.0
    for start, end in windows:
        assert start <= seen + 1e-6
        # A scene of its own may be short; a further window of one is not.
        assert end - seen >= (0.1 * step if start < seen - 1e-6 else min(2.0, 0.1 * step, duration)) * (1 - 1e-6)
        assert end - start <= window + 0.1 * step + 1e-6
        seen = end


def test_no_window_reaches_over_the_end_of_a_scene():
    windows = plan_windows(60.0, window_seconds=30, overlap_seconds=5, scene_seconds=[10.0, 11.0, 45.0, 59.0])
    assert windows == [(0.0, 10.0), (10.0, 40.0), (35.0, 45.0), (45.0, 60.0)]


def test_scenes_begin_where_the_image_changes_and_not_where_something_moves(tmp_path):
    # With grain: encoders do not begin anew for flat colours.
    grain = np.random.default_rng(0).integers(0, 60, (2, 160, 256, 3))
    frames = []
    for number in range(96):
        scene = int(number >= 40)
        color = ((0, 0, 100), (200, 130, 0))[scene]
        frame = Image.fromarray((grain[scene] * 0.8 + color).clip(0, 255).astype(np.uint8))
        ImageDraw.Draw(frame).rectangle((number % 60, 20, number % 60 + 12, 32), fill="white")
        frames.append(frame)
    path = tmp_path / "scenes.mp4"
    write_clip(path, frames, frame_rate=8)
    assert find_scene_seconds(path, POLICY) == pytest.approx([5.0], abs=0.13)
    whole = read_units(path, POLICY)
    assert [(unit.start, unit.end) for unit in whole] == [(None, None)]
    cut = read_units(path, POLICY, cut_at_scenes=True)
    np.testing.assert_allclose([(unit.start, unit.end) for unit in cut], [(0, 5), (5, 12)], atol=0.13)


def test_words_of_scans_are_read_and_text_layers_are_left_as_they_are(tmp_path):
    write_letter(tmp_path / "scan.png", "Invoice 4812")
    Image.open(tmp_path / "scan.png").save(tmp_path / "scan.pdf")

    def read(picture):
        return f"  {picture.mode} of {picture.width}  "

    (picture,) = read_units(tmp_path / "scan.png", POLICY, ocr=read)
    assert picture.text == "RGB of 700"
    (page,) = read_units(tmp_path / "scan.pdf", POLICY, ocr=read)
    assert page.text.startswith("RGB of ")
    (unread,) = read_units(tmp_path / "scan.pdf", POLICY)
    assert unread.text is None


def test_rapidocr_reads_words_and_numbers(tmp_path):
    write_letter(tmp_path / "scan.png", "Invoice 4812 of Meridian")
    assert read_with_rapidocr(Image.open(tmp_path / "scan.png")) == "Invoice 4812 of Meridian"
    assert read_with_rapidocr(Image.new("RGB", (64, 64), "white")) == ""
