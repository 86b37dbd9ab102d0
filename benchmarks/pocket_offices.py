"""What does the second stage buy in the offices of the demo? Questions of many seeds, by vectors and after reranking.

uv run python benchmarks/pocket_offices.py [--offices 12]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from machine import write_result

from qwen3_vl_pocket.office import OfficeQuestion, write_office
from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.index import Hit, MultimodalIndex

_FIRST_SEED = 100
"""The demo's own office is the fifth of them."""


def is_answer(hit: Hit, question: OfficeQuestion) -> bool:
    answer = question.answer
    is_page = answer.page is None or hit.page == answer.page
    is_scene = answer.start is None or abs((0.0 if hit.start is None else hit.start) - answer.start) < 1
    return str(hit.source).endswith(answer.file) and is_page and is_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--offices", type=int, default=12)
    offices = parser.parse_args().offices
    embedder, reranker = Qwen3VLEmbedder.from_pretrained("pocket"), Qwen3VLReranker.from_pretrained("pocket")
    first: Counter[str] = Counter()
    five: Counter[str] = Counter()
    asked = 0
    by_kind: dict[str, Counter[str]] = {}
    for seed in range(_FIRST_SEED, _FIRST_SEED + offices):
        work = Path(tempfile.mkdtemp())
        office = write_office(work / "office", seed=seed)
        for stage, judge in (("vectors", None), ("reranked", reranker)):
            # Scenes of the office's clips last six seconds.
            options: dict[str, Any] = {"window_seconds": 6.0, "overlap_seconds": 0.0}
            with MultimodalIndex.open(work / "index", embedder, judge, **options) as index:
                index.sync(office.folder)
                for question in office.questions:
                    image = question.query_image
                    query = question.text if image is None else {"image": image, "text": question.text}
                    # The words of a page find its number by themselves: here only what models see counts.
                    hits = index.search(query, k=5, fetch_k=30, match_words=False)
                    ranks = [hit.rank for hit in hits if is_answer(hit, question)]
                    first[stage] += ranks[:1] == [1]
                    five[stage] += bool(ranks)
                    by_kind.setdefault(question.title, Counter())[stage] += ranks[:1] == [1]
        asked += len(office.questions)
        shutil.rmtree(work)
        print(asked, dict(first), dict(five), flush=True)
    stages = ("vectors", "reranked")
    write_result(
        "pocket_offices",
        {
            "offices": offices,
            "questions": asked,
            "recall@1": {stage: round(first[stage] / asked, 3) for stage in stages},
            "recall@5": {stage: round(five[stage] / asked, 3) for stage in stages},
            "recall@1_by_kind": {
                title: {stage: round(counts[stage] / offices, 3) for stage in stages}
                for title, counts in by_kind.items()
            },
        },
    )


if __name__ == "__main__":
    main()
