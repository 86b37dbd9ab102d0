"""Does loading a run into a store need more memory when the run is larger?

uv run python benchmarks/jobs_memory.py [--stores index lancedb …] [--units 1000 20000] [--dimensions 2048]

Vectors are made up. Postgres is a server of its own here, and is left out of the peak of the process that loads; Milvus
Lite and the local mode of Qdrant keep their vectors in this process, as does the index.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from machine import write_result
from store_servers import serve_chroma, serve_postgres

from qwen3_vl_retrieval.index.store.parquet import ExportBatch
from qwen3_vl_retrieval.jobs.job import RESULT
from qwen3_vl_retrieval.jobs.parts import PartAccount, name_part, write_rows
from qwen3_vl_retrieval.jobs.run_folder import RunFolder
from qwen3_vl_retrieval.testing import FakeEmbedder

_SHARD_UNITS = 512
"""Units of a part, as `embed_source` makes them."""

_LOAD = """
import json, re, sys
from pathlib import Path
from qwen3_vl_retrieval import jobs
store, target, run = sys.argv[1:]
sinks = {
    "index": lambda: jobs.IndexSink(target),
    "lancedb": lambda: jobs.LanceDbSink(target, table="units"),
    "postgres": lambda: jobs.PostgresSink(target, table="units"),
    "qdrant": lambda: jobs.QdrantSink(target, collection="units"),
    "milvus": lambda: jobs.MilvusSink(target, collection="units"),
    "chroma": lambda: jobs.ChromaSink(target, collection="units"),
}
report = jobs.load_run(run, sinks[store]())
# Not ru_maxrss, which begins with what the parent held when it started this process.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"store": store, "units": report.units, "peak_mib": round(peak), "seconds": round(report.seconds, 1)}))
"""


def write_run(folder: Path, units: int, dimensions: int) -> None:
    """Writes a finished run of vectors that are drawn at random."""
    run = RunFolder(folder)
    fingerprint = FakeEmbedder(dimensions=dimensions).fingerprint
    parts: dict[str, int] = {}
    for number, first in enumerate(range(0, units, _SHARD_UNITS)):
        batch = draw_batch(range(first, min(first + _SHARD_UNITS, units)), dimensions)
        shard = hashlib.sha256(str(number).encode()).hexdigest()[:32]
        account = PartAccount(
            shard=shard,
            files=len(batch.ids),
            units=len(batch.ids),
            reused_units=0,
            failures=0,
            conditions="",
            seconds=0.0,
            finished_at=0.0,
        )
        name = name_part("part", shard)
        write_rows(run, name, fingerprint, [batch], account)
        parts[name] = len(batch.ids)
    result = {"is_complete": True, "missing": [], "parts": parts, "fingerprint": fingerprint.to_dict()}
    run.write(RESULT, json.dumps(result).encode())


def draw_batch(numbers: range, dimensions: int) -> ExportBatch:
    vectors = np.random.default_rng(numbers.start).standard_normal((len(numbers), dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]
    sources = [f"/scans/{number:08}.png" for number in numbers]
    metadata = [
        {"media_type": "image", "source": source, "sha256": one, "width": 800, "height": 600}
        for one, source in zip(hashes, sources, strict=True)
    ]
    return ExportBatch(
        ids=[one[:40] for one in hashes],
        metadata=metadata,
        texts=[f"What is said in {number}. " * 20 for number in numbers],
        contents=[None] * len(numbers),
        sources=[[source] for source in sources],
        vectors=vectors,
    )


def open_targets(work: Path, servers: ExitStack) -> dict[str, Callable[[int], str]]:
    """Returns for each store what names a new one."""

    return {
        "index": lambda units: str(work / f"index-{units}"),
        "lancedb": lambda units: str(work / f"lancedb-{units}"),
        "qdrant": lambda units: str(work / f"qdrant-{units}"),
        "milvus": lambda units: str(work / f"milvus-{units}.db"),
        "postgres": lambda units: servers.enter_context(serve_postgres(work / f"postgres-{units}")),
        "chroma": lambda units: servers.enter_context(serve_chroma(work / f"chroma-{units}")),
    }


def measure(stores: list[str], counts: list[int], dimensions: int) -> Iterator[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        work = Path(folder)
        targets = open_targets(work, servers)
        for units in counts:
            write_run(work / f"run-{units}", units, dimensions)
            for store in stores:
                command = [sys.executable, "-c", _LOAD, store, targets[store](units), str(work / f"run-{units}")]
                yield json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    stores = ["index", "lancedb", "postgres", "chroma", "milvus", "qdrant"]
    parser.add_argument("--stores", nargs="+", choices=stores, default=stores)
    parser.add_argument("--units", type=int, nargs="+", default=[1_000, 20_000])
    parser.add_argument("--dimensions", type=int, default=2_048)
    options = parser.parse_args()
    runs = []
    for run in measure(options.stores, options.units, options.dimensions):
        print(json.dumps(run), flush=True)
        runs.append(run)
    write_result("jobs_memory", {"dimensions": options.dimensions, "runs": runs})


if __name__ == "__main__":
    main()
