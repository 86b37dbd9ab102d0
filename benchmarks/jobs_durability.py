"""Is a run of workers that were killed ten times, parent included, the same as one process that nobody disturbed?

uv run --with 'ray>=2.40' python benchmarks/jobs_durability.py [--units 3000] [--made-up] [--without-ray]

Ten processes are killed by SIGKILL at random moments: workers and the parent of `--workers 2`; then the run goes on
with `--executor ray` on a cluster of two nodes, of which an actor, a whole node, and the command itself are killed.
With --made-up, vectors are drawn from hashes of the contents: it is about processes and files, and takes minutes.
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
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet
from process_trees import list_descendants

from qwen3_vl_retrieval.jobs import Executor, InProcessExecutor, ProcessExecutor, RayExecutor, embed_source
from qwen3_vl_retrieval.testing import FakeEmbedder

os.environ |= {
    # Actors find what this file imports, and the cluster tells nobody.
    "PYTHONPATH": str(Path(__file__).parent),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_AUTH_MODE": "disabled",
    # Two busy cores take long to start a node.
    "RAY_raylet_start_wait_time_s": "300",
}

_COMMAND = "from qwen3_vl_retrieval.cli import app; app()"


def start_command(source: Path, run: Path, *options: str, is_made_up: bool) -> subprocess.Popen[bytes]:
    if is_made_up:
        command = [sys.executable, __file__, "--embed", str(source), str(run), *options]
    else:
        arguments = ["embed", str(source), "--to", str(run), "--model", "pocket", "--shard-units", "64", *options]
        command = [sys.executable, "-c", _COMMAND, *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def load_made_up(_number: int) -> FakeEmbedder:
    return FakeEmbedder(dimensions=1024)


def embed_made_up(source: str, run: str, options: list[str]) -> None:
    """What the command does with the options that are used here."""
    executor: Executor = InProcessExecutor(load_made_up(0))
    if "--address" in options:
        executor = RayExecutor(load_made_up, workers=2, address=options[options.index("--address") + 1])
    elif "--workers" in options:
        executor = ProcessExecutor(load_made_up, workers=2)
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
    return [pid for pid in list_descendants(parent) if b"spawn_main" in read_command(pid)]


def list_actors() -> list[int]:
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if b"ray::ShardActor" in read_command(pid)]


def read_command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def count_parts(run: Path) -> int:
    return len(list(run.glob("parts/part-*.parquet")))


@dataclass
class Scene:
    """A run that is disturbed."""

    source: Path
    run: Path
    is_made_up: bool
    rng: random.Random
    unit_seconds: float
    kills: list[dict[str, object]] = field(default_factory=list)
    begun: float = field(default_factory=time.perf_counter)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        return start_command(self.source, self.run, "--workers", "2", *options, is_made_up=self.is_made_up)

    def wait_for_a_moment(self, process: subprocess.Popen[bytes]) -> bool:
        """Waits until something more was finished, and then for any time in which two shards are; false at the end."""
        seen = count_parts(self.run)
        while count_parts(self.run) <= seen:
            if process.poll() is not None:
                return False
            time.sleep(0.05)
        time.sleep(self.rng.uniform(0, 2 * 64 * self.unit_seconds))
        return process.poll() is None

    def note(self, who: str) -> None:
        seconds = round(time.perf_counter() - self.begun, 1)
        self.kills.append({"after_seconds": seconds, "who": who, "parts": count_parts(self.run)})
        print(self.kills[-1], flush=True)

    def kill_parent(self, process: subprocess.Popen[bytes]) -> None:
        workers = list_workers(process.pid)
        process.kill()
        process.wait()
        self.note("parent")
        ended = time.perf_counter()
        while any(map(is_running, workers)):
            assert time.perf_counter() - ended < 60, "a worker outlived its parent"
            time.sleep(0.05)

    def kill_one(self, who: str, pids: list[int]) -> None:
        os.kill(self.rng.choice(pids), signal.SIGKILL)
        self.note(who)


def disturb_processes(scene: Scene) -> None:
    """Kills four workers and three parents; the run is not finished afterwards."""
    order = ["worker", "worker", "worker", "worker", "parent", "parent"]
    scene.rng.shuffle(order)
    process = scene.start()
    for who in (*order, "parent"):
        assert scene.wait_for_a_moment(process), "the run ended before its processes were killed; give more --units"
        workers = list_workers(process.pid)
        if who == "worker" and workers:
            scene.kill_one(who, workers)
            continue
        scene.kill_parent(process)
        process = scene.start() if len(scene.kills) <= len(order) else process


def disturb_cluster(scene: Scene) -> None:
    """Kills an actor, a node and the command; the run is not finished afterwards."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1)
    process = scene.start("--executor", "ray", "--address", cluster.address)
    try:
        assert scene.wait_for_a_moment(process)
        scene.kill_one("actor", list_actors())
        assert scene.wait_for_a_moment(process)
        cluster.remove_node(node, allow_graceful=False)
        scene.note("node")
        cluster.add_node(num_cpus=1)
        assert scene.wait_for_a_moment(process)
        process.kill()
        process.wait()
        scene.note("command on the cluster")
    finally:
        process.kill()
        cluster.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=22)
    parser.add_argument("--made-up", action="store_true")
    parser.add_argument("--without-ray", action="store_true")
    if "--embed" in sys.argv:
        source, run, *rest = sys.argv[sys.argv.index("--embed") + 1 :]
        embed_made_up(source, run, rest)
        return
    options = parser.parse_args()
    # Not at the top, as workers import this file.
    from machine import write_result
    from pocket_files import write_files

    work = Path(tempfile.mkdtemp())
    source = work / "files"
    write_files(source, options.units, seed=options.seed)
    for number in range(3):
        (source / f"broken-{number}.png").write_bytes(b"no image")
    begun = time.perf_counter()
    assert start_command(source, work / "whole", is_made_up=options.made_up).wait() == 0
    whole_seconds = time.perf_counter() - begun
    scene = Scene(
        source=source,
        run=work / "killed",
        is_made_up=options.made_up,
        rng=random.Random(options.seed),
        unit_seconds=whole_seconds / options.units,
    )
    disturb_processes(scene)
    if not options.without_ray:
        disturb_cluster(scene)
    unfinished = count_parts(work / "killed")
    status = scene.start().wait()
    killed_seconds = time.perf_counter() - scene.begun
    whole, killed = read_run(work / "whole"), read_run(work / "killed")
    write_result(
        "jobs_durability_made_up" if options.made_up else "jobs_durability",
        {
            "units": len(whole),
            "parts": count_parts(work / "whole"),
            "parts_before_the_last_command": unfinished,
            "uninterrupted_seconds": round(whole_seconds, 1),
            "with_kills_seconds": round(killed_seconds, 1),
            "kills": scene.kills,
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
