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
        """Returns the failure of a unit of a file; of one that is the whole file, that of the file."""
        return cls(path=unit.source, unit=None if unit.is_whole_file else unit, error=error.at(None))
