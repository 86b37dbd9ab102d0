"""Who is compared: sentence-transformers at the batch size that suits it best, and a clone of the official scripts."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker

_BATCH_SIZES = (1, 4, 16, 32, 128)


def load_embedder(folder: Path, dtype: str, device: str, **options: Any) -> Qwen3VLEmbedder:
    return Qwen3VLEmbedder.from_pretrained(folder, dtype=dtype, device=device, **options)


def load_reranker(folder: Path, dtype: str, device: str, **options: Any) -> Qwen3VLReranker:
    return Qwen3VLReranker.from_pretrained(folder, dtype=dtype, device=device, **options)


def load_peer_embedder(folder: Path, dtype: str, device: str) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device=device, model_kwargs={"dtype": getattr(torch, dtype)})


def load_peer_reranker(folder: Path, dtype: str, device: str) -> Any:
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(folder), device=device, model_kwargs={"dtype": getattr(torch, dtype)})


def choose_batch_size(run: Any, inputs: Sequence[Any]) -> int:
    """Returns the batch size with which a peer is fastest on a quarter of the inputs."""
    sample = inputs[: max(len(inputs) // 4, 4)]
    seconds: dict[int, float] = {}
    for size in _BATCH_SIZES:
        if size > 1 and size >= 2 * len(inputs):
            continue
        run(sample[:2], size)
        started = time.perf_counter()
        run(sample, size)
        seconds[size] = time.perf_counter() - started
    return min(seconds, key=lambda size: seconds[size])


def load_official(clone: Path, folder: Path, dtype: str, *, kind: str) -> Any:
    """Returns the official class for a checkpoint, imported from a clone."""
    sys.path.insert(0, str(clone))
    if kind == "embedding":
        from src.models.qwen3_vl_embedding import Qwen3VLEmbedder as Official  # pyright: ignore[reportMissingImports]
    else:
        from src.models.qwen3_vl_reranker import Qwen3VLReranker as Official  # pyright: ignore[reportMissingImports]
    return Official(model_name_or_path=str(folder), torch_dtype=getattr(torch, dtype))
