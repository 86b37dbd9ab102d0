"""A source embedded by actors on a Ray cluster of two nodes, of which an actor and a node are killed in the middle.

python tests/ray_runs.py FOLDER
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ |= {
    # The actors find what this file imports.
    "PYTHONPATH": str(Path(__file__).parent),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_AUTH_MODE": "disabled",
    # Two busy cores take long to start a node.
    "RAY_raylet_start_wait_time_s": "300",
}

from ray.cluster_utils import Cluster

from job_runs import read_parts, write_texts
from job_workers import load_slow
from qwen3_vl_retrieval.jobs import RayExecutor, RunProgress, embed_source
from qwen3_vl_retrieval.testing import FakeEmbedder


def list_actors() -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::ShardActor" in (process / "cmdline").read_bytes():
                yield int(process.name)
        except OSError:
            continue


def main(work: Path) -> None:
    write_texts(work / "source")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1)
    executor = RayExecutor(load_slow, workers=2, address=cluster.address)
    killed: list[str] = []

    def kill_some(progress: RunProgress) -> None:
        if progress.shards_done >= 2 and not killed:
            killed.append("actor")
            os.kill(next(list_actors()), signal.SIGKILL)
        elif progress.shards_done >= 5 and len(killed) == 1:
            killed.append("node")
            cluster.remove_node(node, allow_graceful=False)

    report = embed_source(
        work / "source", work / "run", executor, shard_units=2, on_progress=kill_some, on_trouble=print
    )
    cluster.shutdown()
    embed_source(work / "source", work / "whole", FakeEmbedder())
    assert report.is_complete
    assert killed == ["actor", "node"]
    assert read_parts(work / "run") == read_parts(work / "whole")
    sys.stdout.write(f"{report.units} units, {' and '.join(killed)} killed, nothing lost\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
