"""Leaps to key frames, over codecs and containers: the frames of a window are those of decoding all of the file."""

from __future__ import annotations

import os
import pickle
import time
from contextlib import suppress

import av
import numpy as np
import pytest

from qwen3_vl_retrieval.documents.units import read_units
from qwen3_vl_retrieval.errors import MediaError
from qwen3_vl_retrieval.items import VideoPart
from qwen3_vl_retrieval.media import container
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
from qwen3_vl_retrieval.media.container import FrameIndexes, decode_frames, read_index
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.media.video import read_video

# In this process, where the frames that are decoded can be counted.
POLICY = MediaPolicy(isolate_reading=False)
FRAMES = 120

OPEN_GROUPS = {"g": "12", "bf": "3", "x264-params": "scenecut=0:open-gop=1:b-pyramid=normal:log-level=none"}
CLOSED_GROUPS = {"g": "12", "bf": "3", "x264-params": "scenecut=0:log-level=none"}
REFRESH = {"g": "12", "x264-params": "intra-refresh=1:log-level=none"}
HEVC = {"x265-params": "log-level=none:keyint=12:min-keyint=12:open-gop=1:scenecut=0"}
REORDERED = {"g": "12", "bf": "2", "sc_threshold": "1000000000"}
SIMPLE = {"g": "12"}

# Name, encoder, its options, and whether the container lets decoding start anywhere but at the beginning.
CASES = [
    ("open.mp4", "libx264", OPEN_GROUPS, True),
    ("closed.mov", "libx264", CLOSED_GROUPS, True),
    ("open.mkv", "libx264", OPEN_GROUPS, True),
    ("open.ts", "libx264", OPEN_GROUPS, True),
    ("closed.m2ts", "libx264", CLOSED_GROUPS, True),
    ("refresh.mkv", "libx264", REFRESH, False),
    ("open.flv", "libx264", OPEN_GROUPS, True),
    ("open.3gp", "libx264", OPEN_GROUPS, True),
    ("open.avi", "libx264", OPEN_GROUPS, False),
    ("hevc.mp4", "libx265", HEVC, True),
    ("hevc.ts", "libx265", HEVC, True),
    ("part2.mkv", "mpeg4", REORDERED, True),
    ("part2.ts", "mpeg4", REORDERED, True),
    ("part2.avi", "mpeg4", REORDERED, False),
    ("simple.avi", "mpeg4", SIMPLE, True),
    ("motion.avi", "mjpeg", {}, True),
    ("vp9.webm", "libvpx-vp9", SIMPLE, True),
    ("vp8.webm", "libvpx", SIMPLE | {"auto-alt-ref": "1", "lag-in-frames": "8"}, True),
    ("vp8.ogv", "libvpx", SIMPLE, True),
    ("old.flv", "flv", SIMPLE, True),
    ("old.wmv", "wmv2", SIMPLE, True),
    ("old.mpg", "mpeg1video", REORDERED, False),
    ("old.ts", "mpeg2video", REORDERED, True),
    ("disc.vob", "mpeg2video", REORDERED, False),
    ("lossless.mkv", "ffv1", SIMPLE, True),
]
FORMATS = {".wmv": "asf", ".m2ts": "mpegts", ".ogv": "ogg"}


def write_clip(path, codec, options, *, first=0, frames=FRAMES):
    noise = np.random.default_rng(0).integers(0, 200, (frames, 4, 6, 3), dtype=np.uint8)
    with av.open(str(path), "w", format=FORMATS.get(path.suffix)) as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 1_000_000
        for number in range(frames):
            picture = noise[number].repeat(16, axis=0).repeat(16, axis=1)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = first + number
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def count_decoded(monkeypatch):
    decoded = []
    walk = container._Cursor._decode
    monkeypatch.setattr(
        container._Cursor,
        "_decode",
        lambda self, packets: (decoded.append(frame.pts) or frame for frame in walk(self, packets)),
    )
    return decoded


def count_packets(monkeypatch):
    read = []
    real = container._read_packets
    monkeypatch.setattr(container, "_read_packets", lambda *args: read.append(real(*args)) or read[-1])
    return read


def age(path):
    """As if the file had been written a minute ago."""
    minute_ago = time.time() - 60
    os.utime(path, (minute_ago, minute_ago))
    return path


@pytest.mark.parametrize(("name", "codec", "options", "leaps"), CASES)
@pytest.mark.parametrize("first", [0, 500])
def test_a_window_shows_what_decoding_everything_shows(tmp_path, monkeypatch, name, codec, options, leaps, first):
    path = write_clip(tmp_path / name, codec, options, first=first)
    with av.open(str(path)) as file:
        everything = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    index = read_index(path, POLICY)
    assert index.total == len(everything) == FRAMES
    if first == 0 or not name.endswith(".avi"):
        # AVI has no times: what comes before the first frame is written as empty frames after it.
        assert index.duration_seconds == pytest.approx(FRAMES / 25, abs=0.1)
    decoded = count_decoded(monkeypatch)
    for start in range(0, FRAMES, 7):
        wanted = [number for number in (start, start + 1, start + 5, start + 13, start + 20) if number < FRAMES]
        frames = list(decode_frames(path, POLICY, index, wanted))
        np.testing.assert_array_equal(frames, [everything[number] for number in wanted])
    # All windows of five frames decode each group that they touch, not all that comes before.
    assert (len(decoded) < 18 * 40) == leaps


def test_a_long_video_is_demuxed_once_for_all_its_windows(tmp_path, monkeypatch):
    path = age(write_clip(tmp_path / "long.mp4", "mpeg4", SIMPLE, frames=900))
    monkeypatch.setattr(container, "_RECENT", FrameIndexes())
    read = count_packets(monkeypatch)
    decoded = count_decoded(monkeypatch)
    units = read_units(path, POLICY, window_seconds=3.0, overlap_seconds=0.5)
    assert len(units) == 15
    for unit in units:
        part = VideoPart(source=path, start=unit.start, end=unit.end)
        read_video(part, policy=POLICY, sampling=FrameSampling(), budget=PixelBudget())
    assert sum(packets.total for packets in read) == 900
    assert len(decoded) < 2 * 900


def test_an_index_is_read_again_once_the_file_changes(tmp_path):
    path = age(write_clip(tmp_path / "a.mp4", "mpeg4", SIMPLE, frames=20))
    indexes = FrameIndexes()
    first = indexes.find(path, POLICY)
    assert indexes.find(path, POLICY) is first
    # Another policy has other limits.
    assert indexes.find(path, MediaPolicy(max_frames=20)) is not first
    write_clip(path, "mpeg4", SIMPLE, frames=30)
    assert indexes.find(path, POLICY).total == 30
    # What was just written may be written again within the same tick.
    assert indexes.find(path, POLICY) is not indexes.find(path, POLICY)
    age(path)
    assert indexes.find(path, POLICY) is indexes.find(path, POLICY)


def test_few_indexes_are_kept_the_longest_unused_forgotten_first(tmp_path):
    paths = [age(write_clip(tmp_path / f"{name}.mp4", "mpeg4", SIMPLE, frames=20)) for name in "abc"]
    held_bytes = read_index(paths[0], POLICY).held_bytes
    for indexes in (FrameIndexes(most_files=2), FrameIndexes(most_bytes=2 * held_bytes)):
        a, b = (indexes.find(path, POLICY) for path in paths[:2])
        assert indexes.find(paths[0], POLICY) is a
        indexes.find(paths[2], POLICY)
        assert indexes.find(paths[0], POLICY) is a
        assert indexes.find(paths[1], POLICY) is not b


def test_a_million_frames_take_little_memory_and_can_be_sent_to_another_process(tmp_path):
    index = read_index(write_clip(tmp_path / "a.ts", "mpeg2video", REORDERED), POLICY)
    assert index.held_bytes <= 16 * FRAMES
    sent = pickle.loads(pickle.dumps(index))  # noqa: S301 - our own
    np.testing.assert_array_equal(sent.times, index.times)
    decoded = list(decode_frames(tmp_path / "a.ts", POLICY, sent, [50]))
    np.testing.assert_array_equal(decoded, list(decode_frames(tmp_path / "a.ts", POLICY, index, [50])))


def test_damaged_files_say_nothing_on_the_screen(tmp_path, capfd):
    content = bytearray(write_clip(tmp_path / "a.ts", "libx264", OPEN_GROUPS).read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    capfd.readouterr()
    path = tmp_path / "b.ts"
    path.write_bytes(content)
    with suppress(MediaError):
        index = read_index(path, POLICY)
        list(decode_frames(path, POLICY, index, range(index.total)))
    assert capfd.readouterr() == ("", "")
