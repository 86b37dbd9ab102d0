"""Indexing runs in processes that can be killed.

One server process imports torch and transformers, and each run is a copy of it: a second instead of ten.
"""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

_WAIT_SECONDS = 120

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    [
        "transformers.models.qwen3_vl.modeling_qwen3_vl",
        "qwen3_vl_retrieval.embedder",
        "qwen3_vl_retrieval.index.multimodal_index",
    ]
)


def run_sync(checkpoint: Path, index: Path, folder: Path, *, kill_after: int | None = None) -> int:
    """Syncs `folder` into `index` in a process of its own; returns how many files it had done when it ended.

    Args:
        checkpoint: Of the embedder.
        index: Where to.
        folder: What.
        kill_after: How many files may be done before it is killed; `None` lets it end.
    """
    told = context.Queue()
    process = context.Process(target=_sync, args=(checkpoint, index, folder, told, kill_after))
    process.start()
    try:
        if kill_after is not None:
            return told.get(timeout=_WAIT_SECONDS)
        process.join(_WAIT_SECONDS)
        assert process.exitcode == 0
        return told.get()
    finally:
        process.kill()
        process.join()


def _sync(checkpoint, index, folder, told, kill_after):
    from qwen3_vl_retrieval import PixelBudget, Qwen3VLEmbedder
    from qwen3_vl_retrieval.index import MultimodalIndex

    budget = PixelBudget(min_pixels=4096, max_pixels=4096, frame_min_pixels=4096, frame_max_pixels=4096)
    embedder = Qwen3VLEmbedder.from_pretrained(checkpoint, device="cpu", dtype="float32", pixel_budget=budget)
    moments = []

    def tell(moment):
        moments.append(moment)
        if kill_after is not None and moment.files_done >= kill_after:
            told.put(moment.files_done)
            # The next files are being read meanwhile.
            time.sleep(_WAIT_SECONDS)

    with MultimodalIndex.open(index, embedder) as opened:
        opened.sync(folder, on_progress=tell)
    told.put(moments[-1].files_done)
