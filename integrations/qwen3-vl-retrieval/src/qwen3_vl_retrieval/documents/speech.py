"""What is said in a video: its sound is transcribed once, and each window has what is said in it as its text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.errors import MediaError
from qwen3_vl_retrieval.media.policy import MediaPolicy, resolve_path

if TYPE_CHECKING:
    from qwen3_vl_retrieval.media.frame_index import FrameIndex

__all__ = ["TranscribeSpeech", "Utterance", "read_window_speech"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """Something that is said, such as a sentence.

    Attributes:
        start: When it begins, in seconds of the sound.
        end: When it ends.
        text: The words.
    """

    start: float
    end: float
    text: str


TranscribeSpeech: TypeAlias = Callable[[npt.NDArray[np.float32]], Iterable[Utterance]]
"""Returns what is said in sound, `(samples,)` of one channel at 16,000 samples a second, from -1 to 1.

It is given up to five minutes at a time, cut where it is quiet, and nothing that is silent. What it returns has the
times of what it was given."""


def read_window_speech(
    path: Path,
    policy: MediaPolicy,
    windows: Sequence[tuple[float, float]],
    transcribe: TranscribeSpeech,
    *,
    by_time: bool = True,
) -> list[str | None]:
    """Returns what is said in each window of a video; `None` for a window in which nothing is.

    Subtitles of the file go first: where there are some, nothing is transcribed. What is said over the end of a window
    stands in both windows. Sound that cannot be decoded is a warning in the log: the frames are still read, and what
    was understood until then is kept.

    Args:
        path: The video.
        policy: What may be opened, and how large it may be.
        windows: Start and end of each, see `cut_windows`.
        transcribe: Turns sound into words.
        by_time: As in `cut_windows`.

    Raises:
        MediaPolicyError: The policy refuses the file.
        MediaError: The video has no frames that can be read.
    """
    from qwen3_vl_retrieval.media.container import find_index

    resolved = resolve_path(path, policy)
    index = find_index(resolved, policy)
    said = _read_said(resolved, policy, index, transcribe)
    texts: list[str | None] = []
    for window in windows:
        start, end = window if by_time else (_find_second(index, edge) for edge in window)
        words = [one.text.strip() for one in said if one.start < end and one.end > start]
        text = " ".join(word for word in words if word)
        texts.append(text if text else None)
    return texts


def _read_said(path: Path, policy: MediaPolicy, index: FrameIndex, transcribe: TranscribeSpeech) -> list[Utterance]:
    from qwen3_vl_retrieval.media.subtitles import read_subtitles

    with suppress(MediaError):
        # What is wrong with the file is found again by whoever reads its sound.
        if subtitles := read_subtitles(path, policy, first_seconds=index.first_seconds):
            return [Utterance(start=one.start, end=one.end, text=one.text) for one in subtitles]
    return _transcribe(path, policy, index, transcribe)


def _transcribe(path: Path, policy: MediaPolicy, index: FrameIndex, transcribe: TranscribeSpeech) -> list[Utterance]:
    from qwen3_vl_retrieval.media.audio import decode_audio

    said: list[Utterance] = []
    stretches = decode_audio(
        path, policy, first_seconds=index.first_seconds, end_seconds=float(index.seconds[-1]) + index.last_seconds
    )
    try:
        with closing(stretches):
            for stretch in stretches:
                said += [
                    Utterance(start=stretch.start + one.start, end=stretch.start + one.end, text=one.text)
                    for one in transcribe(stretch.samples)
                ]
    except MediaError as error:
        _LOGGER.warning("what is said in %s is not read to its end: %s", path, error.reason)
    return said


def _find_second(index: FrameIndex, edge: float) -> float:
    """When the frame is shown whose number over the average rate is `edge`."""
    number = round(edge * index.frame_rate)
    return float(index.seconds[number]) if number < index.total else float(index.seconds[-1]) + index.last_seconds
