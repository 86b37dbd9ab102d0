"""Multimodal retrieval with Qwen3-VL-Embedding and Qwen3-VL-Reranker.

Text, pictures, document pages, video and any mixture of them in one vector space, and a cross-encoder that sees the
pixels to order what was found. Importing this package loads neither torch nor transformers; the first use of
`Qwen3VLEmbedder` or `Qwen3VLReranker` does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qwen3_vl_retrieval.errors import (
    FingerprintMismatchError,
    InputError,
    InputTooLongError,
    MediaError,
    MediaPolicyError,
    ModelError,
    RetrievalError,
    StoreError,
)
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.items import MultimodalInput
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.protocols import Embedder, Ranked, Reranker

if TYPE_CHECKING:
    from qwen3_vl_retrieval.embedder import Qwen3VLEmbedder
    from qwen3_vl_retrieval.reranker import Qwen3VLReranker
    from qwen3_vl_retrieval.sharing import share_embedder, share_reranker

__all__ = [
    "Embedder",
    "Fingerprint",
    "FingerprintMismatchError",
    "FrameSampling",
    "InputError",
    "InputTooLongError",
    "MediaError",
    "MediaPolicy",
    "MediaPolicyError",
    "ModelError",
    "MultimodalInput",
    "PixelBudget",
    "Qwen3VLEmbedder",
    "Qwen3VLReranker",
    "Ranked",
    "Reranker",
    "RetrievalError",
    "StoreError",
    "share_embedder",
    "share_reranker",
]

_MODULES_WITH_TORCH = {
    "Qwen3VLEmbedder": "embedder",
    "Qwen3VLReranker": "reranker",
    "share_embedder": "sharing",
    "share_reranker": "sharing",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES_WITH_TORCH:
        return getattr(import_module(f"{__name__}.{_MODULES_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
