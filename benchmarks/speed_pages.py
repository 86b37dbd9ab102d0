"""How fast are pictures embedded? Six pages of 800 x 1040 as JPEG files, and a folder of texts, pages and clips.

uv run python benchmarks/speed_pages.py [--dtype bfloat16] [--shape 2b]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checkpoints import build_checkpoint
from machine import write_result
from PIL import Image
from speed_inputs import draw_texts, write_clips, write_pages
from speed_peers import load_embedder, load_peer_embedder
from speed_timing import compare, parse_options


def main() -> None:
    options = parse_options(__doc__ or "")
    folder = build_checkpoint(options.checkpoints, "embedding", shape=options.shape)
    ours = load_embedder(folder, options.dtype, options.device)
    peer = load_peer_embedder(folder, options.dtype, options.device)
    media = options.checkpoints.parent / "pages"
    pages = write_pages(media, 6)
    result: dict[str, Any] = {}
    result["6 pages of 800 x 1040"] = compare(
        {
            "ours": lambda: ours.embed(pages),
            "sentence-transformers, one by one": lambda: peer.encode(
                [Image.open(page) for page in pages], batch_size=1
            ),
            "sentence-transformers, 6 at once": lambda: peer.encode([Image.open(page) for page in pages], batch_size=6),
        },
        rounds=options.rounds,
    )
    texts = draw_texts(96, fewest=5, most=200)
    small = write_pages(media, 8, size=(320, 416), seed=1)
    clips = write_clips(media, 4)
    ours_items: list[Any] = [*texts, *small, *clips]
    peer_items: list[Any] = [
        *texts,
        *({"image": str(page)} for page in small),
        *({"video": str(clip)} for clip in clips),
    ]

    def encode(size: int) -> object:
        return peer.encode([_open(item) for item in peer_items], batch_size=size)

    result["96 texts, 8 pages of 320 x 416, 4 clips of 4 s"] = compare(
        {
            "ours": lambda: ours.embed(ours_items),
            "sentence-transformers, one by one": lambda: encode(1),
            "sentence-transformers, 8 at once": lambda: encode(8),
        },
        rounds=options.rounds,
    )
    write_result(f"speed_pages_{options.shape}_{options.dtype}_{options.device}", result)


def _open(item: Any) -> Any:
    return {"image": Image.open(Path(item["image"]))} if isinstance(item, dict) and "image" in item else item


if __name__ == "__main__":
    main()
