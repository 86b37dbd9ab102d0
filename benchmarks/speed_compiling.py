"""Do compiled layers pay? 128 texts of 5 to 200 words, and how long the first call takes.

uv run python benchmarks/speed_compiling.py [--dtype bfloat16] [--shape 2b]
"""

from __future__ import annotations

import time

from checkpoints import build_checkpoint
from machine import name_hardware, write_result
from speed_inputs import draw_texts
from speed_peers import load_embedder
from speed_timing import measure_seconds, parse_options


def main() -> None:
    options = parse_options(__doc__ or "")
    folder = build_checkpoint(options.checkpoints, "embedding", shape=options.shape)
    plain = load_embedder(folder, options.dtype, options.device)
    compiled = load_embedder(folder, options.dtype, options.device, compile_layers=True)
    texts = draw_texts(128, fewest=5, most=200)
    started = time.perf_counter()
    compiled.embed(texts)
    first_seconds = time.perf_counter() - started
    seconds = measure_seconds(
        {"plain": lambda: plain.embed(texts), "compiled": lambda: compiled.embed(texts)}, rounds=options.rounds
    )
    write_result(
        f"speed_compiling_{options.shape}_{options.dtype}_{name_hardware(options.device)}",
        {
            "seconds": {name: round(value, 4) for name, value in seconds.items()},
            "rounds": options.rounds,
            "times_as_fast": round(seconds["plain"] / seconds["compiled"], 2),
            "first_call_seconds": round(first_seconds, 1),
        },
    )


if __name__ == "__main__":
    main()
