"""Images and videos, read and sized for the model, with their place in the prompt known."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from qwen3_vl_retrieval.bounded_cache import BoundedCache
from qwen3_vl_retrieval.errors import MediaError
from qwen3_vl_retrieval.items import DocumentPage, ImagePart, VideoPart
from qwen3_vl_retrieval.media import (
    FrameSampling,
    ImageReading,
    MediaPolicy,
    PixelBudget,
    read_video,
)
from qwen3_vl_retrieval.media.budgets import TOKEN_SIDE_PIXELS
from qwen3_vl_retrieval.media.images import read_resized_image
from qwen3_vl_retrieval.media.object_storage import identify_object
from qwen3_vl_retrieval.media.pages import find_policy
from qwen3_vl_retrieval.media.policy import is_stored_object, open_source, shorten_name
from qwen3_vl_retrieval.prompting.prompts import MediaSlot

__all__ = ["MediaReader", "PreparedMedia", "digest_pixels", "identify_source"]


_MAX_SOURCES = 16_384
"""Sources whose size and content key are remembered, some hundred bytes each."""

_SETTLED_SECONDS = 2.0
"""A file written since may be written once more without its time of change moving on: some file systems count in
whole seconds, FAT in two."""


def identify_source(part: ImagePart | VideoPart, policy: MediaPolicy) -> bytes | None:
    """Returns a digest that is equal only for equal content read in the same way, or `None` if there is none.

    A file is identified by its place, size and time of change, bytes by themselves; a page by its PDF, its number and
    what bounds its size; an object by its address and what its store says of its version. Nothing is fetched.

    Raises:
        MediaPolicyError: The policy refuses the source.
        MediaError: It cannot be read.
    """
    source = part.source
    page = None
    if isinstance(source, DocumentPage):
        policy = find_policy(source, policy)
        # The whole policy: whether a PDF has too many pages is known once it is open.
        page = (source.page, source.max_pixels, policy)
        source = source.source
    if not isinstance(source, (str, Path, bytes)):
        return None
    if isinstance(source, str) and source[:5].lower() in ("http:", "https"):
        return None
    digest = hashlib.blake2b(repr((replace(part, source=b""), page)).encode(), digest_size=16)
    if isinstance(source, str) and is_stored_object(source, policy):
        version = identify_object(source, policy)
        if version is None:
            return None
        digest.update(repr((source, version)).encode())
        return digest.digest()
    opened = open_source(source, policy)
    if isinstance(opened, bytes):
        digest.update(opened)
        return digest.digest()
    try:
        state = opened.stat()
    except OSError:
        # Whoever reads it says what is wrong with it.
        return None
    if time.time() - state.st_mtime < _SETTLED_SECONDS:
        return None
    digest.update(repr((str(opened), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)).encode())
    return digest.digest()


_TOKEN_PIXELS = TOKEN_SIDE_PIXELS**2

_PAIR_OVERHEAD_TOKENS = 10
"""Tokens of a timestamp and of the start and end marks around a pair of frames, about."""

_FEWEST_FRAME_TOKENS = 16
"""Visual tokens of a frame below which a video gives up frames rather than pixels."""


@dataclass(slots=True, eq=False)
class PreparedMedia:
    """An image or video at the size that the model will see.

    Attributes:
        part: What the caller gave.
        slot: Its place in a prompt.
        key: Digest of the pixels; equal for equal content.
    """

    part: ImagePart | VideoPart
    slot: MediaSlot
    key: bytes
    _pixels: UInt8[np.ndarray, "frames height width 3"] | None
    _read: Callable[[], npt.NDArray[np.uint8]]

    @classmethod
    def from_pixels(cls, slot: MediaSlot, pixels: UInt8[np.ndarray, "frames height width 3"]) -> PreparedMedia:
        """Returns an image or video that is in memory, at the size that the model will see."""
        is_video = slot.timestamps is not None
        part = VideoPart(source=list(pixels)) if is_video else ImagePart(pixels[0])
        return cls(part, slot, digest_pixels(pixels, is_video=is_video), pixels, lambda: pixels)

    @property
    def token_count(self) -> int:
        """Visual tokens, without timestamps and marks."""
        return self.slot.height * self.slot.width * self.pair_count

    @property
    def pair_count(self) -> int:
        """Temporal patches: 1 for an image, half the frames of a video."""
        return 1 if self.slot.timestamps is None else len(self.slot.timestamps)

    @property
    def held_bytes(self) -> int:
        """Memory that the pixels take now."""
        return 0 if self._pixels is None else self._pixels.nbytes

    def release(self) -> None:
        """Forgets the pixels; `load` reads them again."""
        self._pixels = None

    def load(self) -> UInt8[np.ndarray, "frames height width 3"]:
        """Returns the pixels, one frame for an image.

        Raises:
            MediaError: If they were released and the file can no longer be read, or has changed since.
        """
        if self._pixels is not None:
            return self._pixels
        pixels = self._read()
        if digest_pixels(pixels, is_video=self.slot.timestamps is not None) != self.key:
            source = self.part.source.source if isinstance(self.part.source, DocumentPage) else self.part.source
            named = f" {shorten_name(str(source))!r}" if isinstance(source, (str, Path)) else ""
            raise MediaError(f"the file{named} changed while it was being embedded; embed it again")
        return pixels


class MediaReader:
    """Reads parts under one policy, budget and sampling; safe to share between threads.

    Args:
        policy: What may be opened.
        budget: Limits on pixels.
        sampling: How frames are taken from videos.
        reading: How images are read, see `read_image`.
        is_known: Whether the features of a content key are kept, so that its pixels are not needed.
    """

    def __init__(
        self,
        *,
        policy: MediaPolicy,
        budget: PixelBudget,
        sampling: FrameSampling,
        reading: ImageReading,
        is_known: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._sampling = sampling
        self._reading: ImageReading = reading
        self._is_known = is_known
        self._sources = BoundedCache[bytes, tuple[MediaSlot, bytes]](_MAX_SOURCES)

    def read(self, part: ImagePart | VideoPart) -> PreparedMedia:
        """Returns the part decoded, and resized as the official scripts do.

        Raises:
            MediaError: It cannot be read.
            MediaPolicyError: It may not be read, or exceeds a limit.
        """
        identity = identify_source(part, self._policy)
        seen = None if identity is None else self._sources.find(identity)
        if seen is not None and self._is_known(seen[1]):
            read_again = self._make_reader(part, self._budget, self._sampling)
            return PreparedMedia(part, *seen, None, read_again)
        media = self._prepare(part, self._budget, self._sampling)
        if identity is not None:
            self._sources.keep(identity, (media.slot, media.key))
        return media

    def read_smaller(self, media: PreparedMedia, share: float) -> PreparedMedia:
        """Returns the same part with at most `share` of its tokens: fewer pixels first, then fewer frames."""
        if isinstance(media.part, ImagePart):
            pixels = max(int(media.token_count * share), 1) * _TOKEN_PIXELS
            budget = replace(self._budget, min_pixels=min(self._budget.min_pixels, pixels), max_pixels=pixels)
            return self._prepare(media.part, budget, self._sampling)
        pairs = media.pair_count
        total_tokens = int((media.token_count + pairs * _PAIR_OVERHEAD_TOKENS) * share)
        pairs = max(min(pairs, total_tokens // (_FEWEST_FRAME_TOKENS + _PAIR_OVERHEAD_TOKENS)), 1)
        frame_tokens = max(total_tokens // pairs - _PAIR_OVERHEAD_TOKENS, 1)
        pixels = min(frame_tokens * _TOKEN_PIXELS, self._budget.frame_max_pixels)
        budget = replace(
            self._budget,
            frame_min_pixels=min(
                self._budget.frame_min_pixels, pixels * 9 // 10 // _TOKEN_PIXELS * _TOKEN_PIXELS or pixels
            ),
            frame_max_pixels=pixels,
        )
        part = media.part if pairs == media.pair_count else replace(media.part, max_frames=2 * pairs)
        return self._prepare(part, budget, self._sampling)

    def _prepare(self, part: ImagePart | VideoPart, budget: PixelBudget, sampling: FrameSampling) -> PreparedMedia:
        if isinstance(part, ImagePart):
            pixels = _read_image(part, self._policy, budget, self._reading)
            timestamps = None
        else:
            video = read_video(part, policy=self._policy, sampling=sampling, budget=budget, reading=self._reading)
            pixels = video.frames
            times = video.frame_times
            timestamps = tuple((times[i] + times[i + 1]) / 2 for i in range(0, len(times), 2))
        _, height, width, _ = pixels.shape
        slot = MediaSlot(height // TOKEN_SIDE_PIXELS, width // TOKEN_SIDE_PIXELS, timestamps)
        key = digest_pixels(pixels, is_video=timestamps is not None)
        return PreparedMedia(part, slot, key, pixels, self._make_reader(part, budget, sampling))

    def _make_reader(
        self, part: ImagePart | VideoPart, budget: PixelBudget, sampling: FrameSampling
    ) -> Callable[[], npt.NDArray[np.uint8]]:
        def read_again() -> npt.NDArray[np.uint8]:
            if isinstance(part, ImagePart):
                return _read_image(part, self._policy, budget, self._reading)
            return read_video(part, policy=self._policy, sampling=sampling, budget=budget, reading=self._reading).frames

        return read_again


def _read_image(
    part: ImagePart, policy: MediaPolicy, budget: PixelBudget, reading: ImageReading
) -> npt.NDArray[np.uint8]:
    resized = read_resized_image(
        part.source, policy, reading=reading, min_pixels=budget.min_pixels, max_pixels=budget.max_pixels
    )
    return np.asarray(resized, dtype=np.uint8)[None]


def digest_pixels(pixels: npt.NDArray[np.uint8], *, is_video: bool) -> bytes:
    """Returns the content key of an image, or of frames of a video."""
    digest = hashlib.blake2b(repr((pixels.shape, is_video)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()
