"""Video files: opened, indexed and decoded with PyAV, frame by frame as decord numbers and colours them.

The official scripts read files with decord. A frame's number is its place among the packets of the stream sorted by
presentation time, the frame rate is the average one of the header, quarter turns noted in the file are applied, and
colours are converted by swscale from the matrix and range that the frame declares. Pixels are equal to decord's for
8-bit streams; for 10-bit ones the versions of swscale differ by about two levels of 255 on average.
"""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.media.policy import MediaPolicy, check_pixels, open_file, shorten_name

__all__ = ["FrameIndex", "decode_frames", "read_index"]

# Real containers only: playlists (hls, dash, concat, image sequences) open other files and addresses.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,ogg,flv"
_OPTIONS = {
    "format_whitelist": _FORMATS,
    # The content is handed over by this process; a file that names another source gets nothing.
    "protocol_whitelist": "none",
}

# The containers that hold an index with exact times. In the others, times are guessed anew after each leap (MPEG-PS is
# off by a frame), so they are decoded from the beginning.
_SEEKABLE_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")

_MICROSECONDS = 1_000_000
_ALIGNMENT_PIXELS = 1_000_000

_MOST_MISSING_FRAMES = 16
"""Frames in a row that may fail to decode and show the one before instead (decord's `DECORD_REWIND_RETRY_MAX`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameIndex:
    """Where the frames of a stream are.

    Attributes:
        frame_rate: Average frames per second.
        times: Presentation time of each frame in units of the stream, rising; `()` if the file does not say.
        key_times: The times from which decoding can start, rising.
        total: Frames in the stream.
    """

    frame_rate: float
    times: tuple[int, ...]
    key_times: tuple[int, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenClip:
    container: InputContainer
    stream: VideoStream
    width: int
    height: int
    shown: str


class _MisplacedSeekError(Exception):
    """Seeking led past the frame that was sought."""


def read_index(source: Path | bytes, policy: MediaPolicy, *, shown: str | None = None) -> FrameIndex:
    """Returns the places of all frames of a file, found by reading its packets without decoding them.

    `shown` names the clip in errors; `None` is its path, or that it was given as bytes.

    Raises:
        MediaPolicyError: The clip is longer than `max_duration_seconds`, or has more than `max_frames`, or frames of
            more than `max_pixels`.
        MediaError: The file is not a video in an allowed container, is truncated, has no frame rate or frames, or a
            codec that is not understood.
    """
    with _open_clip(source, policy, shown) as clip:
        _check_duration(clip, clip.container.duration, 1 / _MICROSECONDS, policy)
        time_base = clip.stream.time_base
        rate = clip.stream.average_rate or clip.stream.guessed_rate
        if not rate or not time_base:
            raise MediaError(f"{clip.shown} does not declare a frame rate; convert it to MP4 or WebM")
        packets = list(_read_packets(clip, policy))
        times = sorted(time for time, _ in packets if time is not None)
        if times:
            _check_duration(clip, times[-1] - times[0], float(time_base), policy)
        is_timed = len(set(times)) == len(packets)
        return FrameIndex(
            frame_rate=rate.numerator / rate.denominator,
            times=tuple(times) if is_timed else (),
            key_times=tuple(sorted(time for time, is_key in packets if is_key and time is not None and is_timed)),
            total=len(packets),
        )


def decode_frames(
    source: Path | bytes, policy: MediaPolicy, index: FrameIndex, wanted: Sequence[int], *, shown: str | None = None
) -> Generator[npt.NDArray[np.uint8], None, None]:
    """Yields the frames numbered `wanted` (rising, repetitions allowed) as RGB arrays, (height, width, 3).

    A frame that the decoder leaves out is shown as the one before it; more than 16 in a row are an error. `shown` names
    the clip in errors; `None` is its path, or that it was given as bytes.

    Raises:
        MediaPolicyError: A frame has more than `max_pixels`.
        MediaError: The file is truncated or damaged.
    """
    done = 0
    for may_seek in (True, False):
        with _open_clip(source, policy, shown) as clip:
            cursor = _Cursor(clip, index, may_seek=may_seek)
            try:
                for number in wanted[done:]:
                    frame = cursor.show(number)
                    check_pixels(frame.width, frame.height, policy, shown=f"a frame of {clip.shown}")
                    yield _convert(frame, clip)
                    done += 1
            except _MisplacedSeekError:
                # The index of the file is wrong: once more from the beginning, decoding every frame.
                continue
            return


class _Cursor:
    """Walks a stream in presentation order, leaping to key frames where that skips frames."""

    def __init__(self, clip: _OpenClip, index: FrameIndex, *, may_seek: bool) -> None:
        self._clip = clip
        self._index = index
        self._may_seek = may_seek and clip.container.format.name in _SEEKABLE_FORMATS
        self._following = self._decode()
        self._ahead = next(self._following, None)
        self._shown: tuple[int, VideoFrame] | None = None

    def show(self, number: int) -> VideoFrame:
        """Returns frame `number`; numbers must not fall from call to call."""
        target = self._index.times[number] if self._index.times else number
        self._leap(target)
        while self._ahead is not None and self._ahead[0] <= target:
            self._shown, self._ahead = self._ahead, next(self._following, None)
        found = self._shown or self._ahead
        if found is None or abs(number - self._number(found[0])) > _MOST_MISSING_FRAMES:
            raise MediaError(f"frame {number} of {self._clip.shown} cannot be decoded: it is truncated or damaged")
        return found[1]

    def _decode(self) -> Iterator[tuple[int, VideoFrame]]:
        for number, frame in enumerate(self._clip.container.decode(self._clip.stream)):
            position = frame.pts if self._index.times else number
            if position is not None:
                yield position, frame

    def _leap(self, target: int) -> None:
        keys = self._index.key_times
        place = bisect_right(keys, target) - 1
        if not self._may_seek or place < 0 or self._ahead is None or keys[place] <= self._ahead[0]:
            return
        self._clip.container.seek(keys[place], stream=self._clip.stream)
        self._following = self._decode()
        self._ahead, self._shown = next(self._following, None), None
        if self._ahead is None or self._ahead[0] > target:
            raise _MisplacedSeekError

    def _number(self, position: int) -> int:
        return bisect_left(self._index.times, position) if self._index.times else position


@contextmanager
def _open_clip(source: Path | bytes, policy: MediaPolicy, shown: str | None) -> Generator[_OpenClip, None, None]:
    """Opens the file, closes it, and turns what FFmpeg raises in between into `MediaError`."""
    if shown is None:
        shown = f"the clip {shorten_name(str(source))!r}" if isinstance(source, Path) else "the clip given as bytes"
    file = io.BytesIO(source) if isinstance(source, bytes) else open_file(source, policy)
    try:
        with file, av.open(file, "r", options=dict(_OPTIONS), metadata_errors="replace") as container:
            yield _find_stream(container, shown, policy)
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(
            f"{shown} cannot be decoded ({error.strerror}): it is truncated, damaged, or not one of the containers "
            "MP4/MOV, Matroska/WebM, AVI, MPEG-PS, MPEG-TS, Ogg and FLV"
        ) from error


def _find_stream(container: InputContainer, shown: str, policy: MediaPolicy) -> _OpenClip:
    stream = container.streams.best("video")
    # The cover of an audio file is a video stream of one picture.
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
    return _OpenClip(container=container, stream=stream, width=width, height=height, shown=shown)


def _read_packets(clip: _OpenClip, policy: MediaPolicy) -> Iterator[tuple[int | None, bool]]:
    count = 0
    for packet in clip.container.demux(clip.stream):
        # The last packet is empty and flushes the decoder; discarded ones lie outside the edit list.
        if packet.size == 0 or packet.is_discard:
            continue
        if packet.is_corrupt:
            raise MediaError(f"{clip.shown} is truncated or damaged after frame {count}")
        count += 1
        if count > policy.max_frames:
            raise MediaPolicyError(
                f"{clip.shown} has more than max_frames={policy.max_frames:,} frames; "
                "cut it, or raise max_frames of the MediaPolicy"
            )
        yield packet.pts, packet.is_keyframe
    if count == 0:
        raise MediaError(f"{clip.shown} has no frames: it is truncated or damaged")


def _check_duration(clip: _OpenClip, length: int | None, unit_seconds: int | float, policy: MediaPolicy) -> None:
    if length is not None and length * unit_seconds > policy.max_duration_seconds:
        raise MediaPolicyError(
            f"{clip.shown} lasts {length * unit_seconds:,.0f} seconds, above max_duration_seconds="
            f"{policy.max_duration_seconds:g}; cut it, or raise max_duration_seconds of the MediaPolicy"
        )


def _convert(frame: VideoFrame, clip: _OpenClip) -> npt.NDArray[np.uint8]:
    if (frame.width, frame.height) != (clip.width, clip.height):
        frame = frame.reformat(width=clip.width, height=clip.height, format="rgb24", interpolation="BICUBIC")
    pixels = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    quarter_turns = frame.rotation // 90 if frame.rotation % 90 == 0 else 0
    return np.rot90(pixels, quarter_turns)
