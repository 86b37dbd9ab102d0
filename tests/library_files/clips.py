"""Videos of moving shapes, in H.264: a short one, and two that are longer than a window of the index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.video.frame import VideoFrame
from PIL import Image, ImageDraw

__all__ = ["write_clips"]

_DrawFrame: TypeAlias = Callable[[ImageDraw.ImageDraw, float], None]
"""Draws the frame of a second."""

_SIZE = (256, 160)


def write_clips(folder: Path) -> list[Path]:
    """Writes the videos into `folder/videos`; returns their paths."""
    clips = folder / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    _encode(clips / "conveyor-belt.mp4", _draw_conveyor, seconds=6, frame_rate=8)
    _encode(clips / "parking-camera.mp4", _draw_parking, seconds=64, frame_rate=2)
    _encode(clips / "ball-demonstration.mp4", _draw_ball, seconds=40, frame_rate=4)
    return [clips / name for name in ("conveyor-belt.mp4", "parking-camera.mp4", "ball-demonstration.mp4")]


def _encode(path: Path, draw_frame: _DrawFrame, *, seconds: int, frame_rate: int) -> None:
    """Encodes on one thread and without a record of the encoder, so that the bytes do not depend on the machine."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=frame_rate)
        stream.width, stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "28", "preset": "slow", "threads": "1", "g": str(frame_rate * 5), "flags": "+bitexact"}
        for number in range(seconds * frame_rate):
            picture = Image.new("RGB", _SIZE, (222, 226, 230))
            draw_frame(ImageDraw.Draw(picture), number / frame_rate)
            container.mux(stream.encode(VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")))
        container.mux(stream.encode(None))


def _draw_conveyor(draw: ImageDraw.ImageDraw, second: float) -> None:
    """Boxes of three colours travel to the right."""
    draw.rectangle((0, 110, 256, 126), fill=(60, 64, 70))
    for place, color in enumerate(((200, 42, 42), (240, 190, 40), (38, 84, 170))):
        left = (second * 48 + place * 96) % 300 - 44
        draw.rectangle((left, 70, left + 40, 110), fill=color)


def _draw_parking(draw: ImageDraw.ImageDraw, second: float) -> None:
    """An empty car park; at 40 seconds a red car drives in, and stays."""
    draw.rectangle((0, 60, 256, 160), fill=(112, 116, 120))
    for left in (20, 90, 160, 230):
        draw.line((left, 70, left, 150), fill=(240, 240, 240), width=3)
    if second >= 40:
        left = max(100.0, 256 - (second - 40) * 40)
        draw.rounded_rectangle((left, 90, left + 54, 126), radius=8, fill=(200, 42, 42))
        draw.rectangle((left + 12, 80, left + 40, 98), fill=(180, 210, 230))
    draw.rectangle((8, 8, 8 + second * 3.75, 14), fill=(46, 140, 84))


def _draw_ball(draw: ImageDraw.ImageDraw, second: float) -> None:
    """A ball bounces: blue until 20 seconds, orange afterwards."""
    phase = second % 2
    top = 110 - 90 * (1 - (phase - 1) ** 2)
    left = 20 + second * 5
    draw.line((0, 138, 256, 138), fill=(60, 64, 70), width=4)
    draw.ellipse((left, top, left + 26, top + 26), fill=(38, 84, 170) if second < 20 else (232, 122, 32))
