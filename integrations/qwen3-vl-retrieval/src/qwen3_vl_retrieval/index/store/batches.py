"""What a store enters in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from qwen3_vl_retrieval.index.store.records import Attempt, FileState, Place, Record

__all__ = ["Batch"]


@dataclass(slots=True, kw_only=True)
class Batch:
    """What one transaction enters.

    Attributes:
        records: New units.
        vectors: Their full vectors.
        known: Units that were in the store when they were found, or retired; by id.
        places: Where units were found, new ones and known ones.
        finished: Files of which nothing is missing any more; places in other versions of them are struck out.
        lost: Files of which nothing holds any more.
        failures: What could not be read, by source: a `StoredFailure` for each part, or the values of one.
        attempts: Readings that failed and would fail again.
    """

    records: list[Record] = field(default_factory=list[Record])
    vectors: list[Float[np.ndarray, " dimensions"]] = field(default_factory=list[Any])
    known: dict[str, Record] = field(default_factory=dict[str, Record])
    places: list[Place] = field(default_factory=list[Place])
    finished: list[FileState] = field(default_factory=list[FileState])
    lost: list[str] = field(default_factory=list[str])
    failures: dict[str, Sequence[tuple[Any, ...]]] = field(default_factory=dict[str, Sequence[tuple[Any, ...]]])
    attempts: list[Attempt] = field(default_factory=list[Attempt])
