"""What a run asks of whoever places its shards on devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.jobs.tasks import ShardOutcome, ShardTask, WorkSettings
from qwen3_vl_retrieval.protocols import Embedder

__all__ = ["STALL_SECONDS", "Executor", "LoadEmbedder", "check_stall_seconds"]

STALL_SECONDS = 1800.0
"""After so long without a file read or units embedded, a worker hangs: on a file system, a driver or an endless file.
The slowest honest step, 32 pages at 8B on a CPU, takes minutes."""

LoadEmbedder: TypeAlias = Callable[[int], Embedder]
"""Returns the model of a worker, which is told its number, from 0. Other processes call it: a function of a module, or
a `functools.partial` of one."""


def check_stall_seconds(stall_seconds: float | None) -> None:
    """Raises `ValueError` if it is no time to wait for a worker."""
    if stall_seconds is not None and not stall_seconds > 0:
        raise ValueError(f"stall_seconds={stall_seconds!r} must be positive, or None to wait for ever")


class Executor(Protocol):
    """Embeds shards, several at a time, and says what became of each.

    What becomes of a shard that failed is decided by whoever asks: an executor tries nothing twice. A worker that ends
    is replaced.
    """

    def start(self, settings: WorkSettings) -> Fingerprint:
        """Starts the workers, and returns the identity of the vectors that they make.

        Raises:
            ModelError: A model cannot be loaded.
            RemoteError: An engine elsewhere cannot be reached.
            ValueError: The run is in a place that the workers cannot reach.
        """
        ...

    @property
    def device_count(self) -> int:
        """Devices that compute at the same time."""
        ...

    def has_room(self) -> bool:
        """Returns whether a worker waits for a shard."""
        ...

    def submit(self, task: ShardTask) -> None:
        """Gives a shard to a worker that waits."""
        ...

    def wait(self) -> ShardOutcome | None:
        """Returns what became of a task once one has ended; `None` if something else may go on instead.

        Raises:
            ModelError: Workers end before they are ready.
        """
        ...

    def close(self) -> None:
        """Ends the workers, whatever they are doing."""
        ...
