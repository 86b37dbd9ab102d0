"""Is this commit slower, or does it take more memory, than another one? Each row of both, in turns.

git worktree add ../before 43e27bc
uv run python benchmarks/compare_commits.py ../before [--dtype float32] [--rounds 7] [--rows texts pages]

Each side is a process of its own with the packages of its checkout and the same environment. The sides take turns,
one call each, and what is reported is the ratio of medians (this commit to the other: below 1 is faster), the same of
processor time, which a busy machine disturbs less, and the ratio of the most memory that the processes held.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checkpoints import build_checkpoint
from machine import describe_machine, write_result
from speed_inputs import draw_texts, write_clips, write_pages

ROOT = Path(__file__).parents[1]
PACKAGES = ("qwen3-vl-retrieval", "qwen3-vl-pocket")
QUERY = "Which page says who signed the contract, and when was that?"
CHECKPOINTS = Path(".benchmarks/checkpoints")
ROWS = ("texts", "short texts", "one query", "pages", "mixed folder", "judged texts", "judged pages", "judged again")


def build_row(row: str, dtype: str, embedding: Path, reranker: Path) -> Callable[[], object]:
    """Returns the work of a row, as it can be written at both commits."""
    from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker

    media = CHECKPOINTS.parent / "pages"
    pages = write_pages(media, 4)
    if row.startswith("judged"):
        judge = Qwen3VLReranker.from_pretrained(reranker, dtype=dtype, device="cpu")
        documents: list[Any] = draw_texts(50, fewest=20, most=200) if row == "judged texts" else list(pages)

        def judge_documents() -> object:
            if row == "judged pages":
                # No caller needs to forget images, and so there is no public way.
                judge._engine.executor._features.clear()  # pyright: ignore[reportPrivateUsage]
            return judge.score(QUERY, documents)

        return judge_documents
    # Queries keep nothing: a second call over the same pages must encode them again.
    embedder = Qwen3VLEmbedder.from_pretrained(embedding, dtype=dtype, device="cpu")
    items: list[Any] = {
        "texts": draw_texts(128, fewest=5, most=200),
        "short texts": draw_texts(128, fewest=3, most=12),
        "one query": ["who signed the contract"],
        "pages": list(pages),
        "mixed folder": [
            *draw_texts(48, fewest=5, most=200),
            *write_pages(media, 4, size=(320, 416), seed=1),
            *write_clips(media, 2),
        ],
    }[row]

    def embed_items() -> object:
        embedder._engine.executor._features.clear()  # pyright: ignore[reportPrivateUsage]
        return embedder.embed(items)

    return embed_items


def serve_row(row: str, dtype: str, embedding: Path, reranker: Path) -> None:
    """Runs the work of a row for each line that comes, and prints its seconds; at the end the most memory."""
    work = build_row(row, dtype, embedding, reranker)
    work()
    print("ready", flush=True)
    for _ in sys.stdin:
        started, processor = time.perf_counter(), time.process_time()
        work()
        print(time.perf_counter() - started, time.process_time() - processor, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)


def start_side(checkout: Path, arguments: list[str]) -> subprocess.Popen[str]:
    """Returns a process with the packages of a checkout."""
    sources = [str(checkout / "integrations" / name / "src") for name in PACKAGES]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sources), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(Path(__file__).resolve()), "--serve", *arguments]
    side = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )
    if ask(side, "") != "ready":
        raise SystemExit(f"the packages of {checkout} could not be measured; see above")
    return side


def ask(side: subprocess.Popen[str], line: str) -> str:
    """Writes a line to a side, unless it is empty, and returns what it answers."""
    if side.stdin is None or side.stdout is None:
        raise SystemExit("the side was not started with pipes")
    if line:
        side.stdin.write(line + "\n")
        side.stdin.flush()
    return side.stdout.readline().strip()


def compare_row(row: str, other: Path, options: argparse.Namespace, folders: tuple[Path, Path]) -> dict[str, Any]:
    """Returns the ratios of a row."""
    arguments = [row, options.dtype, *map(str, folders)]
    sides = {"ours": start_side(ROOT, arguments), "other": start_side(other, arguments)}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    processor: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(options.rounds):
        # Whoever is first in a turn may find the caches colder.
        for name in sorted(sides, reverse=bool(turn % 2)):
            wall, used = map(float, ask(sides[name], "go").split())
            seconds[name].append(wall)
            processor[name].append(used)
    kilobytes: dict[str, int] = {}
    for name, side in sides.items():
        output, _ = side.communicate()
        kilobytes[name] = int(output.split()[-1])
    median = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "ratio_of_medians": round(median["ours"] / median["other"], 3),
        "ratio_of_processor_time": round(
            statistics.median(processor["ours"]) / statistics.median(processor["other"]), 3
        ),
        "ratio_of_least": round(min(seconds["ours"]) / min(seconds["other"]), 3),
        "ratio_of_memory": round(kilobytes["ours"] / kilobytes["other"], 3),
        "seconds": round(median["ours"], 3),
        "megabytes": kilobytes["ours"] // 1024,
    }


def main() -> None:
    if "--serve" in sys.argv:
        row, dtype, embedding, reranker = sys.argv[2:]
        serve_row(row, dtype, Path(embedding), Path(reranker))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="a checkout of the other commit")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--to", default="commits", help="name of the result; `-` only prints")
    options = parser.parse_args()
    folders = (
        build_checkpoint(CHECKPOINTS, "embedding", shape="74m"),
        build_checkpoint(CHECKPOINTS, "reranker", shape="74m"),
    )
    commit = subprocess.run(
        ["git", "-C", str(options.other), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows: dict[str, dict[str, Any]] = {}
    result = {"other": commit.stdout.strip(), "dtype": options.dtype, "rounds": options.rounds, "rows": rows}
    for row in options.rows:
        rows[row] = compare_row(row, options.other.resolve(), options, folders)
        # After each row: what was measured is not lost with a run that is ended.
        if options.to == "-":
            print(json.dumps(describe_machine() | result, indent=2), flush=True)
        else:
            write_result(f"compare_{options.to}_{options.dtype}", result)


if __name__ == "__main__":
    main()
