"""What a worker is asked and what it answers; all of it can be pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qwen3_vl_retrieval.errors import RetrievalError
from qwen3_vl_retrieval.jobs.entries import Entry
from qwen3_vl_retrieval.jobs.parts import PartAccount
from qwen3_vl_retrieval.jobs.reading import PartPrecision, ReadingOptions
from qwen3_vl_retrieval.jobs.run_folder import RunFolder
from qwen3_vl_retrieval.jobs.shards import Shard
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["ShardOutcome", "ShardTask", "WorkSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSettings:
    """What all shards of a run have in common.

    Attributes:
        run: Where parts are written.
        policy: What may be opened.
        reading: How files are taken apart.
        precision: Number format of the vectors in parts.
        storage_options: Options of the file system of the source.
    """

    run: RunFolder
    policy: MediaPolicy
    reading: ReadingOptions
    precision: PartPrecision = "float32"
    storage_options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """A shard to be embedded.

    Attributes:
        shard: The shard; of a trial, some of its contents.
        reuse: Parts whose vectors need not be computed again, by their names in the run.
        blamed: Contents that are left out and named, and why, by identity.
        is_trial: Whether nothing is written: it is to be seen whether a worker survives.
    """

    shard: Shard
    reuse: tuple[str, ...] = ()
    blamed: Mapping[str, str] = field(default_factory=dict[str, str])
    is_trial: bool = False

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The contents that are read."""
        return tuple(entry for entry in self.shard.entries if entry.identity not in self.blamed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOutcome:
    """What became of a task; one of the three is not `None`.

    Attributes:
        task: The task.
        account: What came of it.
        error: What is wrong with a disk, a store or an engine, and not with the contents.
        crash: How the worker ended, or what it did not expect.
    """

    task: ShardTask
    account: PartAccount | None = None
    error: RetrievalError | None = None
    crash: str | None = None
