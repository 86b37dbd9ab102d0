"""The subtitles that are in a video file as text, read with PyAV in a process of its own, as frames are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle

from qwen3_vl_retrieval.media.container import describe_video, open_container
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.media.reader_processes import read, resolve_dirs

__all__ = ["Subtitle", "read_subtitles"]

_STYLE = re.compile(r"\{[^}]*\}")
"""Where and how lines are shown, in the notation of Advanced SubStation Alpha, to which FFmpeg converts all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtitle:
    """What is shown as text over some frames.

    Attributes:
        start: When it appears, in seconds of the video.
        end: When it vanishes.
        text: The words, on one line.
    """

    start: float
    end: float
    text: str


def read_subtitles(
    source: Path | bytes, policy: MediaPolicy, *, first_seconds: float, shown: str | None = None
) -> list[Subtitle]:
    """Returns the subtitles of the default stream that has text; none if there is no such stream.

    Images of text (DVD, Blu-ray) are left out, and streams that only translate what is said in another language.

    Args:
        source: The video.
        policy: What may be opened.
        first_seconds: When the first frame is shown, in seconds of the file: that is 0 in a subtitle.
        shown: Name of the video in errors; `None` is its path, or that it was given as bytes.

    Raises:
        MediaPolicyError: The policy refuses the file, or reading it takes too much time or memory.
        MediaError: The file cannot be opened.
    """
    named = describe_video(source) if shown is None else shown
    return read(_read_subtitles, policy, named, source, resolve_dirs(policy), first_seconds, named)


def _read_subtitles(source: Path | bytes, policy: MediaPolicy, first_seconds: float, shown: str) -> list[Subtitle]:
    with open_container(source, policy, shown) as container:
        streams = sorted(container.streams.subtitles, key=lambda one: Disposition.default not in one.disposition)
        # Forced subtitles say what the sound does not: most of what is said is missing.
        for stream in streams:
            if Disposition.forced not in stream.disposition:
                found = list(_read_stream(container, stream, first_seconds))
                if found:
                    return found
                container.seek(0)
    return []


def _read_stream(container: InputContainer, stream: SubtitleStream, first_seconds: float) -> Iterator[Subtitle]:
    for packet in container.demux(stream):
        if packet.pts is None or not packet.size:
            continue
        try:
            shown = stream.decode(packet)
        except av.error.InvalidDataError:
            continue
        lines = [one.dialogue.decode("utf-8", "replace") for one in shown if isinstance(one, AssSubtitle)]
        text = " ".join(_STYLE.sub("", " ".join(lines)).split())
        start = float(packet.pts * packet.time_base) - first_seconds
        if text:
            yield Subtitle(start=start, end=start + float((packet.duration or 0) * packet.time_base), text=text)
