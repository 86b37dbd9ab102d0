"""Timings that can be compared: competitors take turns in one process, and what is reported is a ratio of medians."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], object]


def parse_options(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--shape", default="74m", choices=["74m", "2b", "8b"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page-rounds", type=int, default=5, help="rounds of what takes minutes")
    parser.add_argument("--checkpoints", type=Path, default=Path(".benchmarks/checkpoints"))
    parser.add_argument("--official", type=Path, help="a clone of QwenLM/Qwen3-VL-Embedding, timed as well")
    return parser.parse_args()


def measure_seconds(competitors: Mapping[str, Work], *, rounds: int) -> dict[str, float]:
    """Returns the median seconds of each competitor, all of which have a turn each round; the first does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for number in range(rounds + 1):
        for name, work in competitors.items():
            started = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def compare(competitors: Mapping[str, Work], *, rounds: int, ours: str = "ours") -> dict[str, Any]:
    """Returns the seconds of all, the best of the others, and how many times faster `ours` is than it."""
    return rate(measure_seconds(competitors, rounds=rounds), rounds=rounds, ours=ours)


def rate(seconds: Mapping[str, float], *, rounds: int, ours: str = "ours") -> dict[str, Any]:
    """Returns the same of seconds that were measured."""
    others = {name: value for name, value in seconds.items() if not name.startswith("ours")}
    best = min(others, key=lambda name: others[name])
    result = {
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "rounds": rounds,
        "best_peer": best,
        "ratio": round(others[best] / seconds[ours], 2),
    }
    print(result, flush=True)
    return result


def measure_matrix_throughput(dtype: torch.dtype, device: str, *, width: int) -> float:
    """Returns the GFLOP/s of the matrix product that the model's feed-forward layers are made of: the ceiling."""
    left = torch.randn(2048, width, dtype=dtype, device=device)
    right = torch.randn(3 * width, width, dtype=dtype, device=device)
    with torch.inference_mode():
        seconds = measure_seconds({"product": lambda: [left @ right.T for _ in range(10)]}, rounds=5)["product"]
    return round(10 * 2 * left.shape[0] * right.numel() / seconds / 1e9, 1)
