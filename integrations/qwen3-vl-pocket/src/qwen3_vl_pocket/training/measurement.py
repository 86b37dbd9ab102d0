"""What each stage bought: the checkpoints of a run, measured on the same unseen items."""

from __future__ import annotations

import json
from pathlib import Path

from qwen3_vl_pocket.evaluation import measure_near_misses, measure_reranking, measure_retrieval
from qwen3_vl_pocket.world.collection import draw_collection, draw_hard_sets
from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker

__all__ = ["measure_run"]

_SEED = 20_261_121
"""Seed of the items and questions to measure on; no training stage draws from it."""

_HARD_SETS = 160


def measure_run(folder: Path, *, items: int) -> dict[str, dict[str, float]]:
    """Returns the metrics of every checkpoint in `folder` by stage, and writes them to `metrics.json`.

    Args:
        folder: Folder of the run.
        items: How many unseen items, in one index; hard sets are proportional.
    """
    found: dict[str, dict[str, float]] = {}
    collected, queries = draw_collection(items, seed=_SEED)
    hard_sets = draw_hard_sets(max(items * _HARD_SETS // 1000, 1), seed=_SEED)
    for name in ("s0", "s1", "reranker", "s2", "s3"):
        checkpoint = folder / "checkpoints" / name
        if not checkpoint.exists():
            continue
        if name == "reranker":
            found[name] = measure_reranking(Qwen3VLReranker.from_pretrained(checkpoint), hard_sets)
        else:
            embedder = Qwen3VLEmbedder.from_pretrained(checkpoint)
            found[name] = measure_retrieval(embedder, collected, queries) | measure_near_misses(embedder, hard_sets)
        (folder / "metrics.json").write_text(json.dumps(found, indent=2), encoding="utf-8")
    return found
