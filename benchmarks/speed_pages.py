"""How fast are pictures embedded? Six pages of 800 x 1040 as JPEG files, and a folder of texts, pages and clips.

uv run python benchmarks/speed_pages.py [--dtype bfloat16] [--shape 2b] [--official PATH]
"""

from __future__ import annotations

import random
from typing import Any

from checkpoints import MAX_PIXELS, SHAPES, build_checkpoint
from machine import write_result
from speed_arithmetic import count_page_operations
from speed_inputs import draw_texts, write_clips, write_pages
from speed_peers import compare_embedders, load_embedder, load_peer_embedders
from speed_timing import measure_ceiling, parse_options

from qwen3_vl_retrieval.media.sizing import fit_image_size

COUNT, SIZE = 6, (800, 1040)


def main() -> None:
    options = parse_options(__doc__ or "")
    folder = build_checkpoint(options.checkpoints, "embedding", shape=options.shape)
    ours = load_embedder(folder, options.dtype, options.device)
    peers = load_peer_embedders(folder, options)
    media = options.checkpoints.parent / "pages"

    pages = write_pages(media, COUNT, size=SIZE)
    width = SHAPES[options.shape]["text"]["hidden"]
    # Before and after the pages, because the speed of a machine changes within an hour.
    ceiling = measure_ceiling(options.dtype, options.device, width=width)
    row = compare_embedders(ours, peers, pages, options=options, sizes=(1, COUNT))
    ceiling = max(ceiling, measure_ceiling(options.dtype, options.device, width=width))
    row["share_of_ceiling"] = rate_pages(row, shape=options.shape, ceiling=ceiling)
    result: dict[str, Any] = {"matrix_gflops": ceiling, f"{COUNT} pages of {SIZE[0]} x {SIZE[1]}": row}

    # Cosines of clips are 0.9993: the peers' processor writes one pair of vision marks too many around a clip.
    items: list[Any] = [
        *draw_texts(96, fewest=5, most=200),
        *write_pages(media, 8, size=(320, 416), seed=1),
        *write_clips(media, 4),
    ]
    random.Random(0).shuffle(items)
    result["96 texts, 8 pages of 320 x 416, 4 clips of 4 s"] = compare_embedders(
        ours, peers, items, options=options, sizes=(1, 4, 16, 32)
    )
    write_result(f"speed_pages_{options.shape}_{options.dtype}_{options.device}", result)


def rate_pages(row: dict[str, Any], *, shape: str, ceiling: float) -> dict[str, float]:
    """Returns the share of the ceiling that each competitor reached with the pages."""
    # As the checkpoint's own limits have it; no page comes near the lower one.
    width, height = fit_image_size(*SIZE, min_pixels=1, max_pixels=MAX_PIXELS)
    patches = width * height // 16**2
    text_tokens = row["tokens"] // COUNT - patches // 4
    operations = COUNT * count_page_operations(SHAPES[shape], patches=patches, text_tokens=text_tokens)
    return {name: round(operations / seconds / 1e9 / ceiling, 3) for name, seconds in row["seconds"].items()}


if __name__ == "__main__":
    main()
