"""Does a run of a thousand workers finish with nothing lost or doubled, when workers, nodes and the driver fail?

uv run python benchmarks/jobs_simulation.py [--workers 1000] [--shards 5000]

A tenth as many shards are run before, so that it shows how memory grows.

Everything that decides is the package's own: the listing, the shards, what is tried again, what counts as finished,
the names of parts, and the verification (`embed_source` with an executor like any other). Every part is written for
real, of small texts with vectors drawn from hashes. What is simulated is time: how long a worker takes for a shard,
when it ends, when a node is lost and comes back.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet

from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.jobs import Executor, RunReport, embed_source
from qwen3_vl_retrieval.jobs.in_process import run_task
from qwen3_vl_retrieval.jobs.shard_embedder import ShardEmbedder
from qwen3_vl_retrieval.jobs.tasks import ShardOutcome, ShardTask, WorkSettings
from qwen3_vl_retrieval.testing import FakeEmbedder

_TEXTS = 4
"""Units of a shard here, roughly."""

_PAGES = 512
"""Units of the shard that it stands for."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What is assumed of the machines; times in seconds."""

    workers: int
    workers_per_node: int = 8
    page: float = 0.4
    """The 2B model on an L4 (121 TFLOP/s) that reaches a third of its peak, by the operations in `scale.py`."""
    spread: float = 0.3
    """Of the logarithm of a shard's time: pages differ, and so do neighbours."""
    slow_share: float = 0.01
    slow_times: float = 5.0
    """A shard in a hundred takes five times as long."""
    storage: float = 2.0
    """To fetch files and write a part, on average."""
    start: float = 90.0
    """To start a worker and load its model."""
    replace_node: float = 600.0
    """Until another node is there."""
    failing_share: float = 0.02
    """Shards whose worker ends on the way, each time that they are given to one."""
    lost_nodes: float = 0.05
    """Nodes that are lost in the time that the work takes without failures."""
    written_share: float = 0.1
    """Workers that end after their part was written, and before they could say so."""
    driver_losses: int = 2
    restart_driver: float = 120.0


class DriverLost(BaseException):
    """Stands for the end of the process that places the shards."""


@dataclass(kw_only=True)
class Clock:
    """The time of the simulation, and what was done in it, over all calls."""

    now: float = 0.0
    useful: float = 0.0
    lost: float = 0.0
    lost_to_driver: float = 0.0
    longest: float = 0.0
    trials: float = 0.0
    starting: float = 0.0
    idle: float = 0.0
    finished_at: list[float] = field(default_factory=list[float])
    ended: Counter[str] = field(default_factory=Counter[str])


@dataclass(kw_only=True, eq=False)
class Worker:
    number: int
    generation: int = 0
    task: ShardTask | None = None
    since: float = 0.0
    is_ready: bool = False


class SimulatedCluster(Executor):
    """Workers whose time is drawn; they write parts for real."""

    def __init__(self, world: World, clock: Clock, rng: random.Random, losses: dict[int, float], driver: float) -> None:
        self._world, self._clock, self._rng = world, clock, rng
        self._events: list[tuple[float, int, str, int, int]] = []
        self._order = count()
        self._workers = [Worker(number=number) for number in range(world.workers)]
        self._idle: list[Worker] = []
        self._losses = losses
        self._crashed: list[ShardOutcome] = []
        self._shards: ShardEmbedder | None = None
        for worker in self._workers:
            self._start(worker, self._clock.now)
        for node, moment in losses.items():
            self._plan(max(moment, clock.now), "node", node, 0)
        self._plan(driver, "driver", 0, 0)

    def start(self, settings: WorkSettings) -> Fingerprint:
        self._shards = ShardEmbedder(FakeEmbedder(dimensions=32), settings)
        return self._shards.fingerprint

    @property
    def device_count(self) -> int:
        return self._world.workers

    def has_room(self) -> bool:
        return bool(self._idle)

    def submit(self, task: ShardTask) -> None:
        worker = self._idle.pop()
        self._clock.idle += self._clock.now - worker.since
        worker.task, worker.since = task, self._clock.now
        seconds = self._draw_seconds(len(task.entries))
        is_fatal = any("fatal-" in entry.sources[0] for entry in task.entries)
        if is_fatal or self._rng.random() < self._world.failing_share:
            self._plan(self._clock.now + seconds * self._rng.random(), "worker", worker.number, worker.generation)
        else:
            self._plan(self._clock.now + seconds, "done", worker.number, worker.generation)

    def wait(self) -> ShardOutcome | None:
        if self._crashed:
            return self._crashed.pop()
        self._clock.now, _, event, number, generation = heapq.heappop(self._events)
        if event == "driver":
            self._clock.ended["driver"] += 1
            raise DriverLost
        if event == "node":
            self._clock.ended["node"] += 1
            del self._losses[number]
            first = number * self._world.workers_per_node
            for worker in self._workers[first : first + self._world.workers_per_node]:
                self._end(worker, "its node was lost")
                self._start(worker, self._clock.now + self._world.replace_node)
            return None
        worker = self._workers[number]
        if generation != worker.generation:
            return None
        if event == "ready":
            worker.is_ready, worker.since = True, self._clock.now
            self._idle.append(worker)
            return None
        if event == "worker":
            self._clock.ended["worker"] += 1
            self._end(worker, "it ended by SIGKILL")
            self._start(worker, self._clock.now)
            return None
        return self._finish(worker)

    def close(self) -> None:
        for worker in self._workers:
            if worker.task is not None:
                self._clock.lost += self._clock.now - worker.since
                self._clock.lost_to_driver += self._clock.now - worker.since
            elif worker.is_ready:
                self._clock.idle += self._clock.now - worker.since

    def _finish(self, worker: Worker) -> ShardOutcome:
        task, seconds = worker.task, self._clock.now - worker.since
        assert task is not None
        worker.task, worker.since = None, self._clock.now
        self._idle.append(worker)
        if task.is_trial:
            self._clock.trials += seconds
        else:
            self._clock.useful += seconds
            self._clock.longest = max(self._clock.longest, seconds)
            self._clock.finished_at.append(self._clock.now)
        return self._run(task)

    def _end(self, worker: Worker, how: str) -> None:
        task, worker.task = worker.task, None
        if worker in self._idle:
            self._idle.remove(worker)
            self._clock.idle += self._clock.now - worker.since
        if task is None:
            return
        self._clock.lost += self._clock.now - worker.since
        if self._rng.random() < self._world.written_share and not any(
            "fatal-" in one.sources[0] for one in task.entries
        ):
            self._run(task)
        self._crashed.append(ShardOutcome(task=task, crash=how))

    def _start(self, worker: Worker, moment: float) -> None:
        worker.generation += 1
        worker.is_ready = False
        seconds = self._world.start * self._rng.uniform(0.7, 1.5)
        self._clock.starting += moment - self._clock.now + seconds
        self._plan(moment + seconds, "ready", worker.number, worker.generation)

    def _run(self, task: ShardTask) -> ShardOutcome:
        assert self._shards is not None
        return run_task(self._shards, task)

    def _draw_seconds(self, texts: int) -> float:
        seconds = texts / _TEXTS * _PAGES * self._world.page * self._rng.lognormvariate(0.0, self._world.spread)
        if self._rng.random() < self._world.slow_share:
            seconds *= self._world.slow_times
        return seconds + self._rng.expovariate(1 / self._world.storage)

    def _plan(self, moment: float, event: str, number: int, generation: int) -> None:
        heapq.heappush(self._events, (moment, next(self._order), event, number, generation))


def simulate(folder: Path, world: World, *, shards: int, fatal: int, seed: int) -> dict[str, Any]:
    """Returns what came of a run below `folder`, which is empty."""
    rng = random.Random(seed)
    source, run = folder / "source", folder / "run"
    files = write_texts(source, texts=shards * _TEXTS, fatal=fatal)
    clock = Clock()
    ideal = shards * (_PAGES * world.page + world.storage) / world.workers
    nodes = world.workers // world.workers_per_node
    lost = rng.sample(range(nodes), round(world.lost_nodes * nodes))
    losses = {node: rng.uniform(world.start, world.start + ideal) for node in lost}
    drivers = [world.start + ideal * (number + 1) / (world.driver_losses + 1) for number in range(world.driver_losses)]
    begun = time.perf_counter()
    troubles: list[str] = []
    report: RunReport | None = None
    while report is None:
        driver = next((moment for moment in drivers if moment > clock.now), float("inf"))
        cluster = SimulatedCluster(world, clock, rng, losses, driver)
        with suppress(DriverLost):
            report = embed_source(source, run, cluster, shard_units=_TEXTS, on_trouble=troubles.append)
            break
        clock.now += world.restart_driver
    seconds = time.perf_counter() - begun
    clock.finished_at.sort()
    busy = clock.useful + clock.lost + clock.trials
    total = world.workers * clock.finished_at[-1]
    return {
        "workers": world.workers,
        "nodes": nodes,
        "shards": len(report.parts),
        "files": files,
        "fatal_files": fatal,
        "ended": dict(clock.ended),
        "tried_again": sum("is tried again" in trouble for trouble in troubles),
        "is_complete": report.is_complete,
        **check_parts(run, source),
        "ideal_seconds": round(clock.useful / world.workers),
        "seconds": round(clock.finished_at[-1]),
        "last_percent_seconds": round(clock.finished_at[-1] - clock.finished_at[int(0.99 * len(clock.finished_at))]),
        "share_done_in_vain": round((clock.lost + clock.trials) / busy, 4),
        "share_lost_to_driver": round(clock.lost_to_driver / busy, 4),
        "longest_shard_seconds": round(clock.longest),
        "share_of_trials": round(clock.trials / busy, 4),
        "share_starting": round(clock.starting / total, 4),
        "share_idle": round(clock.idle / total, 4),
        "driver": {
            "seconds": round(seconds, 1),
            "peak_bytes": measure_peak(),
            "run_json_bytes": (run / "run.json").stat().st_size,
            "plan_json_bytes": (run / "plan.json").stat().st_size,
            "manifest_bytes": sum(path.stat().st_size for path in run.glob("manifest-*")),
        },
    }


def write_texts(folder: Path, *, texts: int, fatal: int) -> int:
    """Writes texts of one unit each, and some that end whoever reads them; returns how many there are."""
    every = texts // max(1, fatal)
    for number in range(texts):
        place = folder / f"{number // 1000:04}"
        if number % 1000 == 0:
            place.mkdir(parents=True)
        name = "fatal" if number % every == 0 and number // every < fatal else "text"
        (place / f"{name}-{number:07}.txt").write_text(f"What is said in text {number}.")
    return texts


def check_parts(run: Path, source: Path) -> dict[str, Any]:
    """Returns how often files are in parts or named as failures, from the files of the run alone."""
    held = Counter(list_held(run))
    failed = Counter(
        json.loads(line)["source"]
        for path in run.glob("parts/failures-*.jsonl")
        for line in path.read_text().splitlines()
    )
    files = {str(path) for path in source.rglob("*.txt")}
    return {
        "lost": len(files - held.keys() - failed.keys()),
        "doubled": sum(times - 1 for times in (held + failed).values()),
        "strange": len((held.keys() | failed.keys()) - files),
        "named_failures": len(failed),
        "wrongly_named": sum("fatal-" not in name for name in failed),
        "unfinished_files": len(list(run.rglob(".*.tmp"))),
    }


def measure_peak() -> int:
    """Returns the most memory that this process has taken so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def list_held(run: Path) -> Iterator[str]:
    """Yields the file of each unit."""
    for path in run.glob("parts/part-*.parquet"):
        yield from pyarrow.parquet.read_table(path, columns=["source"]).column("source").to_pylist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=5000)
    parser.add_argument("--fatal", type=int, default=10)
    parser.add_argument("--seed", type=int, default=22)
    options = parser.parse_args()
    from machine import write_result

    world = World(workers=options.workers)
    runs: list[dict[str, Any]] = []
    for shards in (options.shards // 10, options.shards):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            runs.append(simulate(Path(folder), world, shards=shards, fatal=options.fatal, seed=options.seed))
        print(json.dumps(runs[-1]), flush=True)
    write_result("jobs_simulation", {"assumed": vars(world), "pages_of_a_shard": _PAGES, "runs": runs})


if __name__ == "__main__":
    main()
