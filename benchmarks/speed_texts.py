"""How fast are texts embedded? 128 of 5 to 200 words, and 128 of 3 to 12.

uv run python benchmarks/speed_texts.py [--dtype bfloat16] [--shape 2b] [--official PATH]
"""

from __future__ import annotations

from checkpoints import build_checkpoint
from machine import name_hardware, write_result
from speed_inputs import draw_texts
from speed_peers import BATCH_SIZES, compare_sets, load_embedder, load_peer_embedders
from speed_timing import parse_options

SETS = {"texts of 5 to 200 words": (5, 200), "texts of 3 to 12 words": (3, 12)}


def main() -> None:
    options = parse_options(__doc__ or "")
    folder = build_checkpoint(options.checkpoints, "embedding", shape=options.shape)
    ours = load_embedder(folder, options.dtype, options.device)
    peers = load_peer_embedders(folder, options)
    sets = {name: (draw_texts(128, fewest=fewest, most=most), BATCH_SIZES) for name, (fewest, most) in SETS.items()}
    write_result(
        f"speed_texts_{options.shape}_{options.dtype}_{name_hardware(options.device)}",
        compare_sets(ours, peers, sets, options),
    )


if __name__ == "__main__":
    main()
