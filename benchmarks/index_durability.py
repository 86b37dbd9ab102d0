"""Is an index that was killed ten times the same as one that was not, and does a sync do exactly what changed?

uv run python benchmarks/index_durability.py [--units 2000]
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import write_result
from pocket_files import write_files

from qwen3_vl_retrieval import Qwen3VLEmbedder
from qwen3_vl_retrieval.index import MultimodalIndex, Store

_KILLS = 10
_COMMAND = "from qwen3_vl_retrieval.cli import app; app()"


class CountingEmbedder:
    """The pocket embedder, with a count of what goes through it."""

    def __init__(self) -> None:
        self._embedder = Qwen3VLEmbedder.from_pretrained("pocket")
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def prepare(self, inputs: Sequence[Any], **options: Any) -> Any:
        return self._embedder.prepare(inputs, **options)

    def embed_prepared(self, prepared: Sequence[Any], **options: Any) -> Any:
        self.count += len(prepared)
        return self._embedder.embed_prepared(prepared, **options)


def run_command(folder: Path, store: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "index", str(folder), "--to", str(store), "--model", "pocket"],
        stdout=subprocess.DEVNULL,
    )


def read_store(path: Path) -> dict[str, np.ndarray]:
    with Store.open(path) as store:
        store.refresh()
        rows = store.catalog.list_rows()
        assert store.collection.count() == len(rows)
        units, vectors = store.catalog.load_units(rows), store.sidecar.read(rows)
        return {units[row].record.id: vector for row, vector in zip(rows, vectors, strict=True)}


def change_files(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    notes = sorted(folder.glob("*.txt"))
    pictures = sorted(folder.glob("*.png"))
    rng.shuffle(pictures)
    changed, deleted = pictures[:count], pictures[count : 2 * count]
    for one, other in zip(changed, pictures[2 * count : 3 * count], strict=True):
        # A picture that is nowhere else: the other one, a little brighter.
        from PIL import Image, ImageEnhance

        ImageEnhance.Brightness(Image.open(other)).enhance(0.97).save(one)
    for path in deleted:
        path.unlink()
    for number in range(count):
        (folder / f"added-{number:02}.txt").write_text(notes[number].read_text() + f" {number}")
    return {"changed": count, "deleted": count, "added": count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=2000)
    options = parser.parse_args()
    rng = random.Random(4)
    work = Path(tempfile.mkdtemp())
    folder = work / "files"
    write_files(folder, options.units, seed=4)
    begun = time.perf_counter()
    assert run_command(folder, work / "whole").wait() == 0
    whole_seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    assert run_command(folder, work / "whole").wait() == 0
    idle_seconds = time.perf_counter() - begun
    killed_after: list[float] = []
    for _ in range(_KILLS):
        # A run without work takes idle_seconds; beyond that, each gets on by a tenth of the work or so.
        seconds = idle_seconds * 0.8 + rng.random() * (whole_seconds - idle_seconds) / 6
        process = run_command(folder, work / "killed")
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed_after.append(round(seconds, 1))
    assert run_command(folder, work / "killed").wait() == 0
    whole, killed = read_store(work / "whole"), read_store(work / "killed")
    same_ids = set(whole) == set(killed)
    difference = max(float(np.abs(whole[one] - killed[one]).max()) for one in whole)
    # It has the other methods of an embedder by `__getattr__`, which no type checker sees.
    embedder: Any = CountingEmbedder()
    with MultimodalIndex.open(work / "killed", embedder) as index:
        begun = time.perf_counter()
        second = index.sync(folder)
        second_seconds, second_passes = time.perf_counter() - begun, embedder.count
        expected = change_files(folder, 30, rng)
        third = index.sync(folder)
    after = read_store(work / "killed")
    write_result(
        "index_durability",
        {
            "units": len(whole),
            "uninterrupted_seconds": round(whole_seconds, 1),
            "seconds_without_work": round(idle_seconds, 1),
            "killed_after_seconds": killed_after,
            "same_ids_after_kills": same_ids,
            "largest_difference_of_a_component": difference,
            "second_sync": {
                "embedded_units": second_passes,
                "unchanged_files": second.unchanged_files,
                "seconds": round(second_seconds, 2),
            },
            "third_sync": {
                "expected": expected,
                "added_files": third.added_files,
                "changed_files": third.changed_files,
                "removed_files": third.removed_files,
                "embedded_units": third.embedded_units,
                "other_vectors_equal": all(np.array_equal(killed[one], after[one]) for one in set(killed) & set(after)),
                "ids_gone": len(set(killed) - set(after)),
                "ids_new": len(set(after) - set(killed)),
            },
        },
    )
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
