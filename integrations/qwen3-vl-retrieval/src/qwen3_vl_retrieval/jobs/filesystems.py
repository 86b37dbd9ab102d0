"""Disks and object stores by their URL, through fsspec."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from qwen3_vl_retrieval.errors import RetrievalError, StoreError, explain
from qwen3_vl_retrieval.media.object_storage import open_filesystem
from qwen3_vl_retrieval.paths import decode_path

__all__ = ["explain_storage_errors", "find_local_path", "is_download", "open_filesystem"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
"""A URI scheme of at least two letters: one letter and a colon is a drive."""


def find_local_path(location: str) -> Path | None:
    """Returns the absolute path that a location names; `None` if it is the URL of something else."""
    if location[:5].lower() == "file:":
        return _make_absolute(decode_path(location))
    return None if _SCHEME.match(location) else _make_absolute(Path(location))


def is_download(location: str) -> bool:
    """Returns whether a location is fetched by HTTP, under the `MediaPolicy`."""
    return location[:7].lower() == "http://" or location[:8].lower() == "https://"


@contextmanager
def explain_storage_errors(what: str) -> Generator[None, None, None]:
    """Raises what a file system raises inside as a `StoreError` that begins with `what`."""
    try:
        yield
    except RetrievalError:
        raise
    except Exception as error:
        # Each store has errors of its own, which no common class tells from others.
        raise StoreError(f"{what} ({type(error).__name__}: {explain(error)})") from error


def _make_absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links are kept as they are
