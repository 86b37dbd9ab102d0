"""Does time grow with the number of texts, and memory not at all? 500, 1,000, 2,000 and 4,000 texts of 3 to 60 words.

uv run python benchmarks/speed_growth.py
"""

from __future__ import annotations

import time
from pathlib import Path

from checkpoints import build_checkpoint
from machine import name_hardware, write_result
from speed_inputs import draw_texts
from speed_peers import load_embedder
from speed_timing import measure_peak_memory, parse_options


def read_memory() -> float:
    """Returns the resident memory of this process in MiB, from the kernel."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    options = parse_options(__doc__ or "")
    folder = build_checkpoint(options.checkpoints, "embedding", shape=options.shape)
    ours = load_embedder(folder, options.dtype, options.device)
    ours.embed(draw_texts(100, fewest=3, most=60))
    rows = []
    for count in (500, 1000, 2000, 4000):
        texts = draw_texts(count, fewest=3, most=60, seed=count)
        started = time.perf_counter()
        ours.embed(texts)
        seconds = time.perf_counter() - started
        row = {
            "texts": count,
            "milliseconds_per_text": round(1000 * seconds / count, 2),
            "memory_mib": round(read_memory()),
            **measure_peak_memory({"ours": lambda texts=texts: ours.embed(texts)}, device=options.device),
        }
        rows.append(row)
        print(row, flush=True)
    write_result(f"speed_growth_{options.shape}_{options.dtype}_{name_hardware(options.device)}", {"rows": rows})


if __name__ == "__main__":
    main()
