"""Where the frames of a video are: when each is shown, and where decoding starts; compact, to be kept and sent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["FrameIndex"]

_ROUNDING_SECONDS = 0.002
"""How far a frame may lie from `number / rate` in a video of constant rate: twice the millisecond to which Matroska,
FLV and ASF round each time, the first one included."""

_DRIFT = 1e-5
"""What may be added to it for each second from the beginning: headers round the rate itself, 30000/1001 to 29.97."""

_GUESSED_FRAMES = 2.5
"""How many frames guessed times may be off: as many as are reordered, where the file has the order of decoding only."""

_SAME_SECONDS = 1e-6
"""A moment that misses the time of a frame by less shows that frame: 25 seconds at 1/90000 are 25.000000000000004."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameIndex:
    """Where the frames of a stream are. Frames are numbered in the order in which they are shown.

    Attributes:
        frame_rate: Average frames per second, as the header declares them.
        total: Frames in the stream.
        times: Presentation time of each frame in units of the stream, rising; empty if the file does not say.
        key_times: The times from which decoding can start, rising; empty if it has to start at the beginning.
        unit_seconds: Length of a unit of `times`.
        last_seconds: How long the last frame is shown.
        is_matched: Whether a decoded frame carries its time, so that it is known by it; else frames are counted.
    """

    frame_rate: float
    total: int
    times: npt.NDArray[np.int64]
    key_times: npt.NDArray[np.int64]
    unit_seconds: float
    last_seconds: float
    is_matched: bool

    @property
    def first_seconds(self) -> float:
        """When the first frame is shown, in seconds of the file; 0 if the file does not say."""
        return float(self.times[0]) * self.unit_seconds if len(self.times) else 0.0

    @property
    def seconds(self) -> npt.NDArray[np.float64]:
        """The second at which each frame is shown, the first at 0; `number / frame_rate` if the file does not say."""
        if len(self.times) == 0:
            return np.arange(self.total) / self.frame_rate
        return (self.times - self.times[0]) * self.unit_seconds

    @property
    def is_constant(self) -> bool:
        """Whether frame `n` is shown at second `n / frame_rate`, so that numbers and times say the same.

        A frame may be off by 2 ms and by a further 10 µs for each second from the beginning, and by half a frame at
        most: what formats and headers lose by rounding, and far less than can be seen. Where times are guessed from
        the order of decoding (`is_matched` is false) it may be off by two frames.
        """
        places = np.arange(self.total) / self.frame_rate
        allowed = np.minimum(_ROUNDING_SECONDS + _DRIFT * places, 0.5 / self.frame_rate)
        if not self.is_matched:
            allowed += (_GUESSED_FRAMES - 0.5) / self.frame_rate
        return bool(np.all(np.abs(self.seconds - places) <= allowed))

    @property
    def duration_seconds(self) -> float:
        """From the first frame to the end of the last."""
        if self.is_constant:
            return self.total / self.frame_rate
        return float(self.seconds[-1]) + self.last_seconds

    @property
    def held_bytes(self) -> int:
        """Memory that the index takes."""
        return self.times.nbytes + self.key_times.nbytes

    def find_numbers(self, moments: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Returns the number of the frame that is shown at each of the seconds `moments`: the last one up to then."""
        seconds = np.asarray(moments, dtype=np.float64)
        if self.is_constant:
            numbers = np.floor(seconds * self.frame_rate).astype(np.intp)
        else:
            numbers = np.searchsorted(self.seconds, seconds + _SAME_SECONDS, side="right") - 1
        return np.clip(numbers, 0, self.total - 1)
