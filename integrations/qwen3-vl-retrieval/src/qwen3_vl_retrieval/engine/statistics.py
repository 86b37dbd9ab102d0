"""What an engine has done since it was made, in numbers."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

from qwen3_vl_retrieval.forks import ForkSafeLock

__all__ = ["EngineStatistics", "StatisticsRecorder"]


@dataclass(slots=True, kw_only=True)
class EngineStatistics:
    """Counters of an engine; the difference of two is what happened between them.

    Attributes:
        requests: Items or pairs that were asked for.
        duplicates: Those among them that were equal to another of their call.
        tokens_real: Tokens of all prompts, as if each were computed alone; duplicates are not counted.
        tokens_computed: Tokens that passed through the language model, padding included.
        prefix_tokens_computed: Those among them that belonged to shared beginnings.
        prefix_tokens_reused: Tokens that were not computed because a beginning was known.
        vision_encodes: Images and videos that passed through the vision tower.
        vision_cache_hits: Images and videos whose features were known.
        frame_pairs_repeated: Pairs of frames of videos that were equal to an earlier one, and not encoded again.
        batches: Forward passes of the language model, those of shared beginnings not counted.
        splits: Batches that were halved because the memory did not suffice.
        seconds_reading: Spent reading, decoding, resizing and tokenising.
        seconds_loading: Spent decoding a second time what had been released.
        seconds_vision: Spent in the vision tower, copies to the device included.
        seconds_language: Spent in the language model.
        seconds_waiting: Spent waiting for the forward passes of others.
    """

    requests: int = 0
    duplicates: int = 0
    tokens_real: int = 0
    tokens_computed: int = 0
    prefix_tokens_computed: int = 0
    prefix_tokens_reused: int = 0
    vision_encodes: int = 0
    vision_cache_hits: int = 0
    frame_pairs_repeated: int = 0
    batches: int = 0
    splits: int = 0
    seconds_reading: float = 0.0
    seconds_loading: float = 0.0
    seconds_vision: float = 0.0
    seconds_language: float = 0.0
    seconds_waiting: float = 0.0

    def __sub__(self, earlier: EngineStatistics) -> EngineStatistics:
        names = [field.name for field in fields(self)]
        return EngineStatistics(**{name: getattr(self, name) - getattr(earlier, name) for name in names})


class StatisticsRecorder:
    """Adds to statistics from several threads."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._statistics = EngineStatistics()

    def read(self) -> EngineStatistics:
        """Returns a copy of the counters."""
        with self._lock:
            return replace(self._statistics)

    def add(self, **amounts: float) -> None:
        """Adds to counters by their names."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self._statistics, name, getattr(self._statistics, name) + amount)

    @contextmanager
    def time(self, name: str) -> Generator[None]:
        """Adds the seconds that the block takes to a counter."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(**{name: time.perf_counter() - started})
