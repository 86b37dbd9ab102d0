"""Multimodal retrieval with Qwen3-VL-Embedding and Qwen3-VL-Reranker.

Text, images, document pages, video and any mixture of them in one vector space, and a cross-encoder that sees the
pixels to order what was found. Importing this package loads neither torch nor transformers; the first use of
`Qwen3VLEmbedder` or `Qwen3VLReranker` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen3_vl_retrieval.errors import (
    FingerprintMismatchError,
    InputError,
    InputTooLongError,
    MediaError,
    MediaPolicyError,
    ModelError,
    RemoteError,
    RetrievalError,
    StoreError,
)
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.items import Item, MultimodalInput, OnError
from qwen3_vl_retrieval.judging import OnUnreadable, Ranking, arank_documents, rank_documents
from qwen3_vl_retrieval.lazy_imports import import_lazily
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.options import (
    EmbedderOptions,
    EmbedOptions,
    InputType,
    LoadOptions,
    OnOverflow,
    RerankerOptions,
    ScoreOptions,
    ShareOptions,
)
from qwen3_vl_retrieval.outputs.scoring import Ranked
from qwen3_vl_retrieval.protocols import (
    Embedder,
    PlainEmbedder,
    PlainReranker,
    Reranker,
    adapt_embedder,
    adapt_reranker,
)

if TYPE_CHECKING:
    from qwen3_vl_retrieval.embedder import Qwen3VLEmbedder
    from qwen3_vl_retrieval.engine.statistics import EngineStatistics
    from qwen3_vl_retrieval.reranker import Qwen3VLReranker
    from qwen3_vl_retrieval.sharing import share_embedder, share_reranker

__all__ = [
    "EmbedOptions",
    "Embedder",
    "EmbedderOptions",
    "EngineStatistics",
    "Fingerprint",
    "FingerprintMismatchError",
    "FrameSampling",
    "InputError",
    "InputTooLongError",
    "InputType",
    "Item",
    "LoadOptions",
    "MediaError",
    "MediaPolicy",
    "MediaPolicyError",
    "ModelError",
    "MultimodalInput",
    "OnError",
    "OnOverflow",
    "OnUnreadable",
    "PixelBudget",
    "PlainEmbedder",
    "PlainReranker",
    "Qwen3VLEmbedder",
    "Qwen3VLReranker",
    "Ranked",
    "Ranking",
    "RemoteError",
    "Reranker",
    "RerankerOptions",
    "RetrievalError",
    "ScoreOptions",
    "ShareOptions",
    "StoreError",
    "adapt_embedder",
    "adapt_reranker",
    "arank_documents",
    "rank_documents",
    "share_embedder",
    "share_reranker",
]

_MODULES_WITH_TORCH = {
    "EngineStatistics": "engine.statistics",
    "Qwen3VLEmbedder": "embedder",
    "Qwen3VLReranker": "reranker",
    "share_embedder": "sharing",
    "share_reranker": "sharing",
}

__getattr__ = import_lazily(__name__, _MODULES_WITH_TORCH)
