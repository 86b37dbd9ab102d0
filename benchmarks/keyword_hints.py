"""Do the words of a question help the first stage, or hurt it where the answer is an image?

uv run python benchmarks/keyword_hints.py [--items 700] [--questions 200]

Items of the pocket world without its videos, asked about in three languages: nDCG@10 of the first stage by kind of
answer, by vectors alone and with the keyword index.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from machine import write_result

from qwen3_vl_pocket.world.collection import Item, Query, draw_collection
from qwen3_vl_retrieval import Qwen3VLEmbedder
from qwen3_vl_retrieval.index import MultimodalIndex


def measure(
    index: MultimodalIndex, items: list[Item], questions: list[Query], *, match_words: bool
) -> dict[str, float]:
    """Returns nDCG@10 by the kind of the answer."""
    gains: dict[str, list[float]] = defaultdict(list)
    for question in questions:
        hits = index.search(question.content, k=10, match_words=match_words, rerank=False)
        rank = next((hit.rank for hit in hits if hit.metadata["number"] == question.answer), None)
        gain = 0.0 if rank is None else 1 / math.log2(rank + 1)
        gains[items[question.answer].group].append(gain)
        gains["all"].append(gain)
    return {group: round(float(np.mean(values)), 3) for group, values in sorted(gains.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=700)
    parser.add_argument("--questions", type=int, default=200)
    options = parser.parse_args()
    items, queries = draw_collection(options.items, seed=5)
    kept = [number for number, item in enumerate(items) if item.group != "clip"]
    asked = [query for query in queries if query.form == "text" and items[query.answer].group != "clip"]
    questions = random.Random(1).sample(asked, options.questions)
    embedder = Qwen3VLEmbedder.from_pretrained("pocket")
    with (
        tempfile.TemporaryDirectory() as folder,
        MultimodalIndex.open(Path(folder) / "index", embedder) as index,
    ):
        index.add([items[number].content for number in kept], metadata=[{"number": number} for number in kept])
        rows = {
            name: measure(index, items, questions, match_words=match_words)
            for name, match_words in (("vectors", False), ("vectors and words", True))
        }
    for name, row in rows.items():
        print(name, row)
    write_result("keyword_hints", {"units": len(kept), "questions": len(questions), "ndcg@10": rows})


if __name__ == "__main__":
    main()
