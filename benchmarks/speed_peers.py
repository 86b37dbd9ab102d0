"""Who is compared: sentence-transformers at the batch size that suits it best, and a clone of the official scripts."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from qwen3_vl_retrieval import FrameSampling, MediaPolicy, PixelBudget, Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.inputs import VideoPart
from qwen3_vl_retrieval.media import read_clip

_BATCH_SIZES = (1, 4, 16, 32, 128)

_FRAME_RATE = 4.0
"""Of the clips of `speed_inputs`."""


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


def read_for_peer(item: Any) -> Any:
    """Returns a text, or a picture or clip as the peer takes it.

    Clips are sampled and sized by our reader, in the time of the peer: its own needs torchcodec, and has other
    limits: 12 visual tokens for a clip of `speed_inputs`, where the published ones give 280.
    """
    if not isinstance(item, Path):
        return item
    if item.suffix != ".mp4":
        return {"image": Image.open(item)}
    clip = read_clip(VideoPart(source=item), policy=MediaPolicy(), sampling=FrameSampling(), budget=PixelBudget())
    frames = torch.from_numpy(np.array(clip.frames)).permute(0, 3, 1, 2)
    indices = [round(_FRAME_RATE * seconds) for seconds in clip.frame_times]
    told = {"fps": _FRAME_RATE, "total_num_frames": max(indices) + 1, "frames_indices": indices}
    return {"video": {"array": frames, "video_metadata": told}}


def load_peer_reranker(folder: Path, dtype: str, device: str) -> Any:
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(folder), device=device, model_kwargs={"dtype": getattr(torch, dtype)})


def choose_batch_size(run: Any, inputs: Sequence[Any], *, sizes: Sequence[int] = _BATCH_SIZES) -> int:
    """Returns the batch size with which a peer is fastest on a quarter of the inputs."""
    sample = inputs[: max(len(inputs) // 4, 4)]
    seconds: dict[int, float] = {}
    for size in sizes:
        if size > 1 and size >= 2 * len(inputs):
            continue
        run(sample[:2], size)
        started = time.perf_counter()
        run(sample, size)
        seconds[size] = time.perf_counter() - started
    return min(seconds, key=lambda size: seconds[size])


def load_official(clone: Path, folder: Path, dtype: str, *, kind: str) -> Any:
    """Returns the official class for a checkpoint, imported from a clone."""
    sys.path.insert(0, str(clone))
    if kind == "embedding":
        from src.models.qwen3_vl_embedding import Qwen3VLEmbedder as Official  # pyright: ignore[reportMissingImports]
    else:
        from src.models.qwen3_vl_reranker import Qwen3VLReranker as Official  # pyright: ignore[reportMissingImports]
    return Official(model_name_or_path=str(folder), torch_dtype=getattr(torch, dtype))
