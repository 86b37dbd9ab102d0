"""How large images and frames become, and which frames are kept: the arithmetic of `qwen_vl_utils`.

Sizes are computed here, and tested to be those of `smart_resize` of `qwen_vl_utils` 0.0.14: the library imports torch,
which would take 450 MB in each process that reads images. Which frames of a file are kept is the library's to say.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np

from qwen3_vl_retrieval.errors import InputError, MediaError
from qwen3_vl_retrieval.media.budgets import TOKEN_SIDE_PIXELS, PixelBudget
from qwen3_vl_retrieval.media.frame_index import FrameIndex

__all__ = [
    "FRAMES_PER_PATCH",
    "LISTED_FRAME_RATE",
    "MAX_ASPECT_RATIO",
    "fit_frame_size",
    "fit_image_size",
    "fit_listed_frame_size",
    "fit_listed_frames",
    "sample_file_frames",
    "sample_listed_frames",
    "sample_shown_frames",
]

MAX_ASPECT_RATIO = 200
"""Longest side over shortest side of an image at most (`MAX_RATIO` of `qwen_vl_utils` 0.0.14)."""

FRAMES_PER_PATCH = 2
"""Frames that are encoded together (`FRAME_FACTOR` of `qwen_vl_utils` 0.0.14)."""

LISTED_FRAME_RATE = 2.0
"""Frames per second that `qwen_vl_utils` 0.0.14 assumes of a list of frames (`sample_fps` in `fetch_video`)."""

# `fetch_video` hands its factor (32) to `fetch_image` as the patch size, which doubles it: frames of a list are first
# resized to multiples of 64. Reported as it is, because the official vectors depend on it (`qwen_vl_utils` 0.0.14).
_LISTED_FRAME_FACTOR = 2 * TOKEN_SIDE_PIXELS
_LISTED_FRAME_MIN_PIXELS = 4 * _LISTED_FRAME_FACTOR**2
_LISTED_FRAME_MAX_PIXELS = 16384 * _LISTED_FRAME_FACTOR**2

_LEAST_MOMENT_RATE = 30.0
"""Moments per second to choose from in a video of uneven rate: where an image stands still, its frames are too few."""

_LEAST_MOMENTS = 4
"""Moments in a window, however short: a pair at its ends, and one for each rounding of them."""

_FRAME_TOLERANCE = 1e-6
"""Frames by which a window may miss one and still hold it: 1.1 seconds at 100 per second are 110.00000000000001."""


def fit_image_size(
    width: int, height: int, *, min_pixels: int, max_pixels: int, shown: str = "an image"
) -> tuple[int, int]:
    """Returns the (width, height) in pixels that an image is resized to: multiples of 32 within the limits.

    `shown` names the image in errors.

    Raises:
        MediaError: One side is more than 200 times the other, or too thin for `max_pixels`.
    """
    return _fit(width, height, factor=TOKEN_SIDE_PIXELS, min_pixels=min_pixels, max_pixels=max_pixels, shown=shown)


def fit_frame_size(
    width: int, height: int, *, min_pixels: int, max_pixels: int | float, shown: str = "a frame"
) -> tuple[int, int]:
    """Returns the (width, height) in pixels that a frame of a video is resized to: multiples of 32 within the limits.

    `shown` names the frame or its video in errors.

    Raises:
        MediaError: One side is more than 200 times the other, or too thin for `max_pixels`.
    """
    return _fit(width, height, factor=TOKEN_SIDE_PIXELS, min_pixels=min_pixels, max_pixels=max_pixels, shown=shown)


def fit_listed_frame_size(width: int, height: int, *, shown: str = "a frame") -> tuple[int, int]:
    """Returns the (width, height) in pixels of the first of the two steps that a frame of a list is resized in.

    `shown` names the frame in errors.

    Raises:
        MediaError: One side is more than 200 times the other.
    """
    return _fit(
        width,
        height,
        factor=_LISTED_FRAME_FACTOR,
        min_pixels=_LISTED_FRAME_MIN_PIXELS,
        max_pixels=_LISTED_FRAME_MAX_PIXELS,
        shown=shown,
    )


def fit_listed_frames(
    width: int, height: int, *, frames: int, budget: PixelBudget, shown: str = "a frame"
) -> tuple[int, int]:
    """Returns the (width, height) in pixels of the second step for `frames` frames of a list, an even number.

    Unlike the frames of a file, they share `budget.total_pixels`, two frames counting as one. `shown` names one of
    them in errors.

    Raises:
        MediaError: One side is more than 200 times the other, or too thin for the limit.
    """
    share = budget.total_pixels / frames * FRAMES_PER_PATCH
    # 1.05: `fetch_video` of `qwen_vl_utils` 0.0.14 keeps the upper limit that much above the lower one.
    max_pixels = max(min(budget.frame_max_pixels, share), int(budget.frame_min_pixels * 1.05))
    return fit_frame_size(width, height, min_pixels=budget.frame_min_pixels, max_pixels=max_pixels, shown=shown)


def sample_file_frames(
    total_frames: int,
    *,
    frame_rate: int | float,
    fps: int | float,
    max_frames: int,
    start: int | float | None,
    end: int | float | None,
    shown: str = "a video",
) -> list[int]:
    """Returns the indices of the frames of a file to keep: rising, an even number of them, spread evenly.

    Args:
        total_frames: Frames in the file.
        frame_rate: Frames per second of the file.
        fps: Frames to keep per second; at least four are kept, and `max_frames` at most.
        max_frames: Frames to keep at most.
        start: First second of the window; `None` is the beginning.
        end: Last second of the window; `None` is the end.
        shown: Names the video in errors.

    Raises:
        InputError: The window holds fewer than two frames, or `max_frames` is below two.
    """
    import torch
    from qwen_vl_utils import vision_process

    if max_frames < FRAMES_PER_PATCH:
        raise InputError(f"max_frames={max_frames} must be at least {FRAMES_PER_PATCH}: frames are encoded in pairs")
    if total_frames == 1 and start is None and end is None:
        return [0, 0]
    window = {"video_start": start, "video_end": end}
    try:
        first, last, count = vision_process.calculate_video_frame_range(window, total_frames, frame_rate)
        # All frames are kept where more are asked for: said in a way that the library does not warn of.
        keeps_all = count / frame_rate * fps > count
        asked_rate, rate = (1.0, 1.0) if keeps_all else (fps, frame_rate)
        kept = vision_process.smart_nframes({"fps": asked_rate, "max_frames": max_frames}, count, rate)
    except ValueError as error:
        raise InputError(
            f"the window from start={start} to end={end} seconds holds fewer than two frames of {shown}, which has "
            f"{total_frames} frames at {frame_rate:g} per second ({total_frames / frame_rate:.2f} seconds); widen it"
        ) from error
    return cast("list[int]", torch.linspace(first, last, kept).round().long().tolist())


def sample_shown_frames(
    index: FrameIndex,
    *,
    fps: int | float,
    max_frames: int,
    start: int | float | None,
    end: int | float | None,
    shown: str = "a video",
) -> tuple[list[int], list[float]]:
    """Returns the indices of the frames of a file to keep, and their times in seconds, by when they are shown.

    Where the rate is constant these are the frames of `sample_file_frames`, at `number / frame_rate`. Where it is not,
    or is too low for two frames in the window, moments are taken as `sample_file_frames` would take frames of the same
    video at an even rate (its own on average, but 30 a second at least), and the frame of a moment is the last that
    appeared by then. What stands still is thus seen as often as in a video of even rate. The time of a frame is when it
    appeared; if it is kept again, or was there before the window, it is the moment.

    Args:
        index: The frames of the file.
        fps: Frames to keep per second; at least four are kept, and `max_frames` at most.
        max_frames: Frames to keep at most.
        start: First second of the window; `None` is the beginning.
        end: Last second of the window; `None` is the end.
        shown: Names the video in errors.

    Raises:
        InputError: The window is empty or outside the video, or `max_frames` is below two.
    """
    duration_seconds = index.duration_seconds
    begin_seconds = 0.0 if start is None else max(start, 0.0)
    window_seconds = (duration_seconds if end is None else min(end, duration_seconds)) - begin_seconds
    if window_seconds <= 0:
        raise InputError(
            f"the window from start={start} to end={end} seconds holds fewer than two frames of {shown}, which has "
            f"{index.total} frames and lasts {duration_seconds:.2f} seconds; widen it"
        )

    def sample(total: int, rate: float) -> list[int]:
        return sample_file_frames(
            total, frame_rate=rate, fps=fps, max_frames=max_frames, start=start, end=end, shown=shown
        )

    if index.is_constant:
        try:
            numbers = sample(index.total, index.frame_rate)
        except InputError:
            # No two frames begin in the window, and yet something is shown in it.
            pass
        else:
            return numbers, [number / index.frame_rate for number in numbers]
    rate = max(index.total / duration_seconds, _LEAST_MOMENT_RATE, _LEAST_MOMENTS / window_seconds)
    moments = [place / rate for place in sample(round(duration_seconds * rate), rate)]
    numbers = index.find_numbers(moments).tolist()
    appeared = index.seconds[numbers].tolist()
    times = [
        appeared[place] if (appeared[0] >= begin_seconds if place == 0 else number != numbers[place - 1]) else moment
        for place, (number, moment) in enumerate(zip(numbers, moments, strict=True))
    ]
    return numbers, times


def sample_listed_frames(
    count: int,
    *,
    fps: int | float | None,
    max_frames: int,
    start: int | float | None,
    end: int | float | None,
) -> tuple[list[int], list[float]]:
    """Returns the indices of the frames of a list to keep and their times in seconds; both of even length.

    The last frame is repeated where the number is odd. Without `fps` the times are those of the official scripts: the
    kept frames are 0.5 seconds apart, however many were left out. With `fps` they are those at which the frames were
    taken; a repeated frame continues the spacing.

    Raises:
        InputError: A window is given without `fps`, or holds no frame; or `max_frames` is below one.
    """
    if max_frames < 1:
        raise InputError(f"max_frames={max_frames} must be at least 1")
    first, last = _window_of_list(count, fps=fps, start=start, end=end)
    indices = list(range(first, last + 1))
    if len(indices) > max_frames:
        picked: list[int] = np.linspace(0, len(indices) - 1, max_frames, dtype=int).tolist()
        indices = [indices[position] for position in picked]
    is_odd = len(indices) % FRAMES_PER_PATCH == 1
    if fps is None:
        times = [position / LISTED_FRAME_RATE for position in range(len(indices) + is_odd)]
    else:
        times = [index / fps for index in indices]
        if is_odd:
            times.append(times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1 / fps))
    return indices + indices[-1:] * is_odd, times


def _window_of_list(
    count: int, *, fps: int | float | None, start: int | float | None, end: int | float | None
) -> tuple[int, int]:
    if start is None and end is None:
        return 0, count - 1
    if fps is None:
        raise InputError("start and end need fps for a list of frames: the rate at which the frames were taken")
    first = 0 if start is None else math.ceil(start * fps - _FRAME_TOLERANCE)
    last = count - 1 if end is None else min(math.floor(end * fps + _FRAME_TOLERANCE), count - 1)
    if first > last:
        raise InputError(
            f"the window from start={start} to end={end} seconds holds none of {count} frames at {fps:g} per second"
        )
    return first, last


def _fit(
    width: int, height: int, *, factor: int, min_pixels: int, max_pixels: int | float, shown: str
) -> tuple[int, int]:
    def refuse(reason: str) -> MediaError:
        return MediaError(
            f"{shown} of {width}x{height} pixels does not fit {min_pixels:,} to {max_pixels:,.0f} pixels: {reason}"
        )

    if max_pixels < min_pixels:
        raise refuse("the upper limit is below the lower one")
    if min(width, height) < 1:
        raise refuse("a side has no pixels")
    if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
        raise refuse(f"one side is more than {MAX_ASPECT_RATIO} times the other")
    fitted_width, fitted_height = (max(factor, round(side / factor) * factor) for side in (width, height))
    # In the order of operations of `smart_resize`: another one rounds otherwise.
    if fitted_height * fitted_width > max_pixels:
        shrinking = math.sqrt((height * width) / max_pixels)
        fitted_width, fitted_height = (math.floor(side / shrinking / factor) * factor for side in (width, height))
    elif fitted_height * fitted_width < min_pixels:
        growing = math.sqrt(min_pixels / (height * width))
        fitted_width, fitted_height = (math.ceil(side * growing / factor) * factor for side in (width, height))
    if fitted_width < factor or fitted_height < factor:
        raise MediaError(
            f"{shown} of {width}x{height} pixels is too thin: within {max_pixels:,.0f} pixels its shorter side "
            f"would fall below {factor}; crop it or raise the pixel budget"
        )
    return fitted_width, fitted_height
