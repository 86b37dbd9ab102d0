"""What could not be read or judged, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.errors import InputError

__all__ = ["FailedFile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedFile:
    """A file, a folder that cannot be listed, or the unit of a file, that takes no part in the ranking.

    Attributes:
        path: The file or folder.
        unit: The page, window or chunk that failed; `None` if it is the whole file.
        error: What was wrong.
    """

    path: Path
    unit: Unit | None
    error: InputError

    @classmethod
    def of_unit(cls, unit: Unit, error: InputError) -> FailedFile:
        """Returns the failure of one unit of a file; an image, and a video of one window, are the whole file."""
        is_whole = unit.media_type == "image" or (unit.media_type == "video" and unit.start is None)
        return cls(path=unit.source, unit=None if is_whole else unit, error=error.at(None))
