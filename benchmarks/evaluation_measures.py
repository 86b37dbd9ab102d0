"""Does `qwen3vl eval` measure what trec_eval does? Its exported runs are measured again by pytrec_eval.

uv run python benchmarks/evaluation_measures.py [--items 1000] [--questions 300]

Images, pages, videos and texts of the pocket world, indexed and asked about by the commands, with both stages.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytrec_eval
from machine import write_result
from pocket_files import write_files

MEASURES = {"ndcg@10": "ndcg_cut_10", "recall@10": "recall_10", "precision@10": "P_10", "mrr": "recip_rank"}


def run(*arguments: object) -> None:
    """Runs the command `qwen3vl`."""
    code = "from qwen3_vl_retrieval.cli import app; app()"
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, env=os.environ)


def write_questions(path: Path, files: Path, *, items: int, questions: int) -> None:
    """Writes the files, and a question a line about some of them."""
    places, queries = write_files(files, items, seed=3)
    asked = random.Random(3).sample([query for query in queries if query.form == "text"], questions)
    with path.open("w", encoding="utf-8") as file:
        for number, query in enumerate(asked):
            name, _, page = places[query.answer].partition("#")
            relevant = {"source": name} | ({"page": int(page)} if page else {})
            line = {"id": f"q{number}", "text": query.content, "language": query.language, "relevant": [relevant]}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def measure_again(prefix: Path, stage: str) -> dict[str, float]:
    """Returns the means of pytrec_eval over an exported run."""
    judged = pytrec_eval.parse_qrel(prefix.with_name(f"{prefix.name}.qrels").open(encoding="utf-8"))
    ranked = pytrec_eval.parse_run(prefix.with_name(f"{prefix.name}.{stage}.trec").open(encoding="utf-8"))
    evaluator: Any = pytrec_eval.RelevanceEvaluator(judged, set(MEASURES.values()))
    per_question = evaluator.evaluate(ranked)
    return {
        ours: float(np.mean([per_question.get(question, {}).get(name, 0.0) for question in judged]))
        for ours, name in MEASURES.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--questions", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_questions(root / "asked.jsonl", root / "files", items=options.items, questions=options.questions)
        run("index", root / "files", "--to", root / "store", "--model", "pocket")
        output, prefix = root / "measured.json", root / "run"
        asked = ("eval", root / "store", "--questions", root / "asked.jsonl", "--reranker", "pocket")
        run(*asked, "--fetch-k", 20, "--depths", "none", "--json", output, "--run", prefix)
        measured = json.loads(output.read_text(encoding="utf-8"))["stages"]
        stages = {stage: measure_again(prefix, stage) for stage in ("first", "reranked")}
    rows = {stage: {name: round(measured[stage][name], 6) for name in MEASURES} for stage in stages}
    largest = max(abs(measured[stage][name] - again[name]) for stage, again in stages.items() for name in MEASURES)
    print(json.dumps(rows, indent=2), f"largest difference: {largest:.2g}")
    counts = {"items": options.items, "questions": options.questions}
    write_result("evaluation_measures", counts | {"stages": rows, "largest_difference": largest})


if __name__ == "__main__":
    main()
