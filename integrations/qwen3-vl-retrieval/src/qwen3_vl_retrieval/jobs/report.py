"""What a run has done so far, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from qwen3_vl_retrieval.jobs.failures import NamedFailure

__all__ = ["OnRunProgress", "RunProgress", "RunReport"]

_THOUSAND = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """A moment of a run.

    Attributes:
        shards_done: Shards that are finished.
        shards_total: Shards there are.
        files_done: Files of the finished ones.
        files_total: Files there are.
        units_embedded: Units that this process, or the last that was at work, has had embedded.
        units_per_second: How many of them in a second.
        seconds_left: Estimated from the units that are expected; `None` before the first shard is finished.
        failures: Failures that are named so far.
    """

    shards_done: int
    shards_total: int
    files_done: int
    files_total: int
    units_embedded: int
    units_per_second: float
    seconds_left: float | None
    failures: int


OnRunProgress: TypeAlias = Callable[[RunProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What came of a run.

    Attributes:
        location: Where the run is.
        parts: The parts that count, each with the number of its units.
        units: Units that count.
        duplicate_units: Units that other shards hold, too, and that are counted once.
        files: Files of the source.
        duplicate_files: Files whose content is that of another.
        skipped: Files that take no part, and why.
        failures: What could not be listed, read or embedded.
        missing: Files whose units are neither there nor named as failures, and why.
        obsolete_parts: Parts that count no longer.
        embedded_units: Units that were embedded by this call.
        finished_shards: Shards that this call finished; others were finished before.
        device_seconds: How long devices were occupied with them, all devices together.
        device_count: Devices at work.
        seconds: How long this call took.
    """

    location: str
    parts: Mapping[str, int]
    units: int
    duplicate_units: int
    files: int
    duplicate_files: int
    skipped: Mapping[str, str]
    failures: Sequence[NamedFailure]
    missing: Mapping[str, str]
    obsolete_parts: Sequence[str]
    embedded_units: int
    finished_shards: int
    device_seconds: float
    device_count: int
    seconds: float

    @property
    def is_complete(self) -> bool:
        """Whether every unit is there, or named as a failure."""
        return not self.missing

    @property
    def units_per_second(self) -> float:
        """Units that were embedded in a second."""
        return self.embedded_units / max(self.seconds, 1e-9)

    @property
    def device_seconds_per_thousand(self) -> float | None:
        """How long a device is occupied with a thousand units; `None` if none were embedded."""
        return _THOUSAND * self.device_seconds / self.embedded_units if self.embedded_units else None

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON has it."""
        return {
            **asdict(self),
            "is_complete": self.is_complete,
            "units_per_second": self.units_per_second,
            "device_seconds_per_thousand": self.device_seconds_per_thousand,
        }
