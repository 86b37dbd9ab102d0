"""Videos: files and lists of frames, sampled and resized as the official scripts at commit 8ce3aab do.

A file is sampled by time and its frames are resized once; a list is thinned by number, and its frames are resized
twice (`fetch_video` of `qwen_vl_utils` 0.0.14). Differences from the reference, on purpose: frames of an uneven rate
are chosen by when they are shown (the reference takes number over average rate for the time), a file with a single
frame is that frame twice (the reference fails), `max_frames` of an item also holds for a list, and a list may be given
the rate at which its frames were taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.items import ImageReading, ImageSource, VideoPart
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
from qwen3_vl_retrieval.media.container import decode_frames, find_index
from qwen3_vl_retrieval.media.frame_index import FrameIndex
from qwen3_vl_retrieval.media.images import describe_image, measure_image, read_image
from qwen3_vl_retrieval.media.policy import MediaPolicy, open_source, shorten_name
from qwen3_vl_retrieval.media.sizing import (
    fit_frame_size,
    fit_listed_frame_size,
    fit_listed_frames,
    sample_file_frames,
    sample_listed_frames,
    sample_shown_frames,
)

__all__ = ["Video", "measure_video", "read_video"]

_LARGE_FRAME_BYTES = 128 * 1024 * 1024
"""Bytes of a frame of 44 million pixels: more than 8K video has."""


@dataclass(frozen=True, slots=True)
class Video:
    """Sampled and resized frames.

    Attributes:
        frames: RGB, (frames, height, width, 3): an even number of frames, sides multiples of 32 pixels.
        frame_times: Seconds from the beginning, one per frame.
    """

    frames: npt.NDArray[np.uint8]
    frame_times: tuple[float, ...]


def measure_video(
    part: VideoPart,
    *,
    policy: MediaPolicy,
    sampling: FrameSampling,
    budget: PixelBudget,
    reading: ImageReading = "viewer",
) -> tuple[int, int, int]:
    """Returns (frames, width, height) that `read_video` would give, in pixels, decoding one frame at most.

    Raises:
        InputError: The window holds too few frames, or needs a rate.
        MediaPolicyError: The policy refuses the source, or it exceeds a limit.
        MediaError: The video cannot be read.
    """
    if isinstance(part.source, (str, Path, bytes)):
        source = open_source(part.source, policy)
        shown = _describe_video(part.source)
        index = find_index(source, policy, shown=shown)
        numbers, _ = _sample_file(part, index, sampling, shown, by_time=reading == "viewer")
        height, width, _ = next(decode_frames(source, policy, index, [0], shown=shown)).shape
        return len(numbers), *_fit_file(width, height, budget, shown)
    frames = _list_frames(part.source, policy)
    numbers, _ = _sample_list(part, len(frames), sampling)
    first = numbers[0]
    width, height = _fit_listed(frames, first, measure_image(frames[first], policy, reading=reading))
    for number in dict.fromkeys(numbers):
        size = measure_image(frames[number], policy, reading=reading)
        _check_size(frames, number, _fit_listed(frames, number, size), (width, height))
    shown = _describe_frame(frames, first)
    return len(numbers), *fit_listed_frames(width, height, frames=len(numbers), budget=budget, shown=shown)


def read_video(
    part: VideoPart,
    *,
    policy: MediaPolicy,
    sampling: FrameSampling,
    budget: PixelBudget,
    reading: ImageReading = "viewer",
) -> Video:
    """Returns the sampled frames of a video, resized, with their times.

    Args:
        part: The video.
        policy: What may be opened, and how large it may be.
        sampling: How many frames are kept, unless the part says so.
        budget: How large they become.
        reading: `"viewer"` chooses the frames of a file by when they are shown; `"reference"` by number and average
            rate, as the official scripts do. It is the same where the rate is constant. For frames that are given as
            images, see `read_image`.

    Frames are resized as they are decoded: memory is bounded by the frames kept.

    Raises:
        InputError: The window holds too few frames, or needs a rate.
        MediaPolicyError: The policy refuses the source, or it exceeds a limit.
        MediaError: The video cannot be read, or its frames differ in size.
    """
    if isinstance(part.source, (str, Path, bytes)):
        shown = _describe_video(part.source)
        source = open_source(part.source, policy)
        index = find_index(source, policy, shown=shown)
        numbers, times = _sample_file(part, index, sampling, shown, by_time=reading == "viewer")
        return Video(_read_frames(source, policy, index, numbers, budget, shown), tuple(times))
    return _read_list(part, _list_frames(part.source, policy), policy, sampling, budget, reading)


def _read_frames(
    source: Path | bytes, policy: MediaPolicy, index: FrameIndex, numbers: list[int], budget: PixelBudget, shown: str
) -> npt.NDArray[np.uint8]:
    frames = np.empty((0, 0, 0, 3), dtype=np.uint8)
    for place, pixels in enumerate(decode_frames(source, policy, index, numbers, shown=shown)):
        if place == 0:
            width, height = _fit_file(pixels.shape[1], pixels.shape[0], budget, shown)
            frames = np.empty((len(numbers), height, width, 3), dtype=np.uint8)
        _, height, width, _ = frames.shape
        if place > 0 and numbers[place] == numbers[place - 1]:
            frames[place] = frames[place - 1]
        else:
            frames[place] = _resize_frame(pixels, width, height)
    return frames


def _read_list(
    part: VideoPart,
    sources: Sequence[ImageSource],
    policy: MediaPolicy,
    sampling: FrameSampling,
    budget: PixelBudget,
    reading: ImageReading,
) -> Video:
    numbers, times = _sample_list(part, len(sources), sampling)
    frames: npt.NDArray[np.uint8] | None = None
    first_size: tuple[int, int] | None = None
    for place, number in enumerate(numbers):
        if frames is not None and place > 0 and number == numbers[place - 1]:
            frames[place] = frames[place - 1]
            continue
        image = read_image(sources[number], policy, reading=reading)
        image = image.resize(_fit_listed(sources, number, image.size))
        first_size = image.size if first_size is None else first_size
        _check_size(sources, number, image.size, first_size)
        shown = _describe_frame(sources, number)
        width, height = fit_listed_frames(*first_size, frames=len(numbers), budget=budget, shown=shown)
        if frames is None:
            frames = np.empty((len(numbers), height, width, 3), dtype=np.uint8)
        frames[place] = _resize_frame(np.asarray(image), width, height)
    if frames is None:
        raise MediaError("a video given as frames needs at least one frame")
    return Video(frames, tuple(times))


def _sample_file(
    part: VideoPart, index: FrameIndex, sampling: FrameSampling, shown: str, *, by_time: bool
) -> tuple[list[int], list[float]]:
    fps = sampling.fps if part.fps is None else part.fps
    max_frames = sampling.max_frames if part.max_frames is None else part.max_frames
    if by_time:
        return sample_shown_frames(index, fps=fps, max_frames=max_frames, start=part.start, end=part.end, shown=shown)
    numbers = sample_file_frames(
        index.total,
        frame_rate=index.frame_rate,
        fps=fps,
        max_frames=max_frames,
        start=part.start,
        end=part.end,
        shown=shown,
    )
    return numbers, [number / index.frame_rate for number in numbers]


def _sample_list(part: VideoPart, count: int, sampling: FrameSampling) -> tuple[list[int], list[float]]:
    return sample_listed_frames(
        count,
        fps=part.fps,
        max_frames=sampling.max_frames if part.max_frames is None else part.max_frames,
        start=part.start,
        end=part.end,
    )


def _fit_file(width: int, height: int, budget: PixelBudget, shown: str) -> tuple[int, int]:
    return fit_frame_size(
        width,
        height,
        min_pixels=budget.frame_min_pixels,
        max_pixels=budget.frame_max_pixels,
        shown=f"a frame of {shown}",
    )


def _fit_listed(frames: Sequence[ImageSource], number: int, size: tuple[int, int]) -> tuple[int, int]:
    return fit_listed_frame_size(*size, shown=_describe_frame(frames, number))


def _describe_video(source: str | Path | bytes) -> str:
    return "the video given as bytes" if isinstance(source, bytes) else f"the video {shorten_name(str(source))!r}"


def _describe_frame(frames: Sequence[ImageSource], number: int) -> str:
    return f"frame {number}, {describe_image(frames[number])},"


def _list_frames(source: npt.NDArray[Any] | Sequence[ImageSource], policy: MediaPolicy) -> Sequence[ImageSource]:
    if isinstance(source, np.ndarray):
        if source.ndim != 4 or source.dtype != np.uint8:
            raise MediaError(
                f"a video array must be uint8 of shape (frames, height, width, 1, 3 or 4), "
                f"got {source.dtype} {source.shape}"
            )
        frames: Sequence[ImageSource] = list(source)
    else:
        frames = source
    if not frames:
        raise MediaError("a video given as frames needs at least one frame")
    if len(frames) > policy.max_frames:
        raise MediaPolicyError(
            f"the video has {len(frames):,} frames, above max_frames={policy.max_frames:,}; "
            "give fewer, or raise max_frames of the MediaPolicy"
        )
    return frames


def _check_size(frames: Sequence[ImageSource], number: int, size: tuple[int, int], expected: tuple[int, int]) -> None:
    if size != expected:
        raise MediaError(
            f"the frames of a video must be of one size; once resized to multiples of 64, "
            f"{_describe_frame(frames, number)} is {size[0]}x{size[1]}, "
            f"and those before are {expected[0]}x{expected[1]}"
        )


def _resize_frame(pixels: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    import torch
    from torchvision.transforms import InterpolationMode, functional

    # Rounding to whole levels is what the reference does, too: it resizes bytes and makes floats of them afterwards.
    frame = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)[None]
    # Resizing makes four bytes of each: a large frame is resized colour by colour, in a third of the memory.
    channels = frame.shape[1]
    step = 1 if pixels.nbytes > _LARGE_FRAME_BYTES else channels
    parts = [frame[:, first : first + step] for first in range(0, channels, step)]
    resized = torch.cat(
        [
            functional.resize(part, [height, width], interpolation=InterpolationMode.BICUBIC, antialias=True)
            for part in parts
        ],
        dim=1,
    )
    return cast("npt.NDArray[np.uint8]", resized[0].permute(1, 2, 0).numpy())
