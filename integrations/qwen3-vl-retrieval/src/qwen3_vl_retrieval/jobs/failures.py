"""What could not be read or embedded, as a run keeps it: one JSON object a line, beside the part that lacks it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.index.ingest.source_reader import is_passing
from qwen3_vl_retrieval.index.results.hits import FailedFile

__all__ = ["NamedFailure", "decode_failures", "encode_failures", "name_error", "name_failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFailure:
    """A file, or a page, window or chunk of one, that has no vector.

    Attributes:
        source: Absolute path or URL of the file.
        page: Number of the page, from 1; `None` if it is another part, or the whole file.
        start: First second of the window.
        end: Last second of the window.
        error: Name of the error's class.
        message: What was wrong.
        is_passing: Whether the cause may be gone the next time; then the next run tries again.
    """

    source: str
    page: int | None = None
    start: float | None = None
    end: float | None = None
    error: str
    message: str
    is_passing: bool = False

    def describe(self) -> dict[str, str | int | float | None]:
        """Returns the failure as flat values."""
        return asdict(self)


def name_failure(failure: FailedFile, source: str) -> NamedFailure:
    """Returns the failure of a file that is called `source` where it comes from."""
    unit = failure.unit
    return NamedFailure(
        source=source,
        page=None if unit is None else unit.page,
        start=None if unit is None else unit.start,
        end=None if unit is None else unit.end,
        error=type(failure.error).__name__,
        message=failure.error.reason,
        is_passing=is_passing(failure.error, failure.path),
    )


def name_error(source: str, error: InputError, *, may_pass: bool) -> NamedFailure:
    """Returns the failure of a whole file."""
    return NamedFailure(source=source, error=type(error).__name__, message=error.reason, is_passing=may_pass)


def encode_failures(failures: Iterable[NamedFailure]) -> bytes:
    """Returns failures as lines of JSON."""
    return "".join(f"{json.dumps(asdict(failure), ensure_ascii=False)}\n" for failure in failures).encode(
        "utf-8", "replace"
    )


def decode_failures(content: bytes) -> list[NamedFailure]:
    """Returns the failures that `encode_failures` wrote.

    Raises:
        ValueError: The lines are others.
        TypeError: The fields are others.
    """
    return [NamedFailure(**json.loads(line)) for line in content.decode().split("\n") if line]
