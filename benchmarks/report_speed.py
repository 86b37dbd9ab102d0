"""Fills docs/performance.md with the results of the speed benchmarks, and draws docs/images/speed.svg.

uv run python benchmarks/report_speed.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs/performance.md"
PICTURE = Path(__file__).parents[1] / "docs/images/speed.svg"
BEGIN, END = "<!-- results: written by benchmarks/report_speed.py -->", "<!-- end of results -->"
_QUESTIONS = {"texts": "embedding", "pages": "embedding", "reranking": "reranking", "callers": "embedding"}


def read_rows(results: Path = RESULTS) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yields the dtype, the machine, and each row with its question and the vector instructions of the CPU.

    Rows of one question are neighbours.
    """
    for dtype in ("float32", "bfloat16"):
        for name, work in _QUESTIONS.items():
            found: dict[str, list[tuple[str, dict[str, Any], dict[str, Any]]]] = {}
            for path in sorted(results.glob(f"speed_{name}_74m_{dtype}_cpu-*.json")):
                document = json.loads(path.read_text(encoding="utf-8"))
                vectors = path.stem.rsplit("-", 1)[1].upper()
                for question, row in document.items():
                    if isinstance(row, dict) and "ratio" in row:
                        told = {"question": f"{work}: {question}", "vectors": vectors}
                        found.setdefault(question, []).append((dtype, document["machine"], {**told, **row}))
            yield from chain.from_iterable(found.values())


def write_table(rows: Sequence[tuple[str, dict[str, Any], dict[str, Any]]]) -> str:
    """Returns the table in Markdown, and what it was measured on."""
    lines = [
        "| work | dtype | CPU | ours, seconds | best peer, seconds | times as fast | of the ceiling |",
        "|---|---|---|---|---|---|---|",
    ]
    for dtype, _, row in rows:
        seconds = row["seconds"]
        peer = f"{seconds[row['best_peer']]:.2f} ({row['best_peer']})"
        cells = [row["question"], dtype, row["vectors"], f"{seconds['ours']:.2f}", peer, f"{row['ratio']:.2f}"]
        lines.append(f"| {' | '.join([*cells, write_share(row)])} |")
    machines = sorted(
        {
            f"{row['vectors']}: {machine['cpu']}, {machine['cores']} cores, "
            f"commit {machine['commit']}, {machine['day']}"
            for _, machine, row in rows
        }
    )
    return "\n".join([*lines, "", "Measured on: " + "; ".join(machines) + "."])


def write_share(row: dict[str, Any]) -> str:
    """Returns what of the machine's matrix throughput we and the best peer reached, where it was measured."""
    shares = row.get("share_of_ceiling")
    return f"{100 * shares['ours']:.0f} % ({100 * shares[row['best_peer']]:.0f} %)" if shares else ""


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
    shown = [(f"{row['question']} ({dtype}, {row['vectors']})", row["ratio"]) for dtype, _, row in rows][::-1]
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
