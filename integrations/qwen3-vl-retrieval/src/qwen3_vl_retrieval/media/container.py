"""Video files: opened, indexed and decoded with PyAV, frame by frame as decord numbers and colours them.

FFmpeg runs in processes of its own (`reader_processes`), where `_read_index` and `_decode_frames` are called.

The official scripts read files with decord. A frame's number is its place among the packets of the stream sorted by
presentation time, quarter turns noted in the file are applied, and colours are converted by swscale from the matrix and
range that the frame declares. Pixels are equal to decord's for 8-bit streams; for 10-bit ones the versions of swscale
differ by about two levels of 255 on average.
"""

from __future__ import annotations

import io
import time
from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeAlias, cast

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.media.frame_index import FrameIndex
from qwen3_vl_retrieval.media.policy import MediaPolicy, check_pixels, open_file, shorten_name
from qwen3_vl_retrieval.media.reader_processes import read, resolve_dirs, stream

__all__ = ["FrameIndexes", "decode_frames", "describe_video", "find_index", "open_container", "read_index"]

_MOST_FILES = 64
_MOST_BYTES = 64 * 1024 * 1024
"""Kept at most: eight hours at 60 frames a second take 14 MB."""

_SETTLED_SECONDS = 2.0
"""A file written since may be written once more without its time of change moving on: some file systems count in
whole seconds, FAT in two."""

_Signature: TypeAlias = "tuple[str, MediaPolicy, int, int, int, int, int]"

# Real containers only: playlists (hls, dash, concat, image sequences) open other files and addresses.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,ogg,flv,asf"
_OPTIONS = {
    "format_whitelist": _FORMATS,
    # The content is handed over by this process; a file that names another source gets nothing.
    "protocol_whitelist": "none",
}

# The containers that store a time for each frame. AVI stores the order of decoding only, MPEG-PS the times of some
# frames: FFmpeg guesses the rest, and wrongly once frames are reordered, so they are decoded in order and counted.
_TIMED_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "ogg", "flv", "asf")
_TIMED_UNLESS_REORDERED = "avi"

_MICROSECONDS = 1_000_000
_ALIGNMENT_PIXELS = 1_000_000

_MOST_MISSING_FRAMES = 16
"""Frames in a row that may fail to decode and show the one before instead (decord's `DECORD_REWIND_RETRY_MAX`)."""

_DEPENDENT_TYPES = (PictureType.P, PictureType.B)
"""What a key frame is not. Streams that refresh a strip at a time mark such frames, and are whole some frames later."""

_SEEKS = 3
"""Key frames to seek before giving up: MPEG-TS leads to the one after the time that is sought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenVideo:
    container: InputContainer
    stream: VideoStream
    width: int
    height: int
    shown: str


class _MisplacedSeekError(Exception):
    """Seeking led past the frame that was sought."""


def read_index(source: Path | bytes, policy: MediaPolicy, *, shown: str | None = None) -> FrameIndex:
    """Returns the places of all frames of a file, found by reading its packets without decoding them.

    `shown` names the video in errors; `None` is its path, or that it was given as bytes.

    Raises:
        MediaPolicyError: The video is longer than `max_duration_seconds`, or has more than `max_frames`, or frames of
            more than `max_pixels`.
        MediaError: The file is not a video in an allowed container, is truncated, has no frames, neither a frame rate
            nor times, or a codec that is not understood.
    """
    named = describe_video(source) if shown is None else shown
    return read(_read_index, policy, named, source, resolve_dirs(policy), named)


def _read_index(source: Path | bytes, policy: MediaPolicy, shown: str) -> FrameIndex:
    with _open_video(source, policy, shown) as video:
        _check_duration(video, video.container.duration, 1 / _MICROSECONDS, policy)
        packets = _read_packets(video, policy)
        index = _build_index(video, packets)
        _check_duration(video, 1, index.duration_seconds, policy)
        return index


def decode_frames(
    source: Path | bytes, policy: MediaPolicy, index: FrameIndex, wanted: Sequence[int], *, shown: str | None = None
) -> Generator[npt.NDArray[np.uint8], None, None]:
    """Yields the frames numbered `wanted` (rising, repetitions allowed) as RGB arrays, (height, width, 3).

    A frame that the decoder leaves out is shown as the one before it; more than 16 in a row are an error. `shown` names
    the video in errors; `None` is its path, or that it was given as bytes.

    Raises:
        MediaPolicyError: A frame has more than `max_pixels`.
        MediaError: The file is truncated or damaged.
    """
    named = describe_video(source) if shown is None else shown
    yield from stream(_decode_frames, policy, named, source, resolve_dirs(policy), index, wanted, named)


def _decode_frames(
    source: Path | bytes, policy: MediaPolicy, index: FrameIndex, wanted: Sequence[int], shown: str
) -> Generator[npt.NDArray[np.uint8], None, None]:
    done = 0
    for may_seek in (True, False):
        with _open_video(source, policy, shown) as video:
            cursor = _Cursor(video, index, may_seek=may_seek)
            try:
                for number in wanted[done:]:
                    frame = cursor.show(number)
                    check_pixels(frame.width, frame.height, policy, shown=f"a frame of {video.shown}")
                    yield _convert(frame, video)
                    done += 1
            except _MisplacedSeekError:
                # The index of the file is wrong: once more from the beginning, decoding every frame.
                continue
            return


class _Cursor:
    """Walks a stream in presentation order, leaping to key frames where that skips frames.

    A leap is exact: decoding starts at the very packet that the index knows as the key frame, and every frame after it
    has to carry a time that the index knows, too.
    """

    def __init__(self, video: _OpenVideo, index: FrameIndex, *, may_seek: bool) -> None:
        self._video = video
        self._index = index
        key_times = index.key_times if may_seek and index.is_matched else np.zeros(0, dtype=np.int64)
        self._key_times: list[int] = np.asarray(key_times, dtype=np.int64).tolist()
        self._has_leapt = False
        self._following = self._number(self._decode(video.container.demux(video.stream)))
        self._ahead = next(self._following, None)
        self._shown: tuple[int, VideoFrame] | None = None

    def show(self, number: int) -> VideoFrame:
        """Returns frame `number`; numbers must not fall from call to call."""
        self._leap(number)
        while self._ahead is not None and self._ahead[0] <= number:
            self._shown, self._ahead = self._ahead, next(self._following, None)
        found = self._shown or self._ahead
        if found is None or abs(number - found[0]) > _MOST_MISSING_FRAMES:
            raise MediaError(f"frame {number} of {self._video.shown} cannot be decoded: it is truncated or damaged")
        return found[1]

    def _leap(self, number: int) -> None:
        if self._ahead is None or len(self._key_times) == 0:
            return
        place = bisect_right(self._key_times, int(self._index.times[number])) - 1
        key_time = self._key_times[max(place, 0)]
        key_number = int(np.searchsorted(self._index.times, key_time))
        if not self._ahead[0] < key_number <= number:
            return
        self._has_leapt = True
        for earlier in range(min(_SEEKS, place + 1)):
            self._video.container.seek(self._key_times[place - earlier], stream=self._video.stream)
            packets = self._start_at(key_time)
            if packets is not None:
                break
        else:
            raise _MisplacedSeekError
        self._following = self._number(self._decode(packets))
        # Frames that are shown before the key frame follow it in the file, and depend on what was skipped.
        self._ahead = next((pair for pair in self._following if pair[0] >= key_number), None)
        self._shown = None
        if self._ahead is None or self._ahead[0] != key_number or self._ahead[1].pict_type in _DEPENDENT_TYPES:
            raise _MisplacedSeekError

    def _start_at(self, key_time: int) -> Iterator[Packet[VideoStream]] | None:
        """The packets from the key frame of that time on; `None` if seeking led past it."""
        packets = self._video.container.demux(self._video.stream)
        for packet in packets:
            if packet.is_keyframe and packet.pts is not None and packet.pts >= key_time:
                return chain([packet], packets) if packet.pts == key_time else None
        return None

    def _decode(self, packets: Iterable[Packet[VideoStream]]) -> Iterator[VideoFrame]:
        for packet in packets:
            yield from packet.decode()

    def _number(self, frames: Iterable[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
        times = self._index.times
        before: int | None = None
        number = -1
        for frame in frames:
            time = frame.pts
            if not self._index.is_matched:
                # A file that is cut in the middle of a group of frames begins with some that cannot be decoded.
                number = int(np.searchsorted(times, time)) if number < 0 and time is not None else number + 1
            elif time is None:
                continue
            elif time == before:
                number += 1
            else:
                number = int(np.searchsorted(times, time))
                if self._has_leapt and (number == len(times) or times[number] != time):
                    raise _MisplacedSeekError
            before = time
            yield number, frame


def describe_video(source: Path | bytes) -> str:
    """Returns how messages name a video."""
    return f"the video {shorten_name(str(source))!r}" if isinstance(source, Path) else "the video given as bytes"


@contextmanager
def open_container(source: Path | bytes, policy: MediaPolicy, shown: str) -> Generator[InputContainer, None, None]:
    """Opens a file, closes it, and turns what FFmpeg raises in between into `MediaError`; for use in a reader."""
    file = io.BytesIO(source) if isinstance(source, bytes) else open_file(source, policy)
    try:
        with file, av.open(file, "r", options=dict(_OPTIONS), metadata_errors="replace") as container:
            yield container
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(
            f"{shown} cannot be decoded ({error.strerror}): it is truncated, damaged, or not one of the containers "
            "MP4/MOV, Matroska/WebM, AVI, MPEG-PS, MPEG-TS, Ogg, FLV and ASF/WMV"
        ) from error


@contextmanager
def _open_video(source: Path | bytes, policy: MediaPolicy, shown: str) -> Generator[_OpenVideo, None, None]:
    with open_container(source, policy, shown) as container:
        yield _find_stream(container, shown, policy)


def _find_stream(container: InputContainer, shown: str, policy: MediaPolicy) -> _OpenVideo:
    stream = container.streams.best("video")
    # The cover of an audio file is a video stream of one image.
    if not isinstance(stream, VideoStream) or Disposition.attached_pic in stream.disposition:
        raise MediaError(
            f"{shown} has no video, only {', '.join(sorted({s.type for s in container.streams})) or 'data'}"
        )
    # PyAV leaves it out where FFmpeg knows no decoder, which its types do not say.
    if cast("object", stream.codec_context) is None:
        raise MediaError(f"the codec of {shown} is not understood; convert it, for example to H.264 in MP4")
    width, height = stream.codec_context.width, stream.codec_context.height
    check_pixels(width, height, policy, shown=f"a frame of {shown}")
    # Streams may change their size on the way: the decoder refuses before it allocates. It counts its own alignment,
    # so it is given room, and frames are measured again once decoded.
    stream.codec_context.options = {"max_pixels": str(2 * policy.max_pixels + _ALIGNMENT_PIXELS)}
    stream.thread_type = "AUTO"
    return _OpenVideo(container=container, stream=stream, width=width, height=height, shown=shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packets:
    """What was read of the packets, in the order of decoding.

    Attributes:
        times: When they are shown; shorter if some do not say.
        decoding_times: When they are decoded; shorter if some do not say.
        key_times: When key frames are shown.
        last_units: How long the last one is shown; 0 if it is not said.
        total: Number of packets.
    """

    times: array[int]
    decoding_times: array[int]
    key_times: array[int]
    last_units: int
    total: int


def _read_packets(video: _OpenVideo, policy: MediaPolicy) -> _Packets:
    times, decoding_times, key_times = array("q"), array("q"), array("q")
    last_time = last_units = count = 0
    for packet in video.container.demux(video.stream):
        # The last packet is empty and flushes the decoder; discarded ones lie outside the edit list.
        if packet.size == 0 or packet.is_discard:
            continue
        if packet.is_corrupt:
            raise MediaError(f"{video.shown} is truncated or damaged after frame {count}")
        count += 1
        if count > policy.max_frames:
            raise MediaPolicyError(
                f"{video.shown} has more than max_frames={policy.max_frames:,} frames; "
                "cut it, or raise max_frames of the MediaPolicy"
            )
        if packet.dts is not None:
            decoding_times.append(packet.dts)
        if packet.pts is not None:
            if not times or packet.pts >= last_time:
                last_time, last_units = packet.pts, packet.duration or 0
            times.append(packet.pts)
            if packet.is_keyframe:
                key_times.append(packet.pts)
    if count == 0:
        raise MediaError(f"{video.shown} has no frames: it is truncated or damaged")
    return _Packets(times=times, decoding_times=decoding_times, key_times=key_times, last_units=last_units, total=count)


def _build_index(video: _OpenVideo, packets: _Packets) -> FrameIndex:
    name = video.container.format.name
    is_timed = len(packets.times) == packets.total
    # In the order of decoding, frames are as far apart as in that of showing.
    found = packets.times if is_timed else packets.decoding_times
    times = np.sort(np.array(found if len(found) == packets.total else (), dtype=np.int64))
    unit_seconds = 0.0 if video.stream.time_base is None else float(video.stream.time_base)
    rate = float(video.stream.average_rate or video.stream.guessed_rate or 0)
    span_seconds = float(times[-1] - times[0]) * unit_seconds if len(times) else 0.0
    if span_seconds == 0:
        # All frames at one time say as little as no times.
        times = times[:0]
        if rate == 0:
            raise MediaError(f"{video.shown} declares neither a frame rate nor times; convert it to MP4 or WebM")
    gaps = np.diff(times)
    usual_seconds = float(np.median(gaps[gaps > 0])) * unit_seconds if len(times) else 1 / rate
    is_matched = (
        is_timed
        and len(times) > 0
        and (
            name in _TIMED_FORMATS or (name == _TIMED_UNLESS_REORDERED and not video.stream.codec_context.has_b_frames)
        )
    )
    return FrameIndex(
        frame_rate=rate or (packets.total - 1) / span_seconds,
        total=packets.total,
        times=times,
        key_times=np.unique(np.array(packets.key_times if is_matched else (), dtype=np.int64)),
        unit_seconds=unit_seconds,
        last_seconds=packets.last_units * unit_seconds if packets.last_units > 0 else usual_seconds,
        is_matched=is_matched,
    )


def _check_duration(video: _OpenVideo, length: int | None, unit_seconds: int | float, policy: MediaPolicy) -> None:
    if length is not None and length * unit_seconds > policy.max_duration_seconds:
        raise MediaPolicyError(
            f"{video.shown} lasts {length * unit_seconds:,.0f} seconds, above max_duration_seconds="
            f"{policy.max_duration_seconds:g}; cut it, or raise max_duration_seconds of the MediaPolicy"
        )


def _convert(frame: VideoFrame, video: _OpenVideo) -> npt.NDArray[np.uint8]:
    if (frame.width, frame.height) != (video.width, video.height):
        frame = frame.reformat(width=video.width, height=video.height, format="rgb24", interpolation="BICUBIC")
    pixels = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    quarter_turns = frame.rotation // 90 if frame.rotation % 90 == 0 else 0
    return np.rot90(pixels, quarter_turns)


class FrameIndexes:
    """Frame indexes by file, the longest unused forgotten first.

    A file is known by its path, device, inode, size and times of change. Safe to use from several threads, and after a
    fork: there is no lock, and two threads at a time may read a file twice.

    Args:
        most_files: Indexes to keep.
        most_bytes: Memory that they may take.
    """

    def __init__(self, *, most_files: int = _MOST_FILES, most_bytes: int = _MOST_BYTES) -> None:
        self._most_files = most_files
        self._most_bytes = most_bytes
        # Replaced as a whole, never changed.
        self._entries: dict[_Signature, FrameIndex] = {}

    def find(self, source: Path | bytes, policy: MediaPolicy, *, shown: str | None = None) -> FrameIndex:
        """Returns the index of a video, kept or read now; see `read_index` for what it raises."""
        signature = _sign(source, policy)
        if signature is None:
            return read_index(source, policy, shown=shown)
        index = self._entries.get(signature)
        if index is None:
            index = read_index(source, policy, shown=shown)
            if _sign(source, policy) != signature:
                # It changed while it was read.
                return index
        self._keep(signature, index)
        return index

    def _keep(self, signature: _Signature, index: FrameIndex) -> None:
        entries = {known: kept for known, kept in self._entries.items() if known != signature} | {signature: index}
        while len(entries) > self._most_files or sum(kept.held_bytes for kept in entries.values()) > self._most_bytes:
            del entries[next(iter(entries))]
        self._entries = entries


def _sign(source: Path | bytes, policy: MediaPolicy) -> _Signature | None:
    """What tells a file from another and from what it was; `None` for bytes, and for what may still be written."""
    if isinstance(source, bytes):
        return None
    try:
        state = source.stat()
    except OSError:
        # Whoever reads it says what is wrong with it.
        return None
    if time.time() - state.st_mtime < _SETTLED_SECONDS:
        return None
    place = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    return (str(source), policy, *place)


_RECENT = FrameIndexes()


def find_index(source: Path | bytes, policy: MediaPolicy, *, shown: str | None = None) -> FrameIndex:
    """Returns the index of a video from those kept for the whole process; see `read_index` for what it raises."""
    return _RECENT.find(source, policy, shown=shown)
