"""A folder read into units, before any model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qwen3_vl_retrieval.documents.files import list_files
from qwen3_vl_retrieval.documents.units import Unit, read_units
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.index.results.failures import FailedFile, OnProgress, Reading
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["read_folder"]


def read_folder(
    folder: Path,
    policy: MediaPolicy,
    *,
    window_seconds: float = 30.0,
    overlap_seconds: float = 5.0,
    exclude: Sequence[str] = (),
    on_progress: OnProgress | None = None,
) -> Reading:
    """Returns the units of all files below `folder`; see `list_files` and `read_units` for which and how.

    Folders that may not be read are among the failures, as files are.

    Raises:
        InputError: `folder` is not a folder, or may not be read itself; or a pattern is malformed.
        ValueError: The windows would not advance.
    """
    listing = list_files(folder, exclude=exclude)
    files = listing.files
    units: list[Unit] = []
    failures = [FailedFile(path=path, unit=None, error=error) for path, error in listing.failures]
    for done, path in enumerate(files):
        if on_progress is not None:
            on_progress("reading", done, len(files))
        try:
            units += read_units(path, policy, window_seconds=window_seconds, overlap_seconds=overlap_seconds)
        except InputError as error:
            failures.append(FailedFile(path=path, unit=None, error=error))
    if on_progress is not None:
        on_progress("reading", len(files), len(files))
    return Reading(
        files=files,
        skipped=listing.skipped,
        hidden=listing.hidden,
        units=tuple(units),
        failures=tuple(sorted(failures, key=lambda failure: failure.path)),
    )
