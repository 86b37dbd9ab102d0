"""The sound of a video, decoded with PyAV to what recognisers of speech take, in stretches that end where it is quiet.

As with frames, FFmpeg runs in processes of its own (`reader_processes`), where `_decode_audio` is called.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import av.error
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from qwen3_vl_retrieval.errors import MediaError
from qwen3_vl_retrieval.media.container import describe_video, open_container
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.media.reader_processes import resolve_dirs, stream

__all__ = ["SAMPLES_PER_SECOND", "AudioStretch", "decode_audio"]

SAMPLES_PER_SECOND = 16_000
"""The rate of Whisper and of most other recognisers of speech."""

_STRETCH_SECONDS = 300
"""Longest stretch: 19 MB, and long enough that little is cut."""

_SEARCH_SECONDS = 30
"""The end of a stretch, in which it is cut where it is most quiet."""

_QUIET_SECONDS = 0.2
"""Length of a moment that is quiet: a pause between words."""

_LONGEST_GAP_SECONDS = 30
"""What is missing of the sound is silence; where more is missing, another stretch begins."""

_LEAST_GAP_SECONDS = 0.1
"""Less is how times of packets are rounded."""

_AUDIBLE = 0.001
"""Amplitude, -60 dB of the loudest: below it nobody speaks, and recognisers make words up."""


@dataclass(frozen=True, slots=True, eq=False)
class AudioStretch:
    """Sound without gaps.

    Attributes:
        start: When it begins, in seconds of the video; below 0 if it does before the first frame.
        samples: `(samples,)`, one channel at `SAMPLES_PER_SECOND`, from -1 to 1.
    """

    start: float
    samples: npt.NDArray[np.float32]


def decode_audio(
    source: Path | bytes, policy: MediaPolicy, *, first_seconds: float, end_seconds: float, shown: str | None = None
) -> Generator[AudioStretch, None, None]:
    """Yields the sound of a video in stretches of five minutes at most, without those in which nothing can be heard.

    Packets that cannot be decoded are left out, and are silence. A video without sound has no stretches.

    Args:
        source: The video.
        policy: What may be opened.
        first_seconds: When the first frame is shown, in seconds of the file: that is 0 in a stretch.
        end_seconds: When the video ends, counted from its first frame: sound behind it is left out.
        shown: Name of the video in errors; `None` is its path, or that it was given as bytes.

    Raises:
        MediaPolicyError: The policy refuses the file, or its sound takes too much time or memory.
        MediaError: The sound cannot be decoded.
    """
    named = describe_video(source) if shown is None else shown
    yield from stream(
        _decode_audio, policy, named, source, resolve_dirs(policy), first_seconds, first_seconds + end_seconds, named
    )


@dataclass(slots=True)
class _Sound:
    """Sound that was decoded, and not yet given away.

    Attributes:
        start: When it begins, in seconds of the file.
        pieces: Its samples, in their order.
        count: Number of samples.
    """

    start: float
    pieces: list[npt.NDArray[np.float32]] = field(default_factory=list[npt.NDArray[np.float32]])
    count: int = 0

    def add(self, samples: npt.NDArray[np.float32]) -> None:
        """Adds samples at the end."""
        self.pieces.append(samples)
        self.count += len(samples)

    def take(self, count: int) -> Iterator[tuple[float, npt.NDArray[np.float32]]]:
        """Yields the first samples and when they begin, if something can be heard, and keeps the others."""
        samples = np.concatenate(self.pieces) if self.pieces else np.zeros(0, dtype=np.float32)
        start, taken, rest = self.start, samples[:count], samples[count:]
        self.start += len(taken) / SAMPLES_PER_SECOND
        self.pieces, self.count = [rest], len(rest)
        if len(taken) and float(np.abs(taken).max()) >= _AUDIBLE:
            yield start, taken

    def find_pause(self) -> int:
        """Returns the sample in the last half minute around which it is most quiet."""
        tail = np.concatenate(self.pieces)[-_SEARCH_SECONDS * SAMPLES_PER_SECOND :]
        moment = int(_QUIET_SECONDS * SAMPLES_PER_SECOND)
        moments = tail[: len(tail) // moment * moment].reshape(-1, moment)
        quietest = int(np.argmin(np.square(moments).mean(axis=1)))
        return self.count - len(tail) + quietest * moment + moment // 2


def _decode_audio(
    source: Path | bytes, policy: MediaPolicy, first_seconds: float, end_seconds: float, shown: str
) -> Generator[AudioStretch, None, None]:
    with open_container(source, policy, shown) as container:
        audio = container.streams.best("audio")
        if not isinstance(audio, AudioStream):
            return
        # PyAV leaves it out where FFmpeg knows no decoder, which its types do not say.
        if cast("object", audio.codec_context) is None:
            raise MediaError(f"the codec of the sound of {shown} is not understood; convert it, for example to AAC")
        for start, samples in _cut_stretches(container, audio, first_seconds, end_seconds):
            yield AudioStretch(start - first_seconds, samples)


def _cut_stretches(
    container: InputContainer, audio: AudioStream, first_seconds: float, end_seconds: float
) -> Iterator[tuple[float, npt.NDArray[np.float32]]]:
    sound = _Sound(first_seconds)
    for begins, samples in _resample(container, audio, first_seconds):
        if begins >= end_seconds:
            break
        gap = begins - (sound.start + sound.count / SAMPLES_PER_SECOND)
        if gap > _LONGEST_GAP_SECONDS or not sound.count:
            yield from sound.take(sound.count)
            sound = _Sound(begins)
        elif gap > _LEAST_GAP_SECONDS:
            sound.add(np.zeros(int(gap * SAMPLES_PER_SECOND), dtype=np.float32))
        sound.add(samples[: max(1, int((end_seconds - begins) * SAMPLES_PER_SECOND))])
        while sound.count > _STRETCH_SECONDS * SAMPLES_PER_SECOND:
            yield from sound.take(sound.find_pause())
    yield from sound.take(sound.count)


def _resample(
    container: InputContainer, audio: AudioStream, first_seconds: float
) -> Iterator[tuple[float, npt.NDArray[np.float32]]]:
    """Yields what each frame becomes, and when it begins in the file."""
    resampler = _make_resampler()
    kind: tuple[str, str, int] | None = None
    expected = first_seconds
    for frame in _decode_frames(container, audio):
        begins = expected if frame.time is None else float(frame.time)
        expected = begins + frame.samples / frame.sample_rate
        found = (frame.format.name, frame.layout.name, frame.sample_rate)
        if found != kind:
            resampler, kind = _make_resampler(), found
        # Times are counted here: the resampler would fill gaps, or complain of them.
        frame.pts = None
        for resampled in resampler.resample(frame):
            yield begins, np.asarray(resampled.to_ndarray()[0], dtype=np.float32)
            begins += resampled.samples / SAMPLES_PER_SECOND


def _decode_frames(container: InputContainer, audio: AudioStream) -> Iterator[AudioFrame]:
    for packet in container.demux(audio):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            # A recording that lacks a packet still says what the others say.
            continue


def _make_resampler() -> AudioResampler:
    return AudioResampler(format="flt", layout="mono", rate=SAMPLES_PER_SECOND)
