"""Who is compared: sentence-transformers, and a clone of the official scripts, each at its best batch size."""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from checkpoints import SHAPES
from PIL import Image
from speed_arithmetic import count_request_operations
from speed_timing import Work, compare, measure_ceiling, rate_share

from qwen3_vl_retrieval import FrameSampling, MediaPolicy, PixelBudget, Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.engine.requests.builder import Request
from qwen3_vl_retrieval.items import VideoPart
from qwen3_vl_retrieval.media import read_video

Encode = Callable[[Sequence[Any], int], Any]
"""Makes vectors of items, so many at a time."""

BATCH_SIZES = (1, 4, 16, 32, 128)

_FRAME_RATE = 4.0
"""Of the clips of `speed_inputs`."""


@dataclass(frozen=True, kw_only=True)
class PeerReranker:
    """Who else judges.

    Attributes:
        judge: Makes scores for a query and documents, so many at a time.
        output: What its scores are.
        takes_batches: Whether it judges several at a time at all.
    """

    judge: Callable[[str, Sequence[Any], int], Any]
    output: Literal["margin", "probability"]
    takes_batches: bool


def load_embedder(folder: Path, dtype: str, device: str, **options: Any) -> Qwen3VLEmbedder:
    return Qwen3VLEmbedder.from_pretrained(folder, dtype=dtype, device=device, **options)


def load_reranker(folder: Path, dtype: str, device: str, **options: Any) -> Qwen3VLReranker:
    return Qwen3VLReranker.from_pretrained(folder, dtype=dtype, device=device, **options)


def load_peer_embedder(folder: Path, dtype: str, device: str) -> Any:
    from sentence_transformers import SentenceTransformer

    peer: Any = SentenceTransformer(str(folder), device=device, model_kwargs={"dtype": getattr(torch, dtype)})
    videos = peer[0].processor.video_processor
    # See `read_for_peer`.
    videos.do_resize = videos.do_sample_frames = False
    return peer


def load_peer_embedders(folder: Path, options: argparse.Namespace) -> dict[str, Encode]:
    """Returns sentence-transformers, and the official class where a clone was named."""
    peer = load_peer_embedder(folder, options.dtype, options.device)
    peers: dict[str, Encode] = {
        "sentence-transformers": lambda items, size: peer.encode(
            [read_for_peer(item) for item in items], batch_size=size
        )
    }
    if options.official:
        official = load_official(options.official, folder, options.dtype, options.device, kind="embedding")

        def embed(items: Sequence[Any], size: int) -> Any:
            told = [tell_official(item) for item in items]
            parts = [official.process(told[start : start + size]) for start in range(0, len(told), size)]
            return torch.cat(parts).float().cpu().numpy()

        peers["official"] = embed
    return peers


def load_peer_rerankers(folder: Path, options: argparse.Namespace) -> dict[str, PeerReranker]:
    """Returns sentence-transformers, and the official class where a clone was named."""
    from sentence_transformers import CrossEncoder

    peer: Any = CrossEncoder(str(folder), device=options.device, model_kwargs={"dtype": getattr(torch, options.dtype)})

    def predict(query: str, documents: Sequence[Any], size: int) -> Any:
        pairs = [(query, Image.open(item) if isinstance(item, Path) else item) for item in documents]
        return peer.predict(pairs, batch_size=size)

    peers = {"sentence-transformers": PeerReranker(judge=predict, output="margin", takes_batches=True)}
    if options.official:
        official = load_official(options.official, folder, options.dtype, options.device, kind="reranker")

        # Its `process` takes a list and judges pair by pair.
        def process(query: str, documents: Sequence[Any], _size: int) -> Any:
            told = [tell_official(item) for item in documents]
            return np.array(official.process({"query": {"text": query}, "documents": told}))

        peers["official"] = PeerReranker(judge=process, output="probability", takes_batches=False)
    return peers


def read_for_peer(item: Any) -> Any:
    """Returns a text, or a picture or clip as sentence-transformers takes it.

    Clips are sampled and sized by our reader, in the time of the peer: its own needs torchcodec, and has other
    limits: 12 visual tokens for a clip of `speed_inputs`, where the published ones give 280.
    """
    if not isinstance(item, Path):
        return item
    if item.suffix != ".mp4":
        return {"image": Image.open(item)}
    frames, told = sample_clip(item)
    return {"video": {"array": frames, "video_metadata": told}}


def sample_clip(path: Path) -> tuple[torch.Tensor, dict[str, Any]]:
    """Returns the frames of a clip of `speed_inputs`, (frames, 3, height, width), and what processors ask of them."""
    clip = read_video(VideoPart(source=path), policy=MediaPolicy(), sampling=FrameSampling(), budget=PixelBudget())
    frames = torch.from_numpy(np.array(clip.frames)).permute(0, 3, 1, 2)
    indices = [round(_FRAME_RATE * seconds) for seconds in clip.frame_times]
    return frames, {"fps": _FRAME_RATE, "total_num_frames": max(indices) + 1, "frames_indices": indices}


def tell_official(item: Any) -> dict[str, str]:
    """Returns an item as the official classes take it."""
    if not isinstance(item, Path):
        return {"text": item}
    return {"video" if item.suffix == ".mp4" else "image": str(item.absolute())}


def load_official(clone: Path, folder: Path, dtype: str, device: str, *, kind: Literal["embedding", "reranker"]) -> Any:
    """Returns the official class for a checkpoint, imported from a clone.

    What commit 8ce3aab needs to run with transformers 5, a recent torchvision and any device is in this function.
    """
    sys.path.insert(0, str(clone.absolute()))
    module, name = {
        "embedding": ("qwen3_vl_embedding", "Qwen3VLEmbedder"),
        "reranker": ("qwen3_vl_reranker", "Qwen3VLReranker"),
    }[kind]
    official: Any = getattr(importlib.import_module(f"src.models.{module}"), name)(
        model_name_or_path=str(folder), dtype=getattr(torch, dtype)
    )
    # It takes a GPU where there is one, whatever was asked for. Inputs follow the model.
    official.model.to(device)
    if kind == "reranker":
        official.score_linear.to(device)
        tokenize = official.tokenize

        # transformers 5 asks for the kinds of tokens; the script makes tensors of what version 4 gave and leaves these
        # a list. It tokenizes pair by pair, so that nothing is to be padded.
        def tokenize_with_kinds(pairs: Any) -> Any:
            inputs = tokenize(pairs)
            inputs["mm_token_type_ids"] = torch.tensor(inputs["mm_token_type_ids"])
            return inputs

        official.tokenize = tokenize_with_kinds
    vision_process: Any = importlib.import_module("qwen_vl_utils.vision_process")

    # Without torchcodec and decord, clips are read by a function that torchvision has dropped, and for a batch with a
    # clip that cannot be read the script embeds the word NULL. As for the other peer, our reader stands in.
    def read(told: Mapping[str, Any]) -> tuple[torch.Tensor, dict[str, Any], float]:
        frames, metadata = sample_clip(Path(told["video"].removeprefix("file://")))
        return frames, metadata, float(told["fps"])

    vision_process.VIDEO_READER_BACKENDS["torchvision"] = read
    return official


def choose_batch_size(run: Encode, inputs: Sequence[Any], *, sizes: Sequence[int] = BATCH_SIZES) -> int:
    """Returns the batch size with which a peer is fastest on half of the inputs, at its better of two tries.

    One try on a quarter of them has chosen a size that took a quarter longer: a favour to us.
    """
    if len(sizes) == 1:
        return sizes[0]
    sample = inputs[: max(len(inputs) // 2, 4)]
    seconds: dict[int, float] = {}
    for size in [size for size in sizes if size == 1 or size < 2 * len(inputs)] * 2:
        started = time.perf_counter()
        run(sample, size)
        seconds[size] = min(seconds.get(size, math.inf), time.perf_counter() - started)
    return min(seconds, key=lambda size: seconds[size])


def compare_embedders(
    ours: Qwen3VLEmbedder,
    peers: Mapping[str, Encode],
    items: Sequence[Any],
    *,
    options: argparse.Namespace,
    sizes: Sequence[int] = BATCH_SIZES,
) -> dict[str, Any]:
    """Returns timings with the best batch size of each peer, the lowest cosine of its vectors with ours, and tokens."""
    tried = sizes if options.peer_batch_size is None else (options.peer_batch_size,)
    best = {name: choose_batch_size(encode, items, sizes=tried) for name, encode in peers.items()}
    before = ours.stats
    vectors = normalize(ours.embed(items))
    shape = SHAPES[options.shape]
    operations = sum(
        count_request_operations(shape, request) for request in ours.prepare(items) if isinstance(request, Request)
    )
    done = ours.stats - before
    works: dict[str, Work] = {name: partial(encode, items, best[name]) for name, encode in peers.items()}
    cosines = {name: np.sum(vectors * normalize(work()), axis=1) for name, work in works.items()}
    compared = compare({"ours": lambda: ours.embed(items), **works}, rounds=options.rounds, device=options.device)
    return compared | {
        "batch_sizes": best,
        "lowest_cosine": {name: round(float(values.min()), 6) for name, values in cosines.items()},
        "tokens": done.tokens_real,
        "gigaflop": round(operations / 1e9, 1),
        "tokens_computed_per_real": round(done.tokens_computed / done.tokens_real, 3),
    }


def compare_sets(
    ours: Qwen3VLEmbedder,
    peers: Mapping[str, Encode],
    sets: Mapping[str, tuple[Sequence[Any], Sequence[int]]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Returns the matrix throughput of the machine, and a row for each set of items with the batch sizes to try."""
    width = SHAPES[options.shape]["text"]["hidden"]
    # Before, between and after: the speed of a machine changes within an hour.
    ceilings = [measure_ceiling(options.dtype, options.device, width=width)]
    rows: dict[str, Any] = {}
    for name, (items, sizes) in sets.items():
        rows[name] = compare_embedders(ours, peers, items, options=options, sizes=sizes)
        ceilings.append(measure_ceiling(options.dtype, options.device, width=width))
    for row in rows.values():
        row["share_of_ceiling"] = rate_share(row, ceiling=max(ceilings))
    return {"matrix_gflops": max(ceilings), **rows}


def normalize(vectors: Any) -> np.ndarray[Any, Any]:
    rows = np.asarray(vectors, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
