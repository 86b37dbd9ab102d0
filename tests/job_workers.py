"""Models of workers, which other processes load by their names."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qwen3_vl_retrieval.errors import ModelError
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.protocols import Embedder, implements
from qwen3_vl_retrieval.testing import FakeEmbedder

DEADLY = "deadly"


class DeadlyEmbedder(FakeEmbedder):
    """Its process is killed by an item that says so, as a library in C may be by a damaged file."""

    @implements(Embedder.embed)
    def embed(self, inputs: Iterable[Item], **options: Any) -> Any:
        items = list(inputs)
        if any(isinstance(item, str) and DEADLY in item for item in items):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed(items, **options)


class SlowEmbedder(FakeEmbedder):
    """Takes long enough to be caught at work."""

    @implements(Embedder.embed)
    def embed(self, inputs: Iterable[Item], **options: Any) -> Any:
        time.sleep(0.3)
        return super().embed(inputs, **options)


def load_fake(_number: int) -> FakeEmbedder:
    return FakeEmbedder()


def load_deadly(_number: int) -> FakeEmbedder:
    return DeadlyEmbedder()


def load_slow(_number: int) -> FakeEmbedder:
    return SlowEmbedder()


def load_nothing(number: int) -> FakeEmbedder:
    raise ModelError(f"there is no model for worker {number}")


def embed_slowly(source: str, run: str) -> None:
    """Embeds with two slow workers; a process of its own does so, and is killed."""
    from qwen3_vl_retrieval.jobs import ProcessExecutor, embed_source

    executor = ProcessExecutor(load_slow, workers=2)

    def note(_progress: object) -> None:
        Path(run, "workers.txt").write_text(" ".join(map(str, executor.process_ids)), encoding="utf-8")

    embed_source(source, run, executor, shard_units=4, on_progress=note)
