"""How fast are documents judged? 50 texts for one query, and 20 pages for a first and for a second query.

uv run python benchmarks/speed_reranking.py [--dtype bfloat16] [--shape 2b]
"""

from __future__ import annotations

import numpy as np
from checkpoints import build_checkpoint
from machine import write_result
from PIL import Image
from speed_inputs import draw_texts, write_pages
from speed_peers import choose_batch_size, load_peer_reranker, load_reranker
from speed_timing import compare, measure_seconds, parse_options, rate

QUERY = "Which page says who signed the contract, and when was that?"


def main() -> None:
    options = parse_options(__doc__ or "")
    folder = build_checkpoint(options.checkpoints, "reranker", shape=options.shape)
    ours = load_reranker(folder, options.dtype, options.device)
    peer = load_peer_reranker(folder, options.dtype, options.device)

    texts = draw_texts(50, fewest=20, most=200)
    pairs = [(QUERY, text) for text in texts]
    size = choose_batch_size(lambda chosen, batch: peer.predict(list(chosen), batch_size=batch), pairs)
    difference = np.abs(ours.score(QUERY, texts, output="margin") - peer.predict(pairs)).max()
    result = {
        "50 texts of 20 to 200 words": compare(
            {
                "ours": lambda: ours.score(QUERY, texts),
                "sentence-transformers": lambda: peer.predict(pairs, batch_size=size),
            },
            rounds=options.rounds,
        )
        | {"peer_batch_size": size, "largest_difference": round(float(difference), 6)}
    }

    pages = write_pages(options.checkpoints.parent / "pages", 20)

    def judge_afresh() -> None:
        ours._engine.executor._features.clear()
        ours.score(QUERY, pages)

    counted = []

    def judge_again() -> None:
        before = ours.stats
        ours.score("another query", pages)
        counted.append((ours.stats - before).vision_encodes)

    def judge_by_peer() -> None:
        peer.predict([(QUERY, Image.open(page)) for page in pages], batch_size=1)

    rounds = min(options.rounds, options.page_rounds)
    # In this order: what is judged again has been judged before.
    seconds = measure_seconds(
        {"first": judge_afresh, "again": judge_again, "sentence-transformers": judge_by_peer},
        rounds=rounds,
    )
    peer_seconds = {"sentence-transformers": seconds["sentence-transformers"]}
    result["20 pages of 800 x 1040, first query"] = rate({"ours": seconds["first"], **peer_seconds}, rounds=rounds)
    result["20 pages of 800 x 1040, second query"] = rate({"ours": seconds["again"], **peer_seconds}, rounds=rounds) | {
        "vision_encodes": max(counted)
    }
    write_result(f"speed_reranking_{options.shape}_{options.dtype}_{options.device}", result)


if __name__ == "__main__":
    main()
