"""What do short vectors and coarse formats lose against exact search, and what room do they take?

uv run python benchmarks/index_recall.py [--units 2000] [--random 20000]

Two data sets: items of the pocket world (192 dimensions, recalled with 64), and random unit vectors of 2,048
dimensions, which are harder for a graph than any real ones.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import write_result

from qwen3_vl_pocket.world.collection import draw_collection
from qwen3_vl_retrieval import Fingerprint, Qwen3VLEmbedder
from qwen3_vl_retrieval.index.search import CandidateQuery, find_candidates
from qwen3_vl_retrieval.index.store.catalog import Place, Record
from qwen3_vl_retrieval.index.store.store import Batch, Store, measure_store

_K = 10


def fill_store(folder: Path, vectors: np.ndarray, *, short_dimensions: int, precision: Any) -> Store:
    fingerprint = Fingerprint(
        model="benchmark",
        revision="1",
        dimensions=vectors.shape[1],
        precision="float32",
        instruction="",
        pixel_budget="",
        frame_sampling="",
        max_length=1,
        prompt_version="1",
    )
    store = Store.create(folder, fingerprint, short_dimensions=short_dimensions, precision=precision)
    with store.write():
        for first in range(0, len(vectors), 1000):
            batch = Batch()
            for number, vector in enumerate(vectors[first : first + 1000], start=first):
                name = f"{number:08}"
                batch.records.append(Record(id=name, media_type="image", sha256=name))
                batch.vectors.append(vector)
                batch.places.append(Place(source=f"/{name}", unit_id=name, version=name, metadata=None))
            store.add_batch(batch)
    return store


def measure(
    vectors: np.ndarray, queries: np.ndarray, *, short_dimensions: int, precision: str, oversamples: list[int]
) -> list[dict[str, Any]]:
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :_K]
    folder = Path(tempfile.mkdtemp())
    rows: list[dict[str, Any]] = []
    with fill_store(folder / "store", vectors, short_dimensions=short_dimensions, precision=precision) as store:
        size = measure_store(store).bytes_by_part
        for oversample in oversamples:
            begun = time.perf_counter()
            found = [
                [
                    one.row - 1
                    for one in find_candidates(
                        store, CandidateQuery(vector=query, words="", limit=_K, oversample=oversample, where=None)
                    )
                ]
                for query in queries
            ]
            seconds = (time.perf_counter() - begun) / len(queries)
            recall = np.mean([len(set(a) & set(b)) / _K for a, b in zip(exact.tolist(), found, strict=True)])
            rows.append(
                {
                    "units": len(vectors),
                    "dimensions": vectors.shape[1],
                    "short_dimensions": short_dimensions,
                    "precision": precision,
                    "oversample": oversample,
                    f"recall@{_K}_against_exact": round(float(recall), 4),
                    "milliseconds_per_query": round(1000 * seconds, 1),
                    "megabytes": {name: round(count / 1e6, 1) for name, count in size.items()},
                }
            )
    shutil.rmtree(folder)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=2000)
    parser.add_argument("--random", type=int, default=20_000)
    options = parser.parse_args()
    embedder = Qwen3VLEmbedder.from_pretrained("pocket")
    items, questions = draw_collection(options.units, seed=6)
    vectors = embedder.embed_documents([item.content for item in items])
    texts = [question.content for question in questions if question.form == "text"][:: max(1, len(questions) // 500)]
    queries = embedder.embed_queries(texts)
    rows: list[dict[str, Any]] = []
    for short, precision in ((192, "float32"), (64, "float16"), (48, "float16"), (64, "int8"), (64, "ubinary")):
        rows += measure(vectors, queries, short_dimensions=short, precision=precision, oversamples=[1, 2, 4, 8])
    rng = np.random.default_rng(0)
    made_up = rng.normal(size=(options.random, 2048)).astype(np.float32)
    made_up /= np.linalg.norm(made_up, axis=1, keepdims=True)
    asked = made_up[:100] + 0.5 * rng.normal(size=(100, 2048)).astype(np.float32) / np.sqrt(2048)
    rows += measure(made_up, asked, short_dimensions=256, precision="float16", oversamples=[4])
    write_result("index_recall", {"rows": rows})


if __name__ == "__main__":
    main()
