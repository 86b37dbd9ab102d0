"""What decides, beside contents and model, about the units of a run and their vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from qwen3_vl_retrieval.documents.units import ReadOcr
from qwen3_vl_retrieval.fingerprint import Fingerprint

__all__ = ["PartPrecision", "ReadingOptions", "hash_settings"]

PartPrecision: TypeAlias = Literal["float32", "float16"]
"""Number format of the vectors in a part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How files are taken apart, as in `MultimodalIndex.open`.

    Attributes:
        window_seconds: Length of a window of a video.
        overlap_seconds: What a window shares with the one before.
        cut_at_scenes: Let windows end where the image changes.
        ocr: Reads the words of scans and images; a function of a module, as other processes call it, too.
    """

    window_seconds: float = 30.0
    overlap_seconds: float = 5.0
    cut_at_scenes: bool = False
    ocr: ReadOcr | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` for windows that would not advance."""
        if not 0 <= self.overlap_seconds < self.window_seconds:
            raise ValueError(
                f"overlap_seconds={self.overlap_seconds} must be at least 0 and below "
                f"window_seconds={self.window_seconds}"
            )

    def describe(self) -> dict[str, Any]:
        """Returns the options as JSON has them; a function by its name."""
        return {**asdict(self), "ocr": None if self.ocr is None else _name_function(self.ocr)}


def hash_settings(fingerprint: Fingerprint, reading: ReadingOptions, precision: PartPrecision) -> str:
    """Returns a hash of what decides about vectors beside the contents."""
    values = {"fingerprint": fingerprint.to_dict(), "reading": reading.describe(), "precision": precision}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _name_function(function: Callable[..., Any]) -> str:
    named: Any = function
    return f"{named.__module__}.{named.__qualname__}"
