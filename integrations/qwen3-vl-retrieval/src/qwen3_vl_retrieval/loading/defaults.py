"""What a checkpoint asks to be shown unless the caller says otherwise: its own `retrieval_config.json`.

The published checkpoints have no such file: for them the constants of the official scripts hold. A model that was
trained on other sizes, such as `pocket`, states them there, so that its users need not know.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from qwen3_vl_retrieval.errors import ModelError
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget

__all__ = ["RetrievalDefaults", "read_retrieval_defaults"]

_FILE = "retrieval_config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalDefaults:
    """Sizes that a model expects.

    Attributes:
        pixel_budget: Limits on the pixels of images and frames.
        frame_sampling: How frames are taken from videos.
    """

    pixel_budget: PixelBudget
    frame_sampling: FrameSampling


def read_retrieval_defaults(folder: Path) -> RetrievalDefaults:
    """Returns the defaults stated in `folder`; those of the official scripts for whatever it does not state.

    Raises:
        ModelError: The file is damaged, or states something unknown or impossible.
    """
    file = folder / _FILE
    try:
        return _parse_defaults(json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {})
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{str(file)!r} cannot be used: {error}; correct or remove it") from error


def _parse_defaults(stated: Any) -> RetrievalDefaults:
    if not isinstance(stated, dict):
        raise TypeError("it must hold an object")
    parts = cast("dict[str, dict[str, Any]]", stated)
    unknown = sorted(set(parts) - {"pixel_budget", "frame_sampling"})
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is unknown; allowed are pixel_budget and frame_sampling")
    return RetrievalDefaults(
        pixel_budget=PixelBudget(**parts.get("pixel_budget", {})),
        frame_sampling=FrameSampling(**parts.get("frame_sampling", {})),
    )
