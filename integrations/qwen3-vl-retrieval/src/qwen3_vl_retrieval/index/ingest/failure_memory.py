"""Which failures are remembered, so that a file that cannot be read is not read again and again, and until when.

A failure is remembered with what the file looked like and with what else decides whether it can be read. Failures of
the disk, and of whatever may be otherwise the next moment, are never remembered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.errors import InputError, InputTooLongError, MediaError, MediaPolicyError
from qwen3_vl_retrieval.index.results.failures import FailedFile
from qwen3_vl_retrieval.index.store.records import StoredFailure
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["describe_failures", "hash_conditions", "is_passing", "restore_failure"]

_READERS = (
    "av",
    "charset-normalizer",
    "onnxruntime",
    "pillow",
    "pillow-heif",
    "pypdfium2",
    "qwen-vl-utils",
    "qwen3-vl-retrieval",
    "rapidocr",
    "semantic-text-splitter",
    "tokenizers",
    "torchvision",
    "transformers",
)
"""Packages whose version, or absence, decides what can be read."""

_ERRORS = {error.__name__: error for error in (InputError, MediaError, MediaPolicyError, InputTooLongError)}


def hash_conditions(policies: list[MediaPolicy], options: Mapping[str, Any]) -> str:
    """Returns a hash of what decides, beside a file itself, whether it can be read.

    Args:
        policies: Limits under which it is opened.
        options: How it is taken apart; values that JSON knows.
    """
    named = {"policies": [asdict(policy) for policy in policies], "options": options, "packages": _list_versions()}
    return hashlib.sha256(json.dumps(named, sort_keys=True, default=str).encode("utf-8", "replace")).hexdigest()


def is_passing(error: BaseException, path: Path) -> bool:
    """Returns whether the cause may be gone the next moment: the file could not be looked at, opened or read."""
    if isinstance(error, MediaPolicyError):
        return False
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        # Decoders derive errors about contents from OSError, too: without a number (Pillow), or of their own (PyAV).
        if isinstance(cause, OSError) and cause.errno is not None and type(cause).__module__ == "builtins":
            return True
        seen.append(cause)
        cause = cause.__cause__ if cause.__cause__ is not None else cause.__context__
    # What is read in another process comes back without its cause.
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError:
        return True
    return False


def describe_failures(failures: list[FailedFile]) -> list[StoredFailure]:
    """Returns failures as the catalog keeps them."""
    return [_describe(failure) for failure in failures]


def restore_failure(path: Path, stored: StoredFailure) -> FailedFile:
    """Returns a failure of an earlier run."""
    error = _ERRORS.get(stored.error, InputError)(stored.message)
    unit = None
    if stored.media_type is not None:
        unit = Unit(source=path, media_type=stored.media_type, page=stored.page, start=stored.start, end=stored.end)
    return FailedFile(path=path, unit=unit, error=error)


def _describe(failure: FailedFile) -> StoredFailure:
    unit, error = failure.unit, failure.error
    name, message = type(error).__name__, error.reason
    if unit is None:
        return StoredFailure(None, None, None, name, message)
    return StoredFailure(unit.page, unit.start, unit.end, name, message, unit.media_type)


@lru_cache(maxsize=1)
def _list_versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in _READERS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions
