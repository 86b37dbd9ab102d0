"""How fast are images embedded? Six pages of 800 x 1040 as JPEG files, and a folder of texts, pages and videos.

uv run python benchmarks/speed_pages.py [--dtype bfloat16] [--shape 2b] [--official PATH] [--pages 6]
"""

from __future__ import annotations

import random
from typing import Any

from checkpoints import build_checkpoint
from machine import name_hardware, write_result
from speed_inputs import draw_texts, write_clips, write_pages
from speed_peers import compare_sets, load_embedder, load_peer_embedders
from speed_timing import build_parser

SIZE = (800, 1040)


def main() -> None:
    parser = build_parser(__doc__ or "")
    parser.add_argument("--pages", type=int, default=6, help="how many pages are embedded; fewer where one takes long")
    options = parser.parse_args()
    folder = build_checkpoint(options.checkpoints, "embedding", shape=options.shape)
    ours = load_embedder(folder, options.dtype, options.device)
    peers = load_peer_embedders(folder, options)
    media = options.checkpoints.parent / "pages"

    # Cosines of videos are 0.9993: the peers' processor writes one pair of vision marks too many around a video.
    folder_of_files: list[Any] = [
        *draw_texts(96, fewest=5, most=200),
        *write_pages(media, 8, size=(320, 416), seed=1),
        *write_clips(media, 4),
    ]
    random.Random(0).shuffle(folder_of_files)
    sets = {
        f"{options.pages} pages of {SIZE[0]} x {SIZE[1]}": (
            write_pages(media, options.pages, size=SIZE),
            (1, options.pages),
        ),
        "96 texts, 8 pages of 320 x 416, 4 videos of 4 s": (folder_of_files, (1, 4, 16, 32)),
    }
    write_result(
        f"speed_pages_{options.shape}_{options.dtype}_{name_hardware(options.device)}",
        compare_sets(ours, peers, sets, options),
    )


if __name__ == "__main__":
    main()
