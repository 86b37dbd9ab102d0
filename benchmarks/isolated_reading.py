"""What it costs to read files in processes of their own, and what parallel rendering gives.

uv run python benchmarks/isolated_reading.py

Each file is read in this process and in others, alternately, by one caller and by as many as there are cores. Printed
are ratios of the medians; above 1 the other processes take longer.
"""

from __future__ import annotations

import io
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from machine import write_result
from PIL import Image, ImageDraw

from qwen3_vl_retrieval.media import MediaPolicy, render_pdf_page
from qwen3_vl_retrieval.media.images import read_resized_image

ROUNDS = 15
HERE, ISOLATED = MediaPolicy(isolate_reading=False), MediaPolicy()


def draw_photo(width: int, height: int) -> bytes:
    small = np.random.default_rng(0).integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def draw_paper() -> bytes:
    pages = [Image.new("RGB", (1240, 1754), "white") for _ in range(4)]
    for number, page in enumerate(pages):
        for line in range(60):
            ImageDraw.Draw(page).text((80, 40 + 28 * line), f"page {number}, line {line} " * 6, fill="black")
    stream = io.BytesIO()
    pages[0].save(stream, "PDF", save_all=True, append_images=pages[1:])
    return stream.getvalue()


def compare(read: Callable[[MediaPolicy], object], threads: int) -> float:
    """Returns how many times as long `threads` callers wait for other processes as for this one."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    with ThreadPoolExecutor(threads) as pool:
        for turn in range(ROUNDS + 1):
            for policy in (HERE, ISOLATED):
                begun = time.perf_counter()
                list(pool.map(lambda _, policy=policy: read(policy), range(2 * threads)))
                if turn > 0:
                    seconds[policy.isolate_reading].append(time.perf_counter() - begun)
    return statistics.median(seconds[True]) / statistics.median(seconds[False])


def main() -> None:
    budget = {"reading": "viewer", "min_pixels": 4096, "max_pixels": 1_843_200}
    small, large, paper = draw_photo(800, 608), draw_photo(4000, 3008), draw_paper()
    kinds: dict[str, Callable[[MediaPolicy], object]] = {
        "photograph of 0.5 megapixels": lambda policy: read_resized_image(small, policy, **budget),
        "photograph of 12 megapixels": lambda policy: read_resized_image(large, policy, **budget),
        "page of a PDF": lambda policy: render_pdf_page(paper, 2, policy),
    }
    cores = os.cpu_count() or 1
    result = {
        name: {f"{threads} callers": round(compare(read, threads), 2) for threads in sorted({1, cores})}
        for name, read in kinds.items()
    }
    for name, ratios in result.items():
        print(f"{name:<30}", ratios)
    write_result("isolated_reading", result)


if __name__ == "__main__":
    main()
