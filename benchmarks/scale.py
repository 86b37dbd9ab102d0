"""What a million, a hundred million and ten billion pages take: fills the tables of docs/scale.md.

uv run python benchmarks/scale.py [--check]

Computed from the shapes of the published models, `results/*.json`, and the assumptions below. No GPU is asked, and none
has been: GPU hours are operations over an assumed share of a peak.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from checkpoints import SHAPES
from speed_arithmetic import count_operations

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs/scale.md"

PAGES = (10**6, 10**8, 10**10)

MODELS = {"2b": 2048, "8b": 4096}
"""Dimensions of their vectors."""

PAGE_TOKENS = (1800, 900)
"""Visual tokens of a page: the default limit, and half of it (`--max-pixels 921600`)."""

PROMPT_TOKENS = 22
"""Tokens of the prompt around a page: 4,932 tokens of 6 pages of 800 in `results/speed_pages_*.json`."""

PEAK_TFLOPS = 989
"""bfloat16, dense: NVIDIA's data sheet of the H100 SXM5 and the H200."""

SHARES_OF_PEAK = (0.5, 0.3)
"""Assumed, not measured: what large models reach on such a GPU that is kept busy, and that waits for what is read."""

GPU_HOUR_DOLLARS = (2, 4)
"""Assumed: an H100 in 2026, from small clouds to large ones. Put your own."""

DISK_GB_MONTH_DOLLARS = 0.023
"""S3 Standard, us-east-1, list price."""

RAM_GB_MONTH_DOLLARS = 6.05
"""An r7i.2xlarge of 64 GB at 386.944 dollars a month: the table of https://docs.trychroma.com/deployment/performance."""

DIMENSIONS = (256, 512, 1024, 2048, 4096)

BYTES = {"float32": 4.0, "float16": 2.0, "int8": 1.0, "binary": 1 / 8}

LINKS = 16
"""`m` of a graph, the default of hnswlib, pgvector and Qdrant; the lowest layer has twice as many links of 4 bytes."""

RESERVE = 1.5
"""Times the vectors in memory: https://qdrant.tech/documentation/capacity-planning/ has 1.5 for all beside them."""

FILE_PAGES = 10
"""Assumed: pages of a file."""

SHARD_UNITS = 512
"""The default of `--shard-units`."""

PART_REQUESTS = 6
"""Of an object store for each part: written once, looked at, read twice to be counted and verified."""

LISTED_KEYS = 1000
"""Of a request that lists (S3)."""

_DAY_HOURS = 24


def fill_page(text: str) -> str:
    """Returns the page with all tables as they are computed now."""

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- table: {name} -->\n\n{TABLES[name]()}\n\n<!-- end of table -->"

    return re.sub(r"<!-- table: (?P<name>[\w ]+) -->.*?<!-- end of table -->", fill, text, flags=re.DOTALL)


def write_gpu_table() -> str:
    """Returns GPU hours and money by model, tokens of a page and pages."""
    head = ["model", "tokens of a page", "TFLOP a page", "pages/s of a GPU", *(f"{show_count(n)} pages" for n in PAGES)]
    rows: list[list[str]] = []
    for model in MODELS:
        for tokens in PAGE_TOKENS:
            teraflop = count_page_teraflop(model, tokens)
            rates = [PEAK_TFLOPS * share / teraflop for share in SHARES_OF_PEAK]
            cells = [model.upper(), f"{tokens:,}", f"{teraflop:.1f}", show_range(rates[::-1])]
            for pages in PAGES:
                hours = [pages / rate / 3600 for rate in rates]
                dollars = [hour * price for hour, price in zip(hours, GPU_HOUR_DOLLARS, strict=True)]
                cells.append(f"{show_range(hours)} h, ${show_range(dollars)}")
            rows.append(cells)
    return write_table(head, rows)


def write_days_table() -> str:
    """Returns how long a number of GPUs takes."""
    counts = (1, 8, 64, 1000)
    head = ["model", "pages", *(f"{count:,} GPU{'s' if count > 1 else ''}" for count in counts)]
    rows: list[list[str]] = []
    for model in MODELS:
        teraflop = count_page_teraflop(model, PAGE_TOKENS[0])
        for pages in PAGES:
            hours = [pages * teraflop / PEAK_TFLOPS / share / 3600 for share in SHARES_OF_PEAK]
            times = [show_duration([hour / count for hour in hours]) for count in counts]
            rows.append([model.upper(), show_count(pages), *times])
    return write_table(head, rows)


def write_disk_table() -> str:
    """Returns bytes of the vectors by dimensions and precision."""
    head = ["dimensions", "precision", "a vector", *(f"{show_count(n)} pages" for n in PAGES), "a month at 10 billion"]
    rows: list[list[str]] = []
    for dimensions in DIMENSIONS:
        for precision, width in BYTES.items():
            vector = dimensions * width
            cells = [f"{dimensions:,}", precision, f"{vector:,.0f} B", *(show_bytes(n * vector) for n in PAGES)]
            dollars = PAGES[-1] * vector / 1e9 * DISK_GB_MONTH_DOLLARS
            rows.append([*cells, f"${show_number(dollars)}"])
    return write_table(head, rows)


def write_memory_table() -> str:
    """Returns the memory of a graph by what of the vectors it holds."""
    head = ["in memory", "a page", *(f"{show_count(n)} pages" for n in PAGES), "a month at 100 million"]
    held = {
        "2,048 dimensions, float32": 2048 * 4.0,
        "2,048, float16": 2048 * 2.0,
        "2,048, int8": 2048.0,
        "2,048, binary": 2048 / 8,
        "256, float32": 256 * 4.0,
        "256, int8": 256.0,
        "256, binary": 256 / 8,
    }
    rows: list[list[str]] = []
    for name, vector in held.items():
        page = (vector + 2 * LINKS * 4) * RESERVE
        dollars = 1e8 * page / 1e9 * RAM_GB_MONTH_DOLLARS
        sizes = [show_bytes(n * page) for n in PAGES]
        rows.append([name, f"{page:,.0f} B", *sizes, f"${show_number(dollars)}"])
    return write_table(head, rows)


def write_limits_table() -> str:
    """Returns what one run keeps and asks for, from what the simulation had."""
    runs = read_result("jobs_simulation")["runs"]
    small, large = runs[0], runs[-1]
    driver_bytes = (large["driver"]["peak_bytes"] - small["driver"]["peak_bytes"]) / (large["files"] - small["files"])
    per_shard = {name: large["driver"][f"{name}_bytes"] / large["shards"] for name in ("run_json", "plan_json")}
    page_bytes = driver_bytes / FILE_PAGES + ID_BYTES
    manifest = large["driver"]["manifest_bytes"] / large["files"]
    head = ["of one run", "each", *(f"{show_count(n)} pages" for n in PAGES)]
    files = [pages / FILE_PAGES for pages in PAGES]
    parts = [pages / SHARD_UNITS for pages in PAGES]
    rows = [
        ["files", f"{FILE_PAGES} pages", *(show_number(n) for n in files)],
        ["parts", f"{SHARD_UNITS} pages", *(show_number(n) for n in parts)],
        [
            "memory for the list of files",
            f"{driver_bytes:,.0f} B a file",
            *(show_bytes(n * driver_bytes) for n in files),
        ],
        ["memory for ids at the end", f"{ID_BYTES} B a page", *(show_bytes(n * ID_BYTES) for n in PAGES)],
        ["both", f"{page_bytes:,.0f} B a page", *(show_bytes(n * page_bytes) for n in PAGES)],
        [
            "list of files (`manifest-*.parquet`)",
            f"{manifest:,.0f} B a file",
            *(show_bytes(n * manifest) for n in files),
        ],
        [
            "`plan.json`",
            f"{per_shard['plan_json']:,.0f} B a part",
            *(show_bytes(n * per_shard["plan_json"]) for n in parts),
        ],
        [
            "`run.json`",
            f"{per_shard['run_json']:,.0f} B a part",
            *(show_bytes(n * per_shard["run_json"]) for n in parts),
        ],
        [
            "requests for parts",
            f"{PART_REQUESTS} a part",
            *(show_number(n * PART_REQUESTS) for n in parts),
        ],
        ["requests to list the source", "1 in 1,000 files", *(show_number(n / LISTED_KEYS) for n in files)],
    ]
    return write_table(head, rows)


ID_BYTES = 40 * 4 + 8 * 3 + 2
"""Of an id while units are counted (`jobs/settling.py`): 40 digits as read, once a shard, all together and sorted, with
the places of sorting, the first of each and its shard, whether it is one and whether it counts there."""


def write_simulation_table() -> str:
    """Returns what the simulation of a thousand workers showed."""
    found = read_result("jobs_simulation")["runs"][-1]
    ended, rightly_named = found["ended"], found["named_failures"] - found["wrongly_named"]
    to_driver, trials = (
        found[name] / found["share_done_in_vain"] for name in ("share_lost_to_driver", "share_of_trials")
    )
    tail, longest = (found[name] / found["seconds"] for name in ("last_percent_seconds", "longest_shard_seconds"))
    shard_seconds = found["ideal_seconds"] * found["workers"] / found["shards"]
    long_seconds = PAGES[1] / SHARD_UNITS / found["workers"] * shard_seconds + found["last_percent_seconds"]
    rows = [
        ["workers, nodes", f"{found['workers']:,}, {found['nodes']:,}"],
        ["shards, files", f"{found['shards']:,}, {found['files']:,}"],
        ["workers that ended at a shard", f"{ended['worker']:,}"],
        ["nodes that were lost", f"{ended['node']:,}"],
        ["times that the driver was lost and started again", f"{ended['driver']:,}"],
        ["files lost, doubled", f"{found['lost']:,}, {found['doubled']:,}"],
        ["files that end every worker; of these named", f"{found['fatal_files']:,}; {rightly_named:,}"],
        ["other files that were named", f"{found['wrongly_named']:,}"],
        ["duration, over that without failures and starts", f"{found['seconds'] / found['ideal_seconds']:.2f}"],
        ["work done in vain", show_share(found["share_done_in_vain"])],
        ["of that, because the driver was lost", show_share(to_driver)],
        ["of that, trials to find what ends workers", show_share(trials)],
        ["time of workers that start or are away", show_share(found["share_starting"])],
        ["time of workers that wait", show_share(found["share_idle"])],
        ["the last hundredth of the shards, of the duration", show_share(tail)],
        ["the longest shard, of the duration", show_share(longest)],
        [f"the same tail after {show_count(PAGES[1])} pages", show_share(found["last_percent_seconds"] / long_seconds)],
    ]
    return write_table(["", ""], rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "gpu": write_gpu_table,
    "days": write_days_table,
    "disk": write_disk_table,
    "memory": write_memory_table,
    "limits": write_limits_table,
    "simulation": write_simulation_table,
}


def count_page_teraflop(model: str, tokens: int) -> float:
    """Returns the operations of embedding a page, in 10^12."""
    return count_operations(SHAPES[model], pictures=[4 * tokens], text_tokens=PROMPT_TOKENS) / 1e12


def read_result(name: str) -> dict[str, Any]:
    """Returns what a benchmark has written."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def write_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show_count(pages: int) -> str:
    """Returns a number of pages in words."""
    return f"{pages // 10**9} billion" if pages >= 10**9 else f"{pages // 10**6} million"


def show_number(number: float) -> str:
    """Returns a number with two digits that say something, from a million on in words."""
    for name, size in ((" billion", 1e9), (" million", 1e6)):
        if number >= size:
            return f"{float(f'{number / size:.2g}'):,g}{name}"
    return f"{float(f'{number:.2g}'):,g}"


def show_range(pair: Sequence[float]) -> str:
    """Returns the lower and the upper of two numbers."""
    low, high = (show_number(number) for number in pair)
    return f"{low.removesuffix(' million') if high.endswith(' million') else low}–{high}"


def show_bytes(count: float) -> str:
    """Returns bytes in the unit in which there are few digits."""
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{float(f'{count / size:.2g}'):g} {unit}"
    return f"{float(f'{count / 1e3:.2g}'):g} kB"


def show_duration(hours: Sequence[float]) -> str:
    """Returns the lower and the upper of two durations."""
    for unit, length in (("years", 8760), ("days", _DAY_HOURS), ("hours", 1)):
        if hours[0] >= 2 * length:
            return f"{show_range([hour / length for hour in hours])} {unit}"
    return f"{show_range([hour * 60 for hour in hours])} minutes"


def show_share(share: float) -> str:
    """Returns a share in percent."""
    return f"{100 * share:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if the page would change")
    options = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    after = fill_page(before)
    if options.check:
        sys.exit(0 if before == after else f"{PAGE} is not what the results say; run benchmarks/scale.py")
    PAGE.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
