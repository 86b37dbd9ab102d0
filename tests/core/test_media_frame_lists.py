"""Videos given as frames."""

import io

import numpy as np
import pytest
from PIL import Image
from qwen_vl_utils import vision_process

from qwen3_vl_retrieval.errors import InputError, MediaError, MediaPolicyError
from qwen3_vl_retrieval.items import VideoPart
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.media.video import measure_video, read_video

BUDGET = PixelBudget()


def draw(count, width=120, height=90, mode="RGB"):
    rng = np.random.default_rng(0)
    channels = len(mode)
    return [
        Image.fromarray(rng.integers(0, 256, (height, width, channels), dtype=np.uint8), mode) for _ in range(count)
    ]


def read(source, *, policy=None, sampling=None, budget=BUDGET, **asked):
    options = {"policy": policy or MediaPolicy(), "sampling": sampling or FrameSampling(), "budget": budget}
    part = VideoPart(source=source, **asked)
    clip = read_video(part, **options)
    frames, height, width, _ = clip.frames.shape
    assert measure_video(part, **options) == (frames, width, height)
    assert len(clip.frame_times) == frames
    assert frames % 2 == 0
    return clip


@pytest.mark.parametrize(
    ("count", "size", "mode"),
    [
        (1, (120, 90), "RGB"),
        (5, (120, 90), "RGBA"),
        (4, (500, 333), "RGB"),
        (6, (64, 700), "RGB"),
        (32, (40, 40), "RGB"),
    ],
)
def test_a_list_becomes_what_fetch_video_makes_of_it(count, size, mode):
    frames = draw(count, *size, mode)
    element = {"video": frames, "total_pixels": BUDGET.total_pixels}
    (expected, metadata), rate = vision_process.fetch_video(
        element, image_patch_size=16, return_video_sample_fps=True, return_video_metadata=True
    )
    clip = read(frames)
    np.testing.assert_array_equal(clip.frames, expected.permute(0, 2, 3, 1).numpy())
    assert list(clip.frame_times) == [number / rate for number in metadata["frames_indices"]]


def test_many_frames_share_the_total_number_of_pixels():
    few, many = read(draw(2, 1000, 800)), read(draw(2, 1000, 800) * 4, budget=PixelBudget(total_pixels=2**20))
    assert few.frames[0].size > many.frames[0].size


def test_long_lists_are_thinned_as_the_official_scripts_do():
    shades = [Image.new("RGB", (64, 64), (number, number, number)) for number in range(100)]
    clip = read(shades, sampling=FrameSampling(max_frames=6))
    assert clip.frames[:, 0, 0, 0].tolist() == np.linspace(0, 99, 6, dtype=int).tolist()
    assert clip.frame_times == (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
    assert read(shades, max_frames=4).frames[:, 0, 0, 0].tolist() == [0, 33, 66, 99]


def test_frames_left_out_are_never_opened(tmp_path):
    picture = tmp_path / "a.png"
    draw(1)[0].save(picture)
    source = [picture, tmp_path / "missing.png", tmp_path / "missing.png", picture]
    assert len(read(source, max_frames=2).frames) == 2
    with pytest.raises(MediaError, match="no such file"):
        read(source)


def test_a_real_rate_gives_real_times_and_windows():
    assert read(draw(3), fps=10.0).frame_times == pytest.approx((0.0, 0.1, 0.2, 0.3))
    assert read(draw(40), fps=10.0, start=2.0, end=2.3).frame_times == pytest.approx((2.0, 2.1, 2.2, 2.3))
    with pytest.raises(InputError, match="need fps"):
        read(draw(40), start=2.0)


def test_arrays_paths_and_bytes_are_frames_like_images(tmp_path):
    frames = draw(3)
    expected = read(frames).frames
    encoded = []
    for frame in frames:
        buffer = io.BytesIO()
        frame.save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    (tmp_path / "b.png").write_bytes(encoded[1])
    stacked = np.stack([np.asarray(frame) for frame in frames])
    mixed = (frames[0], str(tmp_path / "b.png"), stacked[2])
    for source in (stacked, encoded, mixed):
        np.testing.assert_array_equal(read(source).frames, expected)


def test_arrays_of_one_or_four_channels_are_videos():
    grey = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 1), dtype=np.uint8)
    np.testing.assert_array_equal(read(grey).frames, read(np.repeat(grey, 3, axis=3)).frames)
    opaque = np.concatenate([np.repeat(grey, 3, axis=3), np.full_like(grey, 255)], axis=3)
    np.testing.assert_array_equal(read(opaque).frames, read(grey).frames)


@pytest.mark.parametrize("source", [np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 3))])
def test_other_arrays_are_refused(source):
    with pytest.raises(MediaError, match="video array must be uint8"):
        read(source)


@pytest.mark.parametrize("source", [[], np.zeros((0, 8, 8, 3), np.uint8)])
def test_a_video_without_frames_is_an_error(source):
    with pytest.raises(MediaError, match="at least one frame"):
        read(source)


def test_frames_of_different_sizes_are_an_error():
    frames = [*draw(2, 640, 480), *draw(1, 320, 480)]
    for look in (read_video, measure_video):
        with pytest.raises(MediaError, match="must be of one size"):
            look(VideoPart(source=frames), policy=MediaPolicy(), sampling=FrameSampling(), budget=BUDGET)


def test_sizes_that_the_first_step_makes_equal_are_accepted_as_in_the_reference():
    assert len(read([*draw(1, 640, 480), *draw(1, 641, 481)]).frames) == 2


def test_the_policy_holds_for_every_frame():
    with pytest.raises(MediaPolicyError, match="above max_frames=4"):
        read(draw(5), policy=MediaPolicy(max_frames=4))
    with pytest.raises(MediaPolicyError, match="max_pixels"):
        read([*draw(1), *draw(1, 200, 200)], policy=MediaPolicy(max_pixels=20_000))
    with pytest.raises(MediaPolicyError, match="URLs are not allowed"):
        read(["http://127.0.0.1/a.png"])


def test_errors_name_the_frame(tmp_path):
    sizes = {"a.png": (640, 480), "b.png": (320, 480), "thin.png": (801, 4)}
    for name, size in sizes.items():
        Image.new("RGB", size).save(tmp_path / name)
    for look in (read_video, measure_video):
        for names, policy, reason in (
            (("a.png", "b.png"), MediaPolicy(), r"frame 1, the image '.*b\.png', is 320x512"),
            (("a.png", "b.png"), MediaPolicy(max_pixels=200_000), r"the image '.*a\.png' is 640x480"),
            (("a.png", "thin.png"), MediaPolicy(), r"the image '.*thin\.png' is 801x4"),
        ):
            part = VideoPart(source=[tmp_path / name for name in names])
            with pytest.raises(MediaError, match=reason):
                look(part, policy=policy, sampling=FrameSampling(), budget=BUDGET)
