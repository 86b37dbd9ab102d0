"""Where a video is cut into windows: of equal length, or ending where the image changes.

Most encoders begin a scene with an image that is coded by itself, so only those are decoded to find where scenes
begin. A video that was written without them, or with a few at fixed times, is cut there or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from qwen3_vl_retrieval.media.policy import MediaPolicy, resolve_path

__all__ = ["cut_windows", "find_scene_seconds", "plan_windows"]

_BINS = 8
_SIDE_PIXELS = 64

_CUT_DISTANCE = 0.35
"""Share of pixels that have another colour than before, at eight levels a channel."""

_SHORTEST_SCENE_SECONDS = 2.0
"""Less is a flash, and no scene to be found by itself."""

_LEAST_SHARE = 0.1
"""What a window adds to the one before, over what a full one adds: 30.03 seconds are one window of 30, not two."""


def cut_windows(
    path: Path,
    policy: MediaPolicy,
    *,
    window_seconds: float,
    overlap_seconds: float,
    cut_at_scenes: bool = False,
    by_time: bool = True,
) -> list[tuple[float, float]]:
    """Returns start and end of each window of a video file, in seconds; a single one is the whole video.

    Args:
        path: The video.
        policy: What may be opened, and how large it may be.
        window_seconds: Length of a window; see `plan_windows`.
        overlap_seconds: What a window shares with the one before; see `plan_windows`.
        cut_at_scenes: Whether windows end where the image changes, too. Only that decodes frames.
        by_time: Whether seconds are when frames are shown; otherwise the number of a frame over the average rate.

    Raises:
        MediaPolicyError: The policy refuses the file.
        MediaError: It cannot be decoded.
    """
    from qwen3_vl_retrieval.media.container import find_index

    resolved = resolve_path(path, policy)
    index = find_index(resolved, policy)
    return plan_windows(
        index.duration_seconds if by_time else index.total / index.frame_rate,
        window_seconds=window_seconds,
        overlap_seconds=overlap_seconds,
        scene_seconds=find_scene_seconds(resolved, policy, by_time=by_time) if cut_at_scenes else (),
    )


def find_scene_seconds(path: Path, policy: MediaPolicy, *, by_time: bool = True) -> list[float]:
    """Returns the seconds at which scenes begin, rising, without the beginning of the video.

    Seconds are when frames are shown; with `by_time=False` the number of a frame over the average rate.

    Raises:
        MediaPolicyError: The policy refuses the file.
        MediaError: It cannot be decoded.
    """
    from qwen3_vl_retrieval.media.container import decode_frames, find_index

    index = find_index(path, policy)
    numbers: list[int] = np.searchsorted(index.times, index.key_times).tolist()
    is_timed = by_time and not index.is_constant
    seconds = index.seconds if is_timed else np.arange(index.total) / index.frame_rate
    scenes: list[float] = []
    before: npt.NDArray[np.float64] | None = None
    for number, frame in zip(numbers, decode_frames(path, policy, index, numbers), strict=True):
        histogram = _count_colors(frame)
        if before is not None and np.abs(histogram - before).sum() / 2 > _CUT_DISTANCE:
            scenes.append(float(seconds[number]))
        before = histogram
    return scenes


def plan_windows(
    duration_seconds: float, *, window_seconds: float, overlap_seconds: float, scene_seconds: Sequence[float] = ()
) -> list[tuple[float, float]]:
    """Returns start and end of each window of a video, in seconds.

    A scene that is longer than a window becomes several that overlap; no window reaches over the end of a scene. Each
    window adds at least a tenth of what a full one adds (`window_seconds - overlap_seconds`): where less is left at the
    end of a video or scene, it belongs to the last window, which is that much longer.

    Args:
        duration_seconds: Length of the video.
        window_seconds: Length of a window, but for the last of a scene.
        overlap_seconds: What a window shares with the one before in the same scene.
        scene_seconds: Where scenes begin; those shorter than two seconds belong to the one before.
    """
    begins = [0.0]
    for second in scene_seconds:
        if second - begins[-1] >= _SHORTEST_SCENE_SECONDS and duration_seconds - second >= _SHORTEST_SCENE_SECONDS:
            begins.append(second)
    step = window_seconds - overlap_seconds
    windows: list[tuple[float, float]] = []
    for begin, end in zip(begins, [*begins[1:], duration_seconds], strict=True):
        count = max(1, math.ceil((end - begin - overlap_seconds) / step - _LEAST_SHARE))
        starts = [begin + place * step for place in range(count)]
        windows += [(start, start + window_seconds) for start in starts[:-1]] + [(starts[-1], end)]
    return windows


def _count_colors(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Shares of the colours in a small copy of the frame."""
    small = np.asarray(Image.fromarray(frame).resize((_SIDE_PIXELS, _SIDE_PIXELS), Image.Resampling.BOX))
    levels = (small // (256 // _BINS)).astype(np.int64).reshape(-1, 3)
    codes = (levels[:, 0] * _BINS + levels[:, 1]) * _BINS + levels[:, 2]
    return np.bincount(codes, minlength=_BINS**3) / len(codes)
