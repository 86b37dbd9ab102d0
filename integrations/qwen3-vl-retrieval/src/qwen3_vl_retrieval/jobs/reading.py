"""What decides, beside contents and model, about the units of a run and their vectors."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal, TypeAlias, cast

from qwen3_vl_retrieval.documents.speech import TranscribeSpeech
from qwen3_vl_retrieval.documents.units import ReadOcr
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.fingerprint import Fingerprint

__all__ = ["PartPrecision", "ReadingOptions", "hash_settings"]

PartPrecision: TypeAlias = Literal["float32", "float16"]
"""Number format of the vectors in a part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How files are taken apart, as in `MultimodalIndex.open`.

    The two hooks are functions of a module, or each a `functools.partial` of one with options that JSON can hold:
    other processes call them, too, and a run knows them by their names and options.

    Attributes:
        window_seconds: Length of a window of a video.
        overlap_seconds: What a window shares with the one before.
        cut_at_scenes: Let windows end where the image changes.
        ocr: Reads the words of scans and images.
        asr: Transcribes what is said in videos.
    """

    window_seconds: float = 30.0
    overlap_seconds: float = 5.0
    cut_at_scenes: bool = False
    ocr: ReadOcr | None = None
    asr: TranscribeSpeech | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` for windows that would not advance, and for hooks without a name."""
        if not 0 <= self.overlap_seconds < self.window_seconds:
            raise ValueError(
                f"overlap_seconds={self.overlap_seconds} must be at least 0 and below "
                f"window_seconds={self.window_seconds}"
            )
        self.describe()

    def describe(self) -> dict[str, Any]:
        """Returns the options as JSON has them; a hook by its name."""
        described = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.asr is None:
            # Runs from before there was speech are the same.
            del described["asr"]
        else:
            described["asr"] = _name_hook("asr", self.asr)
        return {**described, "ocr": None if self.ocr is None else _name_hook("ocr", self.ocr)}


def hash_settings(fingerprint: Fingerprint, reading: ReadingOptions, precision: PartPrecision) -> str:
    """Returns a hash of what decides about vectors beside the contents."""
    values = {"fingerprint": fingerprint.to_dict(), "reading": reading.describe(), "precision": precision}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _name_hook(option: str, hook: Callable[..., Any]) -> str:
    function, given = hook, None
    if isinstance(hook, partial):
        chosen = cast("partial[Any]", hook)
        function, given = chosen.func, [chosen.args, chosen.keywords]
    try:
        options = "" if given is None else json.dumps(given, sort_keys=True)
    except TypeError:
        options = None
    if options is None or not inspect.isroutine(function):
        raise ValueError(
            f"{option}={quote(function)} has no name by which a run could know it again; give a function of a module, "
            "or a functools.partial of one with numbers and texts"
        )
    return f"{function.__module__}.{function.__qualname__}{options}"
