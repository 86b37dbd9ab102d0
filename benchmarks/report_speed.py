"""Fills docs/performance.md with the results of the speed benchmarks, and draws docs/images/speed.svg.

uv run python benchmarks/report_speed.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs/performance.md"
PICTURE = Path(__file__).parents[1] / "docs/images/speed.svg"
BEGIN, END = "<!-- results: written by benchmarks/report_speed.py -->", "<!-- end of results -->"
_QUESTIONS = {"texts": "embedding", "pages": "embedding", "reranking": "reranking", "callers": "embedding"}


def read_rows(results: Path = RESULTS) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yields the dtype, the machine, and each row with its question."""
    for dtype in ("float32", "bfloat16"):
        for name, work in _QUESTIONS.items():
            path = results / f"speed_{name}_74m_{dtype}_cpu.json"
            if not path.exists():
                continue
            document = json.loads(path.read_text(encoding="utf-8"))
            for question, row in document.items():
                if isinstance(row, dict) and "ratio" in row:
                    told = {"question": f"{work}: {question}", "matrix_gflops": document.get("matrix_gflops")}
                    yield dtype, document["machine"], {**told, **row}


def write_table(rows: Sequence[tuple[str, dict[str, Any], dict[str, Any]]]) -> str:
    """Returns the table in Markdown, and what it was measured on."""
    lines = ["| work | dtype | ours, seconds | best peer, seconds | times as fast |", "|---|---|---|---|---|"]
    for dtype, _, row in rows:
        seconds = row["seconds"]
        peer = f"{seconds[row['best_peer']]:.2f} ({row['best_peer']})"
        lines.append(f"| {row['question']} | {dtype} | {seconds['ours']:.2f} | {peer} | {row['ratio']:.2f} |")
    machines = sorted(
        {
            f"{machine['cpu']}, {machine['cores']} cores, commit {machine['commit']}, {machine['day']}"
            for _, machine, _ in rows
        }
    )
    return "\n".join([*lines, *write_ceilings(rows), "", "Measured on: " + "; ".join(machines) + "."])


def write_ceilings(rows: Sequence[tuple[str, dict[str, Any], dict[str, Any]]]) -> list[str]:
    """Returns a line on what of the machine's matrix throughput pages reached, where it was measured."""
    parts: list[str] = []
    for dtype, _, row in rows:
        if "share_of_ceiling" in row:
            shares = {name: f"{100 * share:.0f} %" for name, share in row["share_of_ceiling"].items()}
            ours, peer = shares["ours"], f"{row['best_peer']} {shares[row['best_peer']]}"
            parts.append(f"{dtype}: ceiling {row['matrix_gflops']:.0f} GFLOP/s, pages at {ours} ({peer})")
    return ["", f"Of the machine's matrix products, in {'; in '.join(parts)}."] if parts else []


def fill_page(text: str, table: str) -> str:
    """Returns the page with the table between its marks."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def draw(rows: Sequence[tuple[str, dict[str, Any], dict[str, Any]]]) -> None:
    """Draws the ratios as bars; equal results give an equal file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "speed"
    shown = [(f"{row['question']} ({dtype})", row["ratio"]) for dtype, _, row in rows][::-1]
    figure, axes = plt.subplots(figsize=(7.6, 0.42 * len(shown) + 1.1))
    bars = axes.barh([label for label, _ in shown], [ratio for _, ratio in shown], color="#2f6f8f")
    axes.bar_label(bars, fmt="%.2f ×", padding=3)
    axes.axvline(1.0, color="#999999", linewidth=1)
    axes.set_xlabel("times as fast as the best peer in the same run")
    axes.set_xlim(0, 1.18 * max(ratio for _, ratio in shown))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    measured = list(read_rows())
    PAGE.write_text(fill_page(PAGE.read_text(encoding="utf-8"), write_table(measured)), encoding="utf-8")
    draw(measured)
