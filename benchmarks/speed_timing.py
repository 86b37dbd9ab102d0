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


def build_parser(description: str) -> argparse.ArgumentParser:
    """Returns the options that all scripts have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--shape", default="74m", choices=["74m", "2b", "8b"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page-rounds", type=int, default=5, help="rounds of what takes minutes")
    parser.add_argument("--peer-batch-size", type=int, help="of all peers, where it takes too long to try several")
    parser.add_argument("--checkpoints", type=Path, default=Path(".benchmarks/checkpoints"))
    parser.add_argument("--official", type=Path, help="a clone of QwenLM/Qwen3-VL-Embedding, timed as well")
    return parser


def parse_options(description: str) -> argparse.Namespace:
    return build_parser(description).parse_args()


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


def measure_peak_memory(competitors: Mapping[str, Work], *, device: str) -> dict[str, dict[str, int]]:
    """Returns `peak_memory_mib`: what one more call of each needs on a GPU beyond what is allocated before it.

    The weights of all competitors are there throughout and are not counted, nor what a competitor keeps between calls.
    On a CPU nothing is returned, and nothing is called: the memory of one process cannot be told apart by competitor.
    """
    if torch.device(device).type != "cuda":
        return {}
    peaks: dict[str, int] = {}
    for name, work in competitors.items():
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        peaks[name] = round((torch.cuda.max_memory_allocated(device) - before) / 2**20)
    return {"peak_memory_mib": peaks}


def compare(competitors: Mapping[str, Work], *, rounds: int, device: str) -> dict[str, Any]:
    """Returns the seconds of all, the best of the others, how many times faster ours is than it, and peak memory."""
    rated = rate(measure_seconds(competitors, rounds=rounds), rounds=rounds)
    return rated | measure_peak_memory(competitors, device=device)


def rate(seconds: Mapping[str, float], *, rounds: int, ours: str = "ours") -> dict[str, Any]:
    """Returns the same of seconds that were measured, but for memory."""
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


def rate_share(row: Mapping[str, Any], *, ceiling: float) -> dict[str, float]:
    """Returns the share of a ceiling of matrix throughput, in GFLOP/s, that each competitor of a row reached."""
    return {name: round(row["gigaflop"] / seconds / ceiling, 3) for name, seconds in row["seconds"].items()}


def measure_matrix_throughput(dtype: torch.dtype, device: str, *, width: int) -> float:
    """Returns the GFLOP/s of the matrix product that the model's feed-forward layers are made of."""
    left = torch.randn(2048, width, dtype=dtype, device=device)
    right = torch.randn(3 * width, width, dtype=dtype, device=device)
    with torch.inference_mode():
        seconds = measure_seconds({"product": lambda: [left @ right.T for _ in range(10)]}, rounds=5)["product"]
    return round(10 * 2 * left.shape[0] * right.numel() / seconds / 1e9, 1)


def measure_ceiling(dtype: str, device: str, *, width: int) -> float:
    """Returns the GFLOP/s of matrix products in a dtype, or in float32 where that is faster.

    A CPU without instructions for bfloat16 emulates it, and whoever widens to float32 there is above the emulation.
    """
    dtypes = {getattr(torch, dtype), torch.float32}
    return max(measure_matrix_throughput(each, device, width=width) for each in dtypes)
