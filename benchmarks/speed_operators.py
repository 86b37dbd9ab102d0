"""Where does the time go? Shares of matrix products and attention, of texts and of a page, by PyTorch's profiler.

uv run python benchmarks/speed_operators.py [--dtype bfloat16] [--shape 2b]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from checkpoints import build_checkpoint
from machine import name_hardware, write_result
from speed_inputs import draw_texts, write_pages
from speed_peers import load_embedder
from speed_timing import parse_options
from torch.profiler import profile

KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "mkldnn::_linear_pointwise"),
    "attention": ("aten::_scaled_dot_product", "aten::_flash_attention", "aten::_efficient_attention"),
}
"""Beginnings of the names of operators; by far the most of the rest are activations, norms and copies."""


def measure_shares(work: Callable[[], object], *, on_gpu: bool) -> dict[str, Any]:
    """Returns the seconds of all operators of a call, and the share of each kind."""
    work()
    with profile() as profiled:
        work()
    seconds = dict.fromkeys([*KINDS, "all else"], 0.0)
    for operator in profiled.key_averages():
        spent = operator.self_device_time_total if on_gpu else operator.self_cpu_time_total
        named = (kind for kind, starts in KINDS.items() if operator.key.startswith(starts))
        kind = next(named, "all else")
        seconds[kind] += spent / 1e6
    total = sum(seconds.values())
    return {"seconds": round(total, 2), "shares": {kind: round(own / total, 3) for kind, own in seconds.items()}}


def main() -> None:
    options = parse_options(__doc__ or "")
    folder = build_checkpoint(options.checkpoints, "embedding", shape=options.shape)
    ours = load_embedder(folder, options.dtype, options.device)
    sets: dict[str, list[Any]] = {
        "texts of 5 to 200 words": draw_texts(128, fewest=5, most=200),
        "one page of 800 x 1040": write_pages(options.checkpoints.parent / "pages", 1),
    }
    on_gpu = options.device.startswith("cuda")
    write_result(
        f"speed_operators_{options.shape}_{options.dtype}_{name_hardware(options.device)}",
        {name: measure_shares(lambda items=items: ours.embed(items), on_gpu=on_gpu) for name, items in sets.items()},
    )


if __name__ == "__main__":
    main()
