"""Videos in which words are tones, and who hears them."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.subtitles.subtitle import SubtitleSet
from PIL import Image

from qwen3_vl_retrieval.index import Utterance

WORDS = {"apple": 500, "banana": 900, "cherry": 1400}
"""The frequency of each word, in hertz."""

_RATE = 22_050
_MOMENT_SECONDS = 0.1


def write_spoken_video(
    path: Path,
    spoken: Mapping[tuple[float, float], str] | None,
    *,
    seconds: float,
    sound_from: float = 0.0,
    frame_rate: int = 4,
    codec: str = "pcm_s16le",
    subtitles: Mapping[tuple[float, float], str] | None = None,
) -> Path:
    """Writes a video in which words are heard at times of its own; `None` is without any sound.

    The sound begins at `sound_from`: what is before is missing, and not silent. Subtitles say what they like.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=frame_rate)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        lines = None if subtitles is None else container.add_stream("ass")
        if lines is not None:
            lines.codec_context.subtitle_header = b"[Script Info]\nScriptType: v4.00+\n\n[Events]\n"
        audio = None if spoken is None else container.add_stream(codec, rate=_RATE, layout="stereo")
        if lines is not None and subtitles is not None:
            for (start, end), text in subtitles.items():
                shown = SubtitleSet.create(
                    b"0,0,Default,,0,0,0,," + text.encode(), 0, round((end - start) * 1000), round(start * 1000)
                )
                packet = lines.codec_context.encode_subtitle(shown)
                packet.stream, packet.duration = lines, round((end - start) * 1000)
                container.mux(packet)
        for number in range(round(seconds * frame_rate)):
            image = Image.new("RGB", (64, 48), (number % 200, 90, 40))
            container.mux(video.encode(av.VideoFrame.from_image(image)))
        container.mux(video.encode())
        if audio is not None and spoken is not None:
            samples = _draw_sound(spoken, seconds)
            first = round(sound_from * _RATE)
            for start, end in pairwise(range(first, len(samples) + 1024, 1024)):
                part = np.repeat(samples[None, start:end], 2, axis=0)
                if not part.size:
                    break
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = _RATE, start, Fraction(1, _RATE)
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def hear_tones(samples: np.ndarray) -> list[Utterance]:
    """Returns the words in sound of 16,000 samples a second."""
    count = round(_MOMENT_SECONDS * 16_000)
    heard: list[Utterance] = []
    for place in range(len(samples) // count):
        moment = samples[place * count : (place + 1) * count]
        word = _name_tone(moment)
        start = place * _MOMENT_SECONDS
        if word is None:
            continue
        if heard and heard[-1].text == word and start - heard[-1].end < _MOMENT_SECONDS / 2:
            start = heard.pop().start
        heard.append(Utterance(start=start, end=(place + 1) * _MOMENT_SECONDS, text=word))
    return heard


def hear_nothing_but_apples(samples: np.ndarray) -> list[Utterance]:
    """Returns the same without other words."""
    return [one for one in hear_tones(samples) if one.text == "apple"]


def _draw_sound(spoken: Mapping[tuple[float, float], str], seconds: float) -> np.ndarray:
    samples = np.zeros(round(seconds * _RATE), dtype=np.float32)
    for (start, end), word in spoken.items():
        places = np.arange(round(start * _RATE), round(end * _RATE))
        samples[places] = 0.3 * np.sin(2 * np.pi * WORDS[word] * places / _RATE)
    return samples


def _name_tone(moment: np.ndarray) -> str | None:
    if np.abs(moment).mean() < 0.05:
        return None
    loudest = float(np.argmax(np.abs(np.fft.rfft(moment)))) / _MOMENT_SECONDS
    word = min(WORDS, key=lambda one: abs(WORDS[one] - loudest))
    return word if abs(WORDS[word] - loudest) < 50 else None
