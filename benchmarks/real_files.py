"""What becomes of thousands of real files: indexed, failed by name, or skipped by name; how long, and how much memory.

uv run python benchmarks/real_files.py [--files FOLDER] [--most 150]

Fetches the files (`fetch_real_files.py`), indexes them twice with `qwen3vl index` and the pocket model in processes
that are watched, and accounts for every one of them. The status is 1 if a file is lost without a word, if the second
run embeds anything, if nothing is written for too long, or if the processes together hold more memory than allowed.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from fetch_real_files import fetch_real_files
from machine import write_result
from process_trees import kill_tree, list_proportional_bytes

from qwen3_vl_retrieval.paths import decode_path

_POLL_SECONDS = 0.2
_OUTCOMES = ("indexed", "failed", "skipped", "lost")
_MOST_EXAMPLES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, default=Path(".benchmarks/real-files"), help="fetched if it is not there")
    parser.add_argument("--most", type=int, help="only as many files, drawn at random")
    parser.add_argument("--work", type=Path, default=Path(".benchmarks/real-files-run"), help="for the index; emptied")
    parser.add_argument("--most-mib", type=int, default=3072, help="memory of all processes of a run together")
    parser.add_argument("--most-minutes", type=float, default=120.0, help="for a run")
    parser.add_argument("--stalled-minutes", type=float, default=5.0, help="without anything written to the index")
    parser.add_argument("--name", default="real_files", help="of the result")
    options = parser.parse_args()
    if not options.files.exists():
        fetch_real_files(options.files)
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    folder = options.files if options.most is None else _copy_some(options.files, options.work / "files", options.most)
    runs = [_run_index(folder, options.work / "index", options) for _ in range(2)]
    if "report" not in runs[0]:
        print(json.dumps(runs[0], indent=2))
        sys.exit(1)
    outcomes = _find_outcomes(folder, options.work / "index", runs[0]["report"])
    faults = [*_find_faults(runs, outcomes, options)]
    result = {
        "files": len(outcomes),
        "by_outcome": dict(Counter(outcome for outcome, _ in outcomes.values())),
        "by_suffix": _count_by_suffix(outcomes),
        "reasons": {outcome: _group_reasons(outcomes, outcome, folder) for outcome in ("failed", "skipped")},
        "lost": sorted(str(path.relative_to(folder)) for path, (outcome, _) in outcomes.items() if outcome == "lost"),
        "runs": [{**run, "report": _count_lists(run.get("report", {}))} for run in runs],
        "faults": faults,
    }
    write_result(options.name, result)
    print(_format_table(result))
    sys.exit(1 if faults else 0)


def _run_index(folder: Path, store: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One `qwen3vl index`, watched: seconds, the most memory of all its processes, and its report."""
    command = [str(Path(sys.executable).with_name("qwen3vl")), "index", str(folder), "--to", str(store)]
    command += ["--model", "pocket", "--device", "cpu", "--json"]
    said, noise = options.work / "report.json", options.work / "noise.txt"
    started = written = time.monotonic()
    newest = 0.0
    peak: list[int] = []
    stopped = None
    with said.open("wb") as out, noise.open("ab") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors)
        try:
            while process.poll() is None and stopped is None:
                time.sleep(_POLL_SECONDS)
                peak = max(peak, list_proportional_bytes(process.pid), key=sum)
                found = _find_newest(store)
                if found > newest:
                    newest, written = found, time.monotonic()
                if time.monotonic() - written > options.stalled_minutes * 60:
                    stopped = f"nothing was written for {options.stalled_minutes:g} minutes"
                elif time.monotonic() - started > options.most_minutes * 60:
                    stopped = f"it took more than {options.most_minutes:g} minutes"
        finally:
            kill_tree(process.pid)
            process.wait()
    run = {
        "seconds": round(time.monotonic() - started, 1),
        "peak_mib": round(sum(peak) / 2**20),
        # The index first, then the processes that read files for it.
        "peak_mib_by_process": [round(held / 2**20) for held in peak],
        "exit_status": process.returncode,
        "noise_lines": len(noise.read_bytes().splitlines()),
        **({"stopped": stopped} if stopped is not None else {}),
    }
    if process.returncode == 0:
        run["report"] = json.loads(said.read_text(encoding="utf-8"))
    return run


def _find_newest(store: Path) -> float:
    newest = 0.0
    for path in store.rglob("*") if store.exists() else ():
        try:
            newest = max(newest, path.stat().st_mtime)
        except OSError:
            continue
    return newest


def _find_outcomes(folder: Path, store: Path, report: dict[str, Any]) -> dict[Path, tuple[str, str]]:
    """Outcome and reason of every file below the folder, as the index and its report have them."""
    exported = store.with_suffix(".parquet")
    command = [str(Path(sys.executable).with_name("qwen3vl")), "export", str(store), str(exported)]
    subprocess.run(command, check=True, capture_output=True)
    outcomes: dict[Path, tuple[str, str]] = {}
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    indexed = _read_sources(exported)
    failed = {decode_path(each["source"]): each["message"] for each in report["failures"]}
    skipped = {decode_path(each["source"]): each["reason"] for each in report["skipped"]}
    for path in paths:
        # First, as a page of a file may have failed and the others not.
        if path in indexed:
            outcomes[path] = ("indexed", "")
        elif path in failed:
            outcomes[path] = ("failed", failed[path])
        else:
            outcomes[path] = ("skipped", skipped[path]) if path in skipped else ("lost", "")
    return outcomes


def _read_sources(exported: Path) -> set[Path]:
    """Every file of the index; one that has the content of another is listed with it."""
    table = pq.read_table(exported, columns=["source", "sources"]).to_pylist()
    return {decode_path(source) for row in table for source in (row["source"], *row["sources"]) if source is not None}


def _find_faults(
    runs: list[dict[str, Any]], outcomes: dict[Path, tuple[str, str]], options: argparse.Namespace
) -> list[str]:
    faults = []
    lost = sum(outcome == "lost" for outcome, _ in outcomes.values())
    if lost:
        faults.append(f"{lost:,} files are neither indexed nor named")
    for number, run in enumerate(runs, start=1):
        if "report" not in run:
            faults.append(f"run {number} ended with status {run['exit_status']}: {run.get('stopped', 'see noise.txt')}")
        if run["peak_mib"] > options.most_mib:
            faults.append(f"run {number} held {run['peak_mib']:,} MiB, above {options.most_mib:,}")
    second = runs[1].get("report", {})
    changed = {
        name: second[name]
        for name in ("embedded_units", "added_files", "changed_files", "removed_files")
        if second.get(name)
    }
    if changed:
        faults.append(f"the second run found changes: {changed}")
    return faults


def _count_by_suffix(outcomes: dict[Path, tuple[str, str]]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for path, (outcome, _) in outcomes.items():
        row = counts.setdefault(path.suffix.lower() or "none", dict.fromkeys(_OUTCOMES, 0))
        row[outcome] += 1
    return dict(sorted(counts.items(), key=lambda item: -sum(item[1].values())))


def _group_reasons(outcomes: dict[Path, tuple[str, str]], outcome: str, folder: Path) -> list[dict[str, Any]]:
    """Reasons that differ in names and numbers only are one, with their count and the first files."""
    groups: dict[str, list[Path]] = {}
    for path, (found, reason) in outcomes.items():
        if found == outcome:
            plain = re.sub(r"\d[\d,.]*", "N", reason.replace(str(path), "FILE"))
            groups.setdefault(plain, []).append(path)
    return [
        {
            "reason": reason,
            "files": len(paths),
            "examples": [str(path.relative_to(folder)) for path in paths[:_MOST_EXAMPLES]],
        }
        for reason, paths in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]


def _count_lists(report: dict[str, Any]) -> dict[str, Any]:
    return {name: len(value) if isinstance(value, list) else value for name, value in report.items()}


def _format_table(result: dict[str, Any]) -> str:
    rows = ["| suffix | files | indexed | failed, by name | skipped, by name | lost |", "|---|" + "---:|" * 5]
    for suffix, counts in result["by_suffix"].items():
        cells = " | ".join(f"{counts[outcome]:,}" for outcome in _OUTCOMES)
        rows.append(f"| `{suffix}` | {sum(counts.values()):,} | {cells} |")
    totals = result["by_outcome"]
    total = " | ".join(f"{totals.get(outcome, 0):,}" for outcome in _OUTCOMES)
    return "\n".join([*rows, f"| **all** | {result['files']:,} | {total} |"])


def _copy_some(files: Path, folder: Path, most: int) -> Path:
    """Copies some of the files: a link that leads out of the folder is not followed."""
    paths = sorted(path for path in files.rglob("*") if path.is_file())
    for path in random.Random(0).sample(paths, min(most, len(paths))):
        target = folder / path.relative_to(files)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return folder


if __name__ == "__main__":
    main()
