"""What comes out of reading, embedding and searching a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from qwen3_vl_retrieval.documents.files import SkippedFile
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.errors import InputError

__all__ = [
    "FailedFile",
    "Found",
    "OnProgress",
    "Reading",
    "SearchOutcome",
    "Stage",
]

Stage: TypeAlias = Literal["reading", "embedding", "reranking"]

OnProgress: TypeAlias = Callable[[Stage, int, int], None]
"""Called with the stage, what of it is done, and its total: files when reading, else units."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a folder was found to hold, before anything is embedded.

    Attributes:
        files: Files that were taken for media or text, readable or not.
        skipped: What is not read, and why.
        hidden: Number of files and folders whose names begin with a dot.
        units: What the readable files hold, in the order of their paths.
        failures: The files that could not be read.
    """

    files: tuple[Path, ...]
    skipped: tuple[SkippedFile, ...]
    hidden: int
    units: tuple[Unit, ...]
    failures: tuple[FailedFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A unit's place in the ranking.

    Attributes:
        rank: The place, from 1.
        unit: What was found.
        similarity_score: Cosine of the first stage, in [-1, 1].
        relevance_score: Probability of the second stage, in [0, 1]; `None` without a reranker.
    """

    rank: int
    unit: Unit
    similarity_score: float
    relevance_score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOutcome:
    """What a search found.

    Attributes:
        results: The best units, best first.
        failures: The candidates that could not be judged.
        candidates: The nearest units, nearest first: the order before the reranker's, or the results without one.
    """

    results: tuple[Found, ...]
    failures: tuple[FailedFile, ...]
    candidates: tuple[Found, ...] = ()
