"""Would LanceDB or usearch serve the index better than Chroma? Add, search, delete, reopen, kill, two processes.

uv run --with lancedb --with usearch python benchmarks/vector_stores.py [--counts 10000 200000] [--dimensions 256]

Each store is used as the index uses its own: cosine, vectors added in batches of 5,000, searched for 50 neighbours.
Vectors are drawn around 200 centres, as those of a collection lie in groups. Every step is a process of its own, so
that what is measured has been written to the disk; a step that is killed gets SIGKILL while it adds. What is found
is compared with exact search.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from machine import write_result

BATCH = 5_000
NEIGHBOURS = 50
QUERIES = 200
Vectors = npt.NDArray[np.float32]


class Store(Protocol):
    """What the index asks of a store of vectors."""

    def add(self, numbers: npt.NDArray[np.int64], vectors: Vectors) -> None:
        """Adds vectors by their numbers."""
        ...

    def search(self, query: Vectors) -> list[int]:
        """Returns the numbers of the nearest."""
        ...

    def delete(self, numbers: npt.NDArray[np.int64]) -> None:
        """Deletes vectors."""
        ...

    def count(self) -> int:
        """Returns how many there are."""
        ...

    def finish(self) -> None:
        """Makes sure that everything is on the disk and indexed."""
        ...


class ChromaStore:
    """Chroma with the settings of the index."""

    def __init__(self, folder: Path) -> None:
        import chromadb
        from chromadb.config import Settings

        client = chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))
        graph = {"space": "cosine", "ef_construction": 200, "ef_search": 200, "max_neighbors": 32}
        self._collection: Any = client.get_or_create_collection(
            "units", configuration={"hnsw": graph}, embedding_function=None
        )

    def add(self, numbers: npt.NDArray[np.int64], vectors: Vectors) -> None:
        self._collection.add(ids=[str(number) for number in numbers], embeddings=vectors)

    def search(self, query: Vectors) -> list[int]:
        found = self._collection.query(query_embeddings=[query], n_results=NEIGHBOURS, include=[])
        return [int(number) for number in found["ids"][0]]

    def delete(self, numbers: npt.NDArray[np.int64]) -> None:
        for start in range(0, len(numbers), BATCH):
            self._collection.delete(ids=[str(number) for number in numbers[start : start + BATCH]])

    def count(self) -> int:
        return self._collection.count()

    def finish(self) -> None:
        """Everything is written by each call."""


class LanceStore:
    """LanceDB: exact below 50,000 vectors, as its documentation advises, and a graph in partitions beyond."""

    def __init__(self, folder: Path) -> None:
        import lancedb

        self._base: Any = lancedb.connect(folder)
        self._table: Any = self._base.open_table("units") if "units" in self._base.table_names() else None

    def add(self, numbers: npt.NDArray[np.int64], vectors: Vectors) -> None:
        import pyarrow as pa

        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        rows = pa.table({"number": numbers, "vector": flat})
        if self._table is None:
            self._table = self._base.create_table("units", rows)
        else:
            self._table.add(rows)

    def search(self, query: Vectors) -> list[int]:
        found = self._table.search(query).distance_type("cosine").select(["number"]).limit(NEIGHBOURS)
        return found.nprobes(20).refine_factor(4).to_arrow()["number"].to_pylist()

    def delete(self, numbers: npt.NDArray[np.int64]) -> None:
        self._table.delete(f"number in ({', '.join(map(str, numbers))})")

    def count(self) -> int:
        return self._table.count_rows()

    def finish(self) -> None:
        self._table.optimize()
        if self.count() >= 50_000:
            self._table.create_index(metric="cosine", index_type="IVF_HNSW_SQ", vector_column_name="vector")


class UsearchStore:
    """usearch: one file with a graph, which its user writes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "units.usearch"
        folder.mkdir(parents=True, exist_ok=True)
        self._index: Any = None
        if self._path.exists():
            from usearch.index import Index

            self._index = Index.restore(str(self._path))

    def add(self, numbers: npt.NDArray[np.int64], vectors: Vectors) -> None:
        from usearch.index import Index

        if self._index is None:
            self._index = Index(
                ndim=vectors.shape[1],
                metric="cos",
                dtype="f32",
                connectivity=32,
                expansion_add=200,
                expansion_search=200,
            )
        self._index.add(numbers, vectors)

    def search(self, query: Vectors) -> list[int]:
        return [int(number) for number in self._index.search(query, NEIGHBOURS).keys]

    def delete(self, numbers: npt.NDArray[np.int64]) -> None:
        self._index.remove(numbers)

    def count(self) -> int:
        return len(self._index)

    def finish(self) -> None:
        self._index.save(str(self._path))


STORES: dict[str, Callable[[Path], Store]] = {"chroma": ChromaStore, "lancedb": LanceStore, "usearch": UsearchStore}


def draw_vectors(count: int, dimensions: int, seed: int) -> Vectors:
    """Returns unit vectors around 200 centres."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((200, dimensions)).astype(np.float32)
    drawn = centres[random.integers(200, size=count)] + 0.8 * random.standard_normal((count, dimensions), np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def add_vectors(store: Store, count: int, dimensions: int, *, first: int = 0, seed: int = 1) -> None:
    vectors = draw_vectors(count, dimensions, seed)
    for start in range(0, count, BATCH):
        part = vectors[start : start + BATCH]
        store.add(np.arange(first + start, first + start + len(part)), part)
        print(json.dumps({"added": first + start + len(part)}), flush=True)
    store.finish()


def search_vectors(store: Store, count: int, dimensions: int, gone: int) -> dict[str, Any]:
    """Returns the milliseconds of a search and the share of the true neighbours that were found."""
    vectors, queries = draw_vectors(count, dimensions, 1), draw_vectors(QUERIES, dimensions, 2)
    vectors[:gone] = 0
    store.search(queries[0])
    times: list[float] = []
    found: list[list[int]] = []
    for query in queries:
        started = time.perf_counter()
        found.append(store.search(query))
        times.append(time.perf_counter() - started)
    exact = np.argpartition(-(queries @ vectors.T), NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    shares = [len(set(own) & set(true.tolist())) / NEIGHBOURS for own, true in zip(found, exact, strict=True)]
    deleted = sum(number < gone for own in found for number in own)
    return {
        "search_ms": round(1000 * float(np.median(times)), 2),
        "recall_at_50": round(float(np.mean(shares)), 4),
        "deleted_ones_found": deleted,
    }


def run_step(step: str, name: str, folder: Path, count: int, dimensions: int) -> None:
    """Does one step and prints what came of it."""
    started = time.perf_counter()
    store = STORES[name](folder)
    told: dict[str, Any] = {}
    if step == "add":
        add_vectors(store, count, dimensions)
    elif step == "add more":
        add_vectors(store, count, dimensions, first=10_000_000, seed=3)
    elif step == "search":
        store.search(draw_vectors(1, dimensions, 2)[0])
        told["seconds_to_first"] = round(time.perf_counter() - started, 3)
        told |= search_vectors(store, count, dimensions, gone=0)
    elif step == "search after deleting":
        told |= search_vectors(store, count, dimensions, gone=count // 10)
    elif step == "delete":
        store.delete(np.arange(count // 10))
        store.finish()
    told |= {"seconds": round(time.perf_counter() - started, 2), "count": store.count()}
    print(json.dumps(told), flush=True)


def start_step(step: str, name: str, folder: Path, count: int, dimensions: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--step", step, name, str(folder), str(count), str(dimensions)]
    environment = os.environ | {"LANCE_LOG": "error", "PYTHONWARNINGS": "ignore"}
    # Nobody reads what is logged until the step has ended, and a full pipe would hold it up.
    with (folder.parent / f"{folder.name}.log").open("a") as log:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)


def wait_step(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate()
    lines = output.splitlines()
    if process.returncode or not lines:
        return {"failed": f"status {process.returncode}, see the log beside the folder"}
    return json.loads(lines[-1])


def kill_step(process: subprocess.Popen[str], *, after: int) -> int:
    """Kills a step once it has said that it added more than `after`; returns how many it had said then."""
    added = 0
    for line in process.stdout or ():
        added = json.loads(line).get("added", added)
        if added - 10_000_000 >= after:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    return added - 10_000_000


def measure_store(name: str, count: int, dimensions: int) -> dict[str, Any]:
    """Returns what a store takes for every step."""
    folder = Path(tempfile.mkdtemp(prefix=f"vectors-{name}-"))
    arguments = (name, folder, count, dimensions)
    try:
        result: dict[str, Any] = {"add": wait_step(start_step("add", *arguments))}
        result["megabytes"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) >> 20
        result["search"] = wait_step(start_step("search", *arguments))
        result["delete"] = wait_step(start_step("delete", *arguments))
        result["search after deleting"] = wait_step(start_step("search after deleting", *arguments))
        said = kill_step(start_step("add more", *arguments), after=BATCH)
        result["killed while adding"] = {"said_added": said, **wait_step(start_step("count", *arguments))}
        both = [start_step("add more" if number else "delete", *arguments) for number in range(2)]
        result["two processes at once"] = [wait_step(process) for process in both]
        result["afterwards"] = wait_step(start_step("count", *arguments))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def main() -> None:
    if sys.argv[1:2] == ["--step"]:
        step, name, folder, count, dimensions = sys.argv[2:]
        run_step(step, name, Path(folder), int(count), int(dimensions))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 200_000])
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--stores", nargs="+", default=list(STORES), choices=list(STORES))
    options = parser.parse_args()
    names = {"chroma": "chromadb", "lancedb": "lancedb", "usearch": "usearch"}
    result: dict[str, Any] = {"dimensions": options.dimensions}
    result["versions"] = {name: version(names[name]) for name in options.stores}
    for count in options.counts:
        result[f"{count} vectors"] = {}
        for name in options.stores:
            result[f"{count} vectors"][name] = measured = measure_store(name, count, options.dimensions)
            print(count, name, json.dumps(measured), flush=True)
    write_result("vector_stores", result)


if __name__ == "__main__":
    main()
