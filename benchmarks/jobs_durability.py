"""Is a run of workers that were killed ten times, parent included, the same as one process that nobody disturbed?

uv run python benchmarks/jobs_durability.py [--units 3000] [--kills 10] [--made-up]

With --made-up, vectors are drawn from hashes of the contents: it is about processes and files, and takes two minutes.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet
from process_trees import list_descendants

from qwen3_vl_retrieval.jobs import InProcessExecutor, ProcessExecutor, embed_source
from qwen3_vl_retrieval.testing import FakeEmbedder

_COMMAND = "from qwen3_vl_retrieval.cli import app; app()"


def start_command(source: Path, run: Path, *, workers: int, is_made_up: bool) -> subprocess.Popen[bytes]:
    if is_made_up:
        command = [sys.executable, __file__, "--embed", str(source), str(run), str(workers)]
    else:
        options = ["--workers", str(workers), *(("--shard-units", "64") if workers > 1 else ())]
        command = [
            sys.executable,
            "-c",
            _COMMAND,
            "embed",
            str(source),
            "--to",
            str(run),
            "--model",
            "pocket",
            *options,
        ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def load_made_up(_number: int) -> FakeEmbedder:
    return FakeEmbedder(dimensions=1024)


def embed_made_up(source: str, run: str, workers: int) -> None:
    executor = InProcessExecutor(load_made_up(0)) if workers == 1 else ProcessExecutor(load_made_up, workers=workers)
    embed_source(source, run, executor, shard_units=64)


def read_run(run: Path) -> dict[str, np.ndarray]:
    vectors: dict[str, np.ndarray] = {}
    for path in sorted(run.glob("**/part-*.parquet")):
        table = pyarrow.parquet.read_table(path, columns=["id", "vector"])
        for unit_id, vector in zip(table.column("id").to_pylist(), table.column("vector").to_pylist(), strict=True):
            assert unit_id not in vectors, f"{unit_id} is in two parts"
            vectors[unit_id] = np.asarray(vector, dtype=np.float32)
    return vectors


def count_failures(run: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in run.glob("**/failures-*.jsonl"))


def list_workers(parent: int) -> list[int]:
    """The processes that embed; readers of files are children of theirs."""
    return [pid for pid in list_descendants(parent) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=22)
    parser.add_argument("--made-up", action="store_true")
    parser.add_argument("--embed", nargs=3)
    options = parser.parse_args()
    if options.embed is not None:
        embed_made_up(*options.embed[:2], int(options.embed[2]))
        return
    # Not at the top, as workers import this file.
    from machine import write_result
    from pocket_files import write_files

    rng = random.Random(options.seed)
    work = Path(tempfile.mkdtemp())
    source = work / "files"
    write_files(source, options.units, seed=options.seed)
    for number in range(3):
        (source / f"broken-{number}.png").write_bytes(b"no image")
    begun = time.perf_counter()
    assert start_command(source, work / "whole", workers=1, is_made_up=options.made_up).wait() == 0
    whole_seconds = time.perf_counter() - begun
    kills: list[dict[str, object]] = []
    begun = time.perf_counter()
    process = start_command(source, work / "killed", workers=2, is_made_up=options.made_up)
    seen = 0
    while len(kills) < options.kills and process.poll() is None:
        # Not before something was finished since the last one, and then at any moment of what follows.
        if len(list((work / "killed").glob("parts/part-*.parquet"))) <= seen:
            time.sleep(0.05)
            continue
        time.sleep(rng.uniform(0, 3 * whole_seconds / options.units * 64))
        seen = len(list((work / "killed").glob("parts/part-*.parquet")))
        found = list_workers(process.pid)
        is_parent = not found or rng.random() < 0.4
        target = process.pid if is_parent else rng.choice(found)
        try:
            os.kill(target, signal.SIGKILL)
        except ProcessLookupError:
            continue
        kills.append(
            {
                "after_seconds": round(time.perf_counter() - begun, 1),
                "who": "parent" if is_parent else "worker",
                "parts": seen,
            }
        )
        if is_parent:
            process.wait()
            ended = time.perf_counter()
            while any(Path(f"/proc/{pid}/cmdline").exists() and is_running(pid) for pid in found):
                assert time.perf_counter() - ended < 60, "a worker outlived its parent"
                time.sleep(0.05)
            process = start_command(source, work / "killed", workers=2, is_made_up=options.made_up)
    status = process.wait()
    killed_seconds = time.perf_counter() - begun
    whole, killed = read_run(work / "whole"), read_run(work / "killed")
    write_result(
        "jobs_durability_made_up" if options.made_up else "jobs_durability",
        {
            "units": len(whole),
            "uninterrupted_seconds": round(whole_seconds, 1),
            "with_kills_seconds": round(killed_seconds, 1),
            "kills": kills,
            "exit_status": status,
            "same_ids": set(whole) == set(killed),
            "largest_difference_of_a_component": max(
                float(np.abs(whole[one] - killed[one]).max()) for one in set(whole) & set(killed)
            ),
            "failures": [count_failures(work / "whole"), count_failures(work / "killed")],
            "left_unfinished": len(list(work.glob("killed/**/.*.tmp"))),
        },
    )
    shutil.rmtree(work)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/status").read_text().partition("State:")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    main()
