"""Fills docs/performance.md with the results of the speed benchmarks, and draws docs/images/speed.svg.

uv run python benchmarks/report_speed.py
"""

from __future__ import annotations

import json
import textwrap
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
    """Draws the ratios as bars, those of one question together; equal results give an equal file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "speed"
    labels = list(dict.fromkeys(write_label(row["question"], dtype) for dtype, _, row in rows))
    hardware = sorted({row["vectors"] for _, _, row in rows})
    figure, axes = plt.subplots(figsize=(7.6, 0.52 * len(labels) + 1.1))
    for place, vectors in enumerate(hardware):
        shown = [(write_label(row["question"], dtype), row) for dtype, _, row in rows if row["vectors"] == vectors]
        height = 0.8 / len(hardware)
        heights = [labels.index(label) - 0.4 + (place + 0.5) * height for label, _ in shown]
        # From 1 on: what is no faster than the peer has no bar.
        widths = [row["ratio"] - 1 for _, row in shown]
        bars = axes.barh(heights, widths, height=height, left=1, color=f"C{place}", label=vectors)
        axes.bar_label(bars, labels=[f"{row['ratio']:.2f}" for _, row in shown], padding=3, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(0.95, 1.35 * max(row["ratio"] for _, _, row in rows))
    ticks = [tick for tick in (1, 2, 4, 8, 16, 32) if tick < axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick} ×" for tick in ticks])
    axes.minorticks_off()
    axes.axvline(1.0, color="#999999", linewidth=1)
    axes.set_xlabel("times as fast as the best peer in the same run (logarithmic)")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None})


def write_label(question: str, dtype: str) -> str:
    """Returns a question in lines that leave room for bars."""
    return "\n".join(textwrap.wrap(f"{question}, {dtype}", width=44))


if __name__ == "__main__":
    measured = list(read_rows())
    PAGE.write_text(fill_page(PAGE.read_text(encoding="utf-8"), write_table(measured)), encoding="utf-8")
    draw(measured)
