"""A small trained pair, an embedding model and a reranker, in the layout of the published Qwen3-VL checkpoints.

It is a demonstration and test model: it knows its small world and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["__version__", "checkpoint_folder"]

__version__ = "0.1.0"


def checkpoint_folder(kind: Literal["embedding", "reranker"]) -> Path:
    """Returns the folder of a shipped checkpoint, for `from_pretrained` of any library that reads Qwen3-VL.

    Args:
        kind: What the model is for.

    Raises:
        ValueError: There is no such model.
    """
    if kind not in ("embedding", "reranker"):
        raise ValueError(f"kind {kind!r} is unknown; allowed are 'embedding' and 'reranker'")
    return Path(__file__).parent / "data" / kind
