"""How fast are pictures embedded? Six pages of 800 x 1040 as JPEG files, and a folder of texts, pages and clips.

uv run python benchmarks/speed_pages.py [--dtype bfloat16] [--shape 2b]
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from checkpoints import build_checkpoint
from machine import write_result
from speed_inputs import draw_texts, write_clips, write_pages
from speed_peers import choose_batch_size, load_embedder, load_peer_embedder, read_for_peer
from speed_timing import compare, parse_options


def main() -> None:
    options = parse_options(__doc__ or "")
    folder = build_checkpoint(options.checkpoints, "embedding", shape=options.shape)
    ours = load_embedder(folder, options.dtype, options.device)
    peer = load_peer_embedder(folder, options.dtype, options.device)
    media = options.checkpoints.parent / "pages"
    pages = write_pages(media, 6)
    result: dict[str, Any] = {}

    def encode(items: Sequence[Any], size: int) -> object:
        return peer.encode([read_for_peer(item) for item in items], batch_size=size)

    def compare_with_best(items: Sequence[Any], sizes: Sequence[int]) -> dict[str, Any]:
        size = choose_batch_size(encode, items, sizes=sizes)
        cosines = np.sum(normalize(ours.embed(items)) * normalize(encode(items, size)), axis=1)
        compared = compare(
            {"ours": lambda: ours.embed(items), "sentence-transformers": lambda: encode(items, size)},
            rounds=options.rounds,
        )
        return compared | {"peer_batch_size": size, "lowest_cosine": round(float(cosines.min()), 5)}

    result["6 pages of 800 x 1040"] = compare_with_best(pages, (1, 6))
    items: list[Any] = [
        *draw_texts(96, fewest=5, most=200),
        *write_pages(media, 8, size=(320, 416), seed=1),
        *write_clips(media, 4),
    ]
    random.Random(0).shuffle(items)
    result["96 texts, 8 pages of 320 x 416, 4 clips of 4 s"] = compare_with_best(items, (1, 4, 16, 32))
    write_result(f"speed_pages_{options.shape}_{options.dtype}_{options.device}", result)


def normalize(vectors: Any) -> np.ndarray[Any, Any]:
    rows = np.asarray(vectors, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
