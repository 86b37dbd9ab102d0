"""What the package offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import qwen3_vl_retrieval


def test_the_public_names_are_these():
    assert qwen3_vl_retrieval.__all__ == [
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
    assert all(hasattr(qwen3_vl_retrieval, name) for name in qwen3_vl_retrieval.__all__)


def test_importing_the_package_loads_neither_torch_nor_transformers():
    script = (
        "import sys, qwen3_vl_retrieval; print(sorted({'torch', 'transformers', 'av', 'httpx'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
    assert result.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Qwen3VLEmbeder"):
        _ = qwen3_vl_retrieval.Qwen3VLEmbeder


def test_the_classes_fulfil_the_protocols(embedder, reranker):
    assert isinstance(embedder, qwen3_vl_retrieval.Embedder)
    assert isinstance(reranker, qwen3_vl_retrieval.Reranker)
