"""Video files: sampled, decoded and resized."""

import base64
import dataclasses
import io
import struct
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from qwen_vl_utils import vision_process

from qwen3_vl_retrieval.errors import InputError, MediaError, MediaPolicyError
from qwen3_vl_retrieval.items import VideoPart
from qwen3_vl_retrieval.media import container
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
from qwen3_vl_retrieval.media.container import decode_frames, read_index
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.media.video import measure_video, read_video

POLICY = MediaPolicy()


def write_clip(
    path, *, frames=40, width=160, height=96, rate=8, codec="mpeg4", pixels="yuv420p", options=None, rotation=0
):
    """A video whose frame `n` has a left half of brightness `6 * n` modulo 240, and a gradient on the right."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, options={"sc_threshold": "1000000000", **(options or {})})
        stream.bit_rate = 8_000_000
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        if rotation:
            stream.set_display_rotation(rotation)
        gradient = np.linspace(0, 255, width, dtype=np.uint8)
        for number in range(frames):
            picture = np.stack([np.tile(gradient, (height, 1))] * 3, axis=-1)
            picture[:, : width // 2] = 6 * number % 240
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return path


def write_sound(path):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=1024)
        frame.sample_rate = 16000
        for packet in stream.encode(frame):
            file.mux(packet)
    return path


def brightness(frames):
    """Number of each frame, from its left half."""
    return [round(float(frame[:, : frame.shape[1] // 3].mean()) / 6) for frame in frames]


def options(**changes):
    return {"policy": POLICY, "sampling": FrameSampling(), "budget": PixelBudget(), **changes}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture
def decord(monkeypatch):
    """`fetch_video` with a reader that gives it what decord would: all frames, in order, and the average rate."""

    def read(element):
        with av.open(element["video"]) as file:
            stream = file.streams.video[0]
            rate = float(stream.average_rate)
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(stream)])
        first, last, count = vision_process.calculate_video_frame_range(element, len(frames), rate)
        kept = vision_process.smart_nframes(element, total_frames=count, video_fps=rate)
        numbers = torch.linspace(first, last, kept).round().long().tolist()
        return torch.tensor(frames[numbers]).permute(0, 3, 1, 2), {"fps": rate, "frames_indices": numbers}, 1.0

    monkeypatch.setitem(vision_process.VIDEO_READER_BACKENDS, "decord", read)
    monkeypatch.setattr(vision_process, "get_video_reader_backend", lambda: "decord")


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"fps": 2.0, "max_frames": 6},
        {"fps": 100.0},
        {"start": 1.0, "end": 3.3},
        {"end": 2.0, "fps": 4},
        {"max_frames": 2},
    ],
)
def test_a_file_becomes_what_fetch_video_makes_of_it(clip, decord, asked):
    element = {"video": str(clip), "fps": asked.get("fps", 1.0), "max_frames": asked.get("max_frames", 64)}
    element |= {f"video_{name}": asked[name] for name in ("start", "end") if name in asked}
    (expected, metadata), _ = vision_process.fetch_video(
        element, image_patch_size=16, return_video_sample_fps=True, return_video_metadata=True
    )
    read = read_video(VideoPart(source=clip, **asked), **options())
    np.testing.assert_array_equal(read.frames, expected.permute(0, 2, 3, 1).numpy())
    assert list(read.frame_times) == [number / 8 for number in metadata["frames_indices"]]
    frames, height, width, _ = read.frames.shape
    assert measure_video(VideoPart(source=clip, **asked), **options()) == (frames, width, height)


def test_bytes_and_uris_are_read_like_the_file(clip):
    expected = read_video(VideoPart(source=clip), **options()).frames
    for source in (clip.read_bytes(), str(clip), clip.as_uri()):
        np.testing.assert_array_equal(read_video(VideoPart(source=source), **options()).frames, expected)


def test_the_budget_sets_the_size_of_the_frames(clip):
    small = PixelBudget(frame_min_pixels=4096, frame_max_pixels=8192)
    assert read_video(VideoPart(source=clip), **options(budget=small)).frames.shape[1:] == (64, 96, 3)


@pytest.mark.parametrize(
    ("name", "codec", "extra"),
    [
        ("a.mp4", "mpeg4", {"options": {"bf": "2", "g": "12"}}),
        ("a.mkv", "mpeg4", {"options": {"bf": "2", "g": "12"}}),
        ("a.avi", "mjpeg", {"pixels": "yuvj420p"}),
        ("a.mpg", "mpeg1video", {"rate": 25}),
        ("a.ts", "mpeg2video", {"rate": 25, "options": {"bf": "2"}}),
        ("a.flv", "flv1", {}),
        ("a.webm", "libvpx", {}),
    ],
)
def test_frames_are_counted_and_numbered_in_the_order_they_are_shown(tmp_path, name, codec, extra):
    path = write_clip(tmp_path / name, codec=codec, **extra)
    index = read_index(path, POLICY)
    assert (index.total, index.frame_rate) == (40, extra.get("rate", 8))
    wanted = [0, 3, 3, 11, 12, 13, 25, 38, 39]
    assert brightness(decode_frames(path, POLICY, index, wanted)) == wanted


def test_key_frames_are_leapt_to_and_give_the_same_frames(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "long.mp4", frames=400, options={"g": "10", "bf": "2"})
    index = read_index(path, POLICY)
    assert 40 <= len(index.key_times) <= 50
    wanted = [5, 200, 201, 395]
    decoded = []
    walk = container._Cursor._decode
    monkeypatch.setattr(
        container._Cursor,
        "_decode",
        lambda self, packets: (decoded.append(frame) or frame for frame in walk(self, packets)),
    )
    leaping = list(decode_frames(path, POLICY, index, wanted))
    assert len(decoded) < 60
    straight = list(decode_frames(path, POLICY, dataclasses.replace(index, key_times=()), wanted))
    np.testing.assert_array_equal(leaping, straight)


def test_an_index_that_misplaces_key_frames_costs_time_only(clip):
    index = read_index(clip, POLICY)
    # As if decoding could start at every frame: most leaps then lead too far or to frames that cannot be decoded yet.
    wrong = dataclasses.replace(index, key_times=index.times)
    wanted = [0, 7, 20, 39]
    assert brightness(decode_frames(clip, POLICY, wrong, wanted)) == wanted


def test_the_number_of_kept_frames_bounds_the_memory(tmp_path):
    path = write_clip(tmp_path / "long.mp4", frames=300, width=320, height=240)
    tracemalloc.start()
    read_video(VideoPart(source=path, max_frames=4), **options(budget=PixelBudget(frame_max_pixels=131072)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All decoded frames would be 69 MB.
    assert peak < 15e6


def test_a_quarter_turn_noted_in_the_file_is_applied_as_decord_does(tmp_path):
    upright = read_video(VideoPart(source=write_clip(tmp_path / "a.mp4", frames=4)), **options()).frames
    path = write_clip(tmp_path / "b.mp4", frames=4, rotation=90)
    turned = read_video(VideoPart(source=path), **options()).frames
    assert turned.shape == (4, upright.shape[2], upright.shape[1], 3)
    np.testing.assert_allclose(turned, np.rot90(upright, axes=(1, 2)), atol=2)
    assert measure_video(VideoPart(source=path), **options()) == (4, turned.shape[2], turned.shape[1])


@pytest.mark.parametrize(("frames", "kept"), [(1, [0, 0]), (2, [0, 1]), (3, [0, 2]), (5, [0, 1, 3, 4])])
def test_short_files_keep_an_even_number_of_frames(tmp_path, frames, kept):
    read = read_video(VideoPart(source=write_clip(tmp_path / "a.mp4", frames=frames)), **options())
    assert list(read.frame_times) == [number / 8 for number in kept]
    assert brightness(read.frames) == kept


def test_a_window_outside_the_video_is_an_error(clip):
    for look in (read_video, measure_video):
        with pytest.raises(InputError, match="fewer than two frames"):
            look(VideoPart(source=clip, start=60.0), **options())


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"max_pixels": 160 * 96 - 1}, "max_pixels"),
        ({"max_frames": 39}, "more than max_frames=39"),
        ({"max_duration_seconds": 4.9}, "lasts 5 seconds"),
        ({"max_bytes": 1000}, "max_bytes"),
        ({"allow_dirs": ()}, "allowed folders"),
    ],
)
def test_every_limit_of_the_policy_holds(clip, limit, reason):
    for look in (read_video, measure_video):
        with pytest.raises(MediaPolicyError, match=reason):
            look(VideoPart(source=clip), **options(policy=MediaPolicy(**limit)))


def test_at_the_limits_a_video_is_read(clip):
    policy = MediaPolicy(max_pixels=160 * 96, max_frames=40, max_duration_seconds=5.1)
    assert len(read_video(VideoPart(source=clip), **options(policy=policy)).frames) == 4


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"just text, called a video",
        b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{other}\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '{other}'\n",
        b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>{other}</BaseURL></MPD>",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nm=video 5004 RTP/AVP 96\r\n",
    ],
)
def test_playlists_and_texts_named_mp4_are_refused(tmp_path, clip, content):
    path = tmp_path / "a.mp4"
    path.write_bytes(content.replace(b"{other}", str(clip).encode()))
    for source in (path, path.read_bytes()):
        with pytest.raises(MediaError, match="cannot be decoded"):
            read_video(VideoPart(source=source), **options())


def test_a_playlist_would_be_followed_without_the_list_of_formats(tmp_path, clip):
    # Shows that the test above tests something: this FFmpeg does open such files.
    path = tmp_path / "a.mp4"
    path.write_text(f"ffconcat version 1.0\nfile '{clip.name}'\n")
    (tmp_path / clip.name).write_bytes(clip.read_bytes())
    with av.open(str(path), options={"safe": "0"}) as file:
        assert file.format.name == "concat"


def test_an_image_is_no_video():
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="image2pipe") as file:
        stream = file.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 8, 8, "rgb24"
        for packet in stream.encode(av.VideoFrame.from_ndarray(np.zeros((8, 8, 3), np.uint8), format="rgb24")):
            file.mux(packet)
    with pytest.raises(MediaError, match="cannot be decoded"):
        read_video(VideoPart(source=buffer.getvalue()), **options())


def test_a_file_with_sound_only_is_an_error(tmp_path):
    with pytest.raises(MediaError, match="has no video, only audio"):
        read_video(VideoPart(source=write_sound(tmp_path / "a.mkv")), **options())


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("flags", ["", "faststart"])
def test_a_truncated_mp4_is_an_error(tmp_path, kept, flags):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": flags} if flags else {}) as file:
        stream = file.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 256, (40, 96, 160, 3), dtype=np.uint8)
        for picture in noise:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    content = path.read_bytes()
    for look in (read_video, measure_video):
        with pytest.raises(MediaError, match="truncated"):
            look(VideoPart(source=content[: int(len(content) * kept)]), **options())


def test_a_header_that_declares_huge_frames_is_refused_before_decoding(tmp_path):
    content = bytearray(write_clip(tmp_path / "a.avi", frames=2, codec="rawvideo", pixels="bgr24").read_bytes())
    # The format chunk of the stream: its length, then a BITMAPINFOHEADER with width and height after its own length.
    place = content.index(b"strf") + 8
    content[place + 4 : place + 12] = struct.pack("<ii", 12_000, 12_000)
    with pytest.raises(MediaPolicyError, match="12000x12000"):
        measure_video(VideoPart(source=bytes(content)), **options())


def test_files_are_closed(clip, monkeypatch):
    opened = []
    real = av.open
    monkeypatch.setattr(av, "open", lambda file, *args, **kwargs: opened.append(file) or real(file, *args, **kwargs))
    here = options(policy=MediaPolicy(isolate_reading=False))
    read_video(VideoPart(source=clip), **here)
    with pytest.raises(MediaError):
        read_video(VideoPart(source=Path(__file__)), **here)
    assert len(opened) >= 2
    assert all(file.closed for file in opened)


def test_a_codec_that_nobody_knows_is_an_error_that_names_the_video(tmp_path):
    content = write_clip(tmp_path / "known.mp4", frames=4).read_bytes()
    assert content.count(b"mp4v") == 1
    path = tmp_path / "unknown.mp4"
    path.write_bytes(content.replace(b"mp4v", b"zzzz").replace(b"esds", b"free"))
    for look in (read_video, measure_video):
        with pytest.raises(MediaError, match=r"the codec of the video '.*unknown\.mp4' is not understood"):
            look(VideoPart(source=path), **options())


@pytest.mark.parametrize(
    ("policy", "asked"),
    [(MediaPolicy(max_pixels=1000), {}), (MediaPolicy(max_frames=2), {}), (POLICY, {"start": 90.0, "end": 99.0})],
)
def test_errors_name_the_video_however_it_was_given(clip, policy, asked):
    uri = "data:video/mp4;base64," + base64.b64encode(clip.read_bytes()).decode()
    for source, name in ((clip, "clip.mp4"), (uri, "data:video/mp4;base64,"), (clip.read_bytes(), "given as bytes")):
        for look in (read_video, measure_video):
            with pytest.raises(InputError, match=f"the video .*{name}"):
                look(VideoPart(source=source, **asked), **options(policy=policy))


def test_a_video_too_thin_for_the_budget_is_named(tmp_path):
    path = write_clip(tmp_path / "thin.mp4", frames=4, width=640, height=16)
    budget = PixelBudget(frame_min_pixels=1024, frame_max_pixels=4096)
    for look in (read_video, measure_video):
        with pytest.raises(MediaError, match=r"a frame of the video '.*thin\.mp4' of 640x16 pixels is too thin"):
            look(VideoPart(source=path), **options(budget=budget))
