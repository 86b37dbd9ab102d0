"""How far a call is: shards, files and units, counted as they are finished."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from time import perf_counter

from qwen3_vl_retrieval.jobs.parts import PartAccount
from qwen3_vl_retrieval.jobs.report import OnRunProgress, RunProgress
from qwen3_vl_retrieval.jobs.shards import Shard

__all__ = ["ShardCounter"]


@dataclass(slots=True, kw_only=True)
class ShardCounter:
    """Counts the shards of a call; those that were finished before count as done.

    Attributes:
        shards_total: Shards there are.
        files_total: Files there are.
        on_progress: Told after every shard; `None` is nobody.
        failures: Failures that are named so far.
    """

    shards_total: int
    files_total: int
    on_progress: OnRunProgress | None
    failures: int
    shards_done: int = 0
    files_done: int = 0
    units_embedded: int = 0
    units_expected: int = 0
    expected_done: int = 0
    begun: float = field(default_factory=perf_counter)

    def add_finished(self, accounts: Iterable[PartAccount]) -> None:
        """Counts shards that were finished before."""
        for account in accounts:
            self._add(account)

    def expect(self, shards: Iterable[Shard]) -> None:
        """Counts what there is to do."""
        self.units_expected += sum(shard.expected_units for shard in shards)

    def add_fresh(self, shard: Shard, account: PartAccount) -> None:
        """Counts a shard that was finished now."""
        self._add(account)
        self.units_embedded += account.units - account.reused_units
        self.expected_done += shard.expected_units

    def tell(self) -> None:
        """Calls `on_progress`, if there is one."""
        if self.on_progress is None:
            return
        seconds = max(perf_counter() - self.begun, 1e-9)
        left = self.units_expected - self.expected_done
        self.on_progress(
            RunProgress(
                shards_done=self.shards_done,
                shards_total=self.shards_total,
                files_done=self.files_done,
                files_total=self.files_total,
                units_embedded=self.units_embedded,
                units_per_second=self.units_embedded / seconds,
                seconds_left=seconds / self.expected_done * left if self.expected_done else None,
                failures=self.failures,
            )
        )

    def _add(self, account: PartAccount) -> None:
        self.shards_done += 1
        self.files_done += account.files
        self.failures += account.failures
