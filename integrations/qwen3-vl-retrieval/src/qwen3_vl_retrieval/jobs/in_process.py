"""Shards embedded in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable

from qwen3_vl_retrieval.errors import RetrievalError, explain
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.jobs.executor import Executor
from qwen3_vl_retrieval.jobs.shard_embedder import ShardEmbedder
from qwen3_vl_retrieval.jobs.tasks import ShardOutcome, ShardTask, WorkSettings
from qwen3_vl_retrieval.protocols import Embedder, PlainEmbedder, adapt_embedder

__all__ = ["InProcessExecutor", "run_task"]


class InProcessExecutor(Executor):
    """Embeds with a model of this process.

    Args:
        embedder: The model.
    """

    def __init__(self, embedder: Embedder | PlainEmbedder) -> None:
        self._embedder = adapt_embedder(embedder)
        self._shards: ShardEmbedder | None = None
        self._task: ShardTask | None = None

    def start(self, settings: WorkSettings) -> Fingerprint:
        """Returns the identity of the model's vectors."""
        self._shards = ShardEmbedder(self._embedder, settings)
        return self._embedder.fingerprint

    @property
    def device_count(self) -> int:
        """One: the model's."""
        return 1

    def has_room(self) -> bool:
        """Returns whether no shard is waiting."""
        return self._task is None

    def submit(self, task: ShardTask) -> None:
        """Keeps a shard until it is waited for."""
        self._task = task

    def wait(self) -> ShardOutcome | None:
        """Embeds the shard that was submitted, and returns what became of it."""
        task, self._task = self._task, None
        if task is None or self._shards is None:
            return None
        return run_task(self._shards, task)

    def close(self) -> None:
        """Does nothing: the model is the caller's."""


def run_task(
    shards: ShardEmbedder, task: ShardTask, *, on_sign_of_life: Callable[[], None] | None = None
) -> ShardOutcome:
    """Returns what becomes of a task, whatever is raised; for the callback see `ShardEmbedder.embed`."""
    try:
        return ShardOutcome(task=task, account=shards.embed(task, on_sign_of_life=on_sign_of_life))
    except RetrievalError as error:
        return ShardOutcome(task=task, error=error)
    except Exception as error:  # noqa: BLE001 - whatever it is, one item may be the cause, and the others are embedded
        return ShardOutcome(task=task, crash=f"{type(error).__name__}: {explain(error)}")
