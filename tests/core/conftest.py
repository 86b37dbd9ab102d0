"""The reference checkpoints and cases, and models loaded once a session."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker

REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture(scope="session")
def reference() -> Path:
    return REFERENCE


@pytest.fixture(scope="session")
def media() -> Path:
    return REFERENCE / "media"


@pytest.fixture(scope="session")
def cases() -> dict[str, Any]:
    """What the official scripts computed; file names are made into paths."""

    def locate(value: Any) -> Any:
        return [locate(one) for one in value] if isinstance(value, list) else str(REFERENCE / "media" / value)

    def locate_media(item: dict[str, Any]) -> dict[str, Any]:
        return {key: locate(value) if key in ("image", "video") else value for key, value in item.items()}

    cases = json.loads((REFERENCE / "cases.json").read_text(encoding="utf-8"))
    for case in cases["embedding_cases"]:
        case["input"] = locate_media(case["input"])
    for case in cases["reranker_cases"]:
        case["query"] = locate_media(case["query"])
        case["documents"] = [locate_media(document) for document in case["documents"]]
    return cases


@pytest.fixture(scope="session")
def make_embedder() -> Callable[..., Qwen3VLEmbedder]:
    """Builds embedders around one loaded model."""
    loaded = Qwen3VLEmbedder.from_pretrained(REFERENCE / "checkpoints/embedding", device="cpu", dtype="float32")

    def make(**options: Any) -> Qwen3VLEmbedder:
        return Qwen3VLEmbedder(loaded.model, loaded.processor, **options)

    return make


@pytest.fixture(scope="session")
def embedder(make_embedder: Callable[..., Qwen3VLEmbedder]) -> Qwen3VLEmbedder:
    return make_embedder()


@pytest.fixture(scope="session")
def make_reranker() -> Callable[..., Qwen3VLReranker]:
    """Builds rerankers around one loaded model."""
    loaded = Qwen3VLReranker.from_pretrained(REFERENCE / "checkpoints/reranker", device="cpu", dtype="float32")

    def make(**options: Any) -> Qwen3VLReranker:
        return Qwen3VLReranker(loaded.model, loaded.processor, score_weight=loaded.score_weight, **options)

    return make


@pytest.fixture(scope="session")
def reranker(make_reranker: Callable[..., Qwen3VLReranker]) -> Qwen3VLReranker:
    return make_reranker()
