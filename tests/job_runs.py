"""A source of texts, and what anybody reads of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet

FILES = 40

SMALL = {"shard_units": 8}


def write_texts(folder: Path, count: int = FILES) -> None:
    for number in range(count):
        name = folder / f"{number % 5}" / f"text-{number:03}.txt"
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_text(f"What is said in text {number}.")


def read_parts(run: Path) -> dict[str, dict[str, Any]]:
    """The rows of all parts by id; an id that is there twice is an error."""
    rows: dict[str, dict[str, Any]] = {}
    for path in sorted(run.glob("**/part-*.parquet")):
        for row in pyarrow.parquet.read_table(path).to_pylist():
            assert row["id"] not in rows, f"{row['id']} is in two parts"
            rows[row["id"]] = row
    return rows
