"""What do concurrent callers gain? 64 with one query each, against a loop over the same queries.

uv run python benchmarks/speed_callers.py [--dtype bfloat16]
"""

from __future__ import annotations

import asyncio

from checkpoints import build_checkpoint
from machine import name_hardware, write_result
from speed_inputs import draw_texts
from speed_peers import load_embedder, load_peer_embedder
from speed_timing import compare, parse_options


def main() -> None:
    options = parse_options(__doc__ or "")
    folder = build_checkpoint(options.checkpoints, "embedding", shape=options.shape)
    ours = load_embedder(folder, options.dtype, options.device)
    peer = load_peer_embedder(folder, options.dtype, options.device)
    queries = draw_texts(64, fewest=3, most=12)

    async def embed_all() -> None:
        await asyncio.gather(*(ours.aembed([query]) for query in queries))

    before = ours.stats
    asyncio.run(embed_all())
    passes = (ours.stats - before).batches
    result = compare(
        {
            "ours": lambda: asyncio.run(embed_all()),
            "ours, one after the other": lambda: [ours.embed([query]) for query in queries],
            "sentence-transformers, one after the other": lambda: [peer.encode([query]) for query in queries],
        },
        rounds=options.rounds,
        device=options.device,
    )
    seconds = result["seconds"]
    own = seconds["ours, one after the other"] / seconds["ours"]
    write_result(
        f"speed_callers_{options.shape}_{options.dtype}_{name_hardware(options.device)}",
        {"64 callers": result | {"ratio_to_own_loop": round(own, 2), "forward_passes": passes}},
    )


if __name__ == "__main__":
    main()
