"""How fast are texts embedded? 128 of 5 to 200 words, and 128 of 3 to 12.

uv run python benchmarks/speed_texts.py [--dtype bfloat16] [--shape 2b] [--official PATH]
"""

from __future__ import annotations

import numpy as np
import torch
from checkpoints import SHAPES, build_checkpoint
from machine import write_result
from speed_inputs import draw_texts
from speed_peers import choose_batch_size, load_embedder, load_official, load_peer_embedder
from speed_timing import Work, compare, measure_matrix_throughput, parse_options

SETS = {"texts of 5 to 200 words": (5, 200), "texts of 3 to 12 words": (3, 12)}


def main() -> None:
    options = parse_options(__doc__ or "")
    folder = build_checkpoint(options.checkpoints, "embedding", shape=options.shape)
    ours = load_embedder(folder, options.dtype, options.device)
    peer = load_peer_embedder(folder, options.dtype, options.device)
    official = load_official(options.official, folder, options.dtype, kind="embedding") if options.official else None
    rows = {}
    for name, (fewest, most) in SETS.items():
        texts = draw_texts(128, fewest=fewest, most=most)
        size = choose_batch_size(lambda chosen, batch: peer.encode(list(chosen), batch_size=batch), texts)
        competitors: dict[str, Work] = {
            "ours": lambda texts=texts: ours.embed(texts),
            "sentence-transformers": lambda texts=texts, size=size: peer.encode(texts, batch_size=size),
        }
        if official is not None:
            competitors["official"] = lambda texts=texts: [official.process([{"text": text}]) for text in texts]
        before = ours.stats
        cosines = (ours.embed(texts[:16]) * peer.encode(texts[:16])).sum(axis=1)
        rows[name] = compare(competitors, rounds=options.rounds) | {
            "peer_batch_size": size,
            "lowest_cosine_to_peer": round(float(np.min(cosines)), 6),
            "tokens_computed_per_real": round(
                (ours.stats - before).tokens_computed / (ours.stats - before).tokens_real, 3
            ),
        }
    width = SHAPES[options.shape]["text"]["hidden"]
    ceiling = measure_matrix_throughput(getattr(torch, options.dtype), options.device, width=width)
    write_result(f"speed_texts_{options.shape}_{options.dtype}_{options.device}", {"matrix_gflops": ceiling, **rows})


if __name__ == "__main__":
    main()
