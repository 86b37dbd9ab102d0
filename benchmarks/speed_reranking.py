"""How fast are documents judged? 50 texts for one query, and 20 pages for a first and for a second query.

uv run python benchmarks/speed_reranking.py [--dtype bfloat16] [--shape 2b] [--official PATH] [--pages 20]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from checkpoints import build_checkpoint
from machine import name_hardware, write_result
from speed_inputs import draw_texts, write_pages
from speed_peers import PeerReranker, choose_batch_size, load_peer_rerankers, load_reranker
from speed_timing import Work, build_parser, compare, measure_peak_memory, measure_seconds, rate

from qwen3_vl_retrieval import Qwen3VLReranker

QUERY = "Which page says who signed the contract, and when was that?"


def main() -> None:
    parser = build_parser(__doc__ or "")
    parser.add_argument("--pages", type=int, default=20, help="how many pages are judged; fewer where one takes long")
    options = parser.parse_args()
    folder = build_checkpoint(options.checkpoints, "reranker", shape=options.shape)
    ours = load_reranker(folder, options.dtype, options.device)
    peers = load_peer_rerankers(folder, options)
    result = {
        "50 texts of 20 to 200 words": compare_texts(ours, peers, draw_texts(50, fewest=20, most=200), options),
        **compare_pages(ours, peers, write_pages(options.checkpoints.parent / "pages", options.pages), options),
    }
    write_result(f"speed_reranking_{options.shape}_{options.dtype}_{name_hardware(options.device)}", result)


def compare_texts(
    ours: Qwen3VLReranker, peers: Mapping[str, PeerReranker], texts: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    tried = (1, 4, 16, 32) if options.peer_batch_size is None else (options.peer_batch_size,)
    best = choose_batch_sizes(peers, texts, sizes=tried)
    works: dict[str, Work] = {name: partial(peer.judge, QUERY, texts, best[name]) for name, peer in peers.items()}
    differences = {name: measure_difference(ours, peers[name], texts, work()) for name, work in works.items()}
    compared = compare(
        {"ours": lambda: ours.score(QUERY, texts), **works}, rounds=options.rounds, device=options.device
    )
    return compared | {"batch_sizes": best, "largest_difference": differences}


def compare_pages(
    ours: Qwen3VLReranker, peers: Mapping[str, PeerReranker], pages: Sequence[Any], options: argparse.Namespace
) -> dict[str, Any]:
    # A page alone keeps a CPU busy (`speed_pages.py` finds 1 the best), and to find that out takes minutes.
    best = choose_batch_sizes(peers, pages, sizes=(1,) if options.device == "cpu" else (1, 4, 16))
    scores: dict[str, Any] = {}
    counted: list[int] = []

    def judge_afresh() -> None:
        # No caller needs to forget pictures, and so there is no public way.
        ours._engine.executor._features.clear()  # pyright: ignore[reportPrivateUsage]
        ours.score(QUERY, pages)

    def judge_again() -> None:
        before = ours.stats
        ours.score("another query", pages)
        counted.append((ours.stats - before).vision_encodes)

    def judge_by(name: str) -> None:
        scores[name] = peers[name].judge(QUERY, pages, best[name])

    # In this order: what is judged again has been judged before.
    works: dict[str, Work] = {"first": judge_afresh, "again": judge_again}
    works |= {name: partial(judge_by, name) for name in peers}
    rounds = min(options.rounds, options.page_rounds)
    seconds = measure_seconds(works, rounds=rounds)
    memory = measure_peak_memory(works, device=options.device)
    agreement = {name: measure_difference(ours, peers[name], pages, values) for name, values in scores.items()}
    told = {"batch_sizes": best, "largest_difference": agreement}
    rows: dict[str, Any] = {}
    for key, query in {"first": "first query", "again": "second query"}.items():
        rows[f"{len(pages)} pages of 800 x 1040, {query}"] = (
            rate(keep_one(seconds, key), rounds=rounds)
            | {name: keep_one(peaks, key) for name, peaks in memory.items()}
            | (told if key == "first" else {"vision_encodes": max(counted)})
        )
    return rows


def choose_batch_sizes(
    peers: Mapping[str, PeerReranker], documents: Sequence[Any], *, sizes: Sequence[int]
) -> dict[str, int]:
    return {
        name: choose_batch_size(partial(peer.judge, QUERY), documents, sizes=sizes if peer.takes_batches else (1,))
        for name, peer in peers.items()
    }


def measure_difference(ours: Qwen3VLReranker, peer: PeerReranker, documents: Sequence[Any], scores: Any) -> float:
    """Returns by how much a peer's scores, margins or probabilities, differ from ours at most."""
    return round(float(np.abs(ours.score(QUERY, documents, output=peer.output) - np.asarray(scores)).max()), 6)


def keep_one(measured: Mapping[str, float], ours: str) -> dict[str, float]:
    """Returns one of our two measurements as `ours`, and those of the peers."""
    others = {name: value for name, value in measured.items() if name not in {"first", "again"}}
    return {"ours": measured[ours], **others}


if __name__ == "__main__":
    main()
