"""How far a run is, from its files alone: it may be at work elsewhere, or have been killed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from qwen3_vl_retrieval.errors import StoreError, quote
from qwen3_vl_retrieval.jobs.failures import NamedFailure
from qwen3_vl_retrieval.jobs.job import RESULT
from qwen3_vl_retrieval.jobs.parts import PartAccount, list_part_names, name_part, read_accounts
from qwen3_vl_retrieval.jobs.plan import Plan, find_plan
from qwen3_vl_retrieval.jobs.run_folder import RunFolder
from qwen3_vl_retrieval.jobs.verification import read_failures

__all__ = ["RunState", "RunStatus", "read_status"]

RunState: TypeAlias = Literal["running", "interrupted", "incomplete", "complete", "unfinished"]
"""What a run is doing. `interrupted`: it ended in the middle; `incomplete`: it ended with something missing;
`unfinished`: it is running or was interrupted, and an object store does not tell which."""

_LEAST_SECONDS = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """How far a run is.

    Attributes:
        location: Where it is.
        source: What is embedded.
        state: What it is doing.
        shards_done: Shards that are finished.
        shards_total: Shards there are.
        files_done: Files of the finished ones.
        files_total: Files there are.
        units: Units of the finished ones.
        units_per_second: Units that were embedded in a second, since the last call began.
        seconds_left: Estimated from the units that are expected; `None` where nothing was finished since.
        device_seconds: How long devices were occupied with all finished shards.
        failures: What could not be read or embedded so far.
        obsolete_parts: Parts that count no longer.
    """

    location: str
    source: str
    state: RunState
    shards_done: int
    shards_total: int
    files_done: int
    files_total: int
    units: int
    units_per_second: float
    seconds_left: float | None
    device_seconds: float
    failures: Sequence[NamedFailure]
    obsolete_parts: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Returns the status as JSON has it."""
        return asdict(self)


def read_status(run: str | Path, *, storage_options: Mapping[str, Any] | None = None) -> RunStatus:
    """Returns how far a run is.

    Args:
        run: The folder of the run, or its URL.
        storage_options: Options of the file system of a URL.

    Raises:
        StoreError: There is no run, or it cannot be read.
    """
    folder = RunFolder(run, storage_options)
    plan = find_plan(folder)
    if plan is None:
        raise StoreError(f"there is no run in {quote(folder.location)}, or it is still being listed; give its folder")
    names = list_part_names(folder)
    accounts = read_accounts(folder, [shard for shard in plan.shards if shard in names["part"]])
    is_held = folder.is_held()
    failures = [
        failure
        for shard, account in accounts.items()
        if shard in names["failures"]
        for failure in read_failures(folder, account)
    ]
    status = RunStatus(
        location=folder.location,
        source=plan.source,
        state=_find_state(folder, plan, len(accounts), is_held),
        shards_done=len(accounts),
        shards_total=len(plan.shards),
        files_done=sum(account.files for account in accounts.values()),
        files_total=plan.files,
        units=sum(account.units for account in accounts.values()),
        units_per_second=0.0,
        seconds_left=None,
        device_seconds=sum(account.seconds for account in accounts.values()),
        failures=failures,
        obsolete_parts=sorted(name_part("part", shard) for shard in names["part"] - plan.shards.keys()),
    )
    return _estimate(status, plan, accounts, time.time() if is_held or is_held is None else None)


def _find_state(folder: RunFolder, plan: Plan, finished: int, is_held: bool | None) -> RunState:
    if is_held:
        return "running"
    if folder.has(RESULT):
        result = json.loads(folder.read(RESULT))
        is_of_plan = result.get("plan") == plan.manifest
        if is_of_plan and finished == len(plan.shards) and result.get("is_complete"):
            return "complete"
        if is_of_plan and result.get("ended_at", 0.0) >= plan.started_at:
            return "incomplete"
    return "unfinished" if is_held is None else "interrupted"


def _estimate(status: RunStatus, plan: Plan, accounts: Mapping[str, PartAccount], now: float | None) -> RunStatus:
    """The status with its rate; `now` is the end of what was worked, or `None` if that was with the last shard."""
    fresh = [account for account in accounts.values() if account.finished_at >= plan.started_at]
    if not fresh:
        return status
    is_over = status.shards_done == status.shards_total or now is None
    end = max(account.finished_at for account in fresh) if is_over or now is None else now
    seconds = max(end - plan.started_at, _LEAST_SECONDS)
    embedded = sum(account.units - account.reused_units for account in fresh)
    expected = sum(plan.shards[account.shard] for account in fresh)
    left = sum(units for shard, units in plan.shards.items() if shard not in accounts)
    return replace(
        status,
        units_per_second=embedded / seconds,
        seconds_left=seconds / expected * left if expected else None,
    )
