"""How many pixels and frames an item may spend: the constants of the official scripts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from operator import index

__all__ = ["TOKEN_SIDE_PIXELS", "FrameSampling", "PixelBudget"]

TOKEN_SIDE_PIXELS = 32
"""Side of the square of pixels behind one visual token: patch size 16 times merge size 2 (`IMAGE_FACTOR`)."""

_TOKEN_PIXELS = TOKEN_SIDE_PIXELS**2


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelBudget:
    """Limits on the pixels a model sees; images outside are resized, keeping their aspect.

    The defaults are those of `src/models/qwen3_vl_embedding.py` and `qwen3_vl_reranker.py` at commit 8ce3aab and
    of `qwen_vl_utils` 0.0.14.

    Attributes:
        min_pixels: Fewest pixels of an image; 4 visual tokens.
        max_pixels: Most pixels of an image; 1,800 visual tokens.
        frame_min_pixels: Fewest pixels of a frame of a video; 128 visual tokens.
        frame_max_pixels: Most pixels of a frame of a video; 768 visual tokens.
        total_pixels: Most pixels of all frames of a video given as a list of frames, two frames counting as one;
            7,680 visual tokens. The official scripts do not apply it to video files, so neither do we.
    """

    min_pixels: int = 4 * _TOKEN_PIXELS
    max_pixels: int = 1800 * _TOKEN_PIXELS
    frame_min_pixels: int = 128 * _TOKEN_PIXELS
    frame_max_pixels: int = 768 * _TOKEN_PIXELS
    total_pixels: int = 10 * 768 * _TOKEN_PIXELS

    def __post_init__(self) -> None:
        """Raises `ValueError` for limits that contradict each other, `TypeError` for other than whole numbers."""
        for field in fields(self):
            # Equal limits must have equal fingerprints: 4096.0 is refused, NumPy's 4096 becomes Python's.
            object.__setattr__(self, field.name, index(getattr(self, field.name)))
        for low, high in (("min_pixels", "max_pixels"), ("frame_min_pixels", "frame_max_pixels")):
            if not _TOKEN_PIXELS <= getattr(self, low) <= getattr(self, high):
                raise ValueError(
                    f"{low}={getattr(self, low)} must be at least {_TOKEN_PIXELS} (one visual token) and at most "
                    f"{high}={getattr(self, high)}"
                )
        if self.total_pixels < _TOKEN_PIXELS:
            raise ValueError(f"total_pixels={self.total_pixels} must be at least {_TOKEN_PIXELS} (one visual token)")

    def describe(self) -> str:
        """Returns the limits as one line, for fingerprints."""
        return ", ".join(f"{name}={value}" for name, value in asdict(self).items())


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSampling:
    """How frames are taken from a video; the defaults are those of the official scripts (`FPS`, `MAX_FRAMES`).

    Attributes:
        fps: Frames sampled per second of a video file.
        max_frames: Frames kept at most, of files and of lists of frames.
    """

    fps: float = 1.0
    max_frames: int = 64

    def __post_init__(self) -> None:
        """Raises `ValueError` for a rate or a limit that can select nothing."""
        object.__setattr__(self, "fps", float(self.fps))
        object.__setattr__(self, "max_frames", index(self.max_frames))
        if not 0 < self.fps < float("inf"):
            raise ValueError(f"fps={self.fps} must be positive")
        if self.max_frames < 2:
            raise ValueError(f"max_frames={self.max_frames} must be at least 2: frames are encoded in pairs")

    def describe(self) -> str:
        """Returns the rate and limit as one line, for fingerprints."""
        return f"fps={self.fps}, max_frames={self.max_frames}"
