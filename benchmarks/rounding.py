"""How far does a result move with its batch neighbours, in float32 and in bfloat16?

uv run python benchmarks/rounding.py [--items 48]

Texts and images of the pocket world, each alone and all in one call. `bfloat16` is computed as on a CPU (or GPU) that
has instructions for it, emulated where there are none; weights in bfloat16 on a CPU without them are computed in
float32 otherwise, and move as little as that.
"""

from __future__ import annotations

import argparse
from unittest import mock

import numpy as np
from machine import write_result

from qwen3_vl_pocket.world.collection import draw_collection
from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker


def measure(dtype: str, items: list, queries: list[str]) -> dict[str, float]:
    native = mock.patch("qwen3_vl_retrieval.engine.kernels.cpu_linear.find_arithmetic", lambda dtype, _device: dtype)
    with native:
        embedder = Qwen3VLEmbedder.from_pretrained("pocket", dtype=dtype)
        reranker = Qwen3VLReranker.from_pretrained("pocket", dtype=dtype)
        together = embedder.embed(items)
        alone = np.concatenate([embedder.embed([item]) for item in items])
        scores = [
            (reranker.score(query, items), np.concatenate([reranker.score(query, [item]) for item in items]))
            for query in queries
        ]
    cosines = (together * alone).sum(axis=1)
    return {
        "most_of_a_number": float(np.abs(together - alone).max()),
        "least_cosine": float(cosines.min()),
        "most_of_a_probability": float(max(np.abs(one - other).max() for one, other in scores)),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=48)
    options = parser.parse_args()
    documents, asked = draw_collection(options.items, seed=1)
    items = [document.content for document in documents][: options.items]
    queries = [query.content for query in asked if query.form == "text"][:3]
    result = {dtype: measure(dtype, items, queries) for dtype in ("float32", "bfloat16")}
    print(result)
    write_result("rounding", {"items": len(items), "queries": len(queries), **result})


if __name__ == "__main__":
    main()
