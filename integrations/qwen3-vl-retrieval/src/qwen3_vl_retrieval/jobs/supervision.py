"""Shards given to workers until each is finished, or it is known what is wrong with it.

A shard whose worker ends is given to another. If that one ends, too, its contents are tried in halves until those are
found that end a worker by themselves, twice: they are named, and the rest of the shard is embedded without them. Chance
(a machine that kills what needs memory, a node that is lost) never looks like that for long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from qwen3_vl_retrieval.errors import RemoteError, RetrievalError
from qwen3_vl_retrieval.jobs.executor import Executor
from qwen3_vl_retrieval.jobs.shards import Shard
from qwen3_vl_retrieval.jobs.tasks import ShardOutcome, ShardTask

__all__ = ["Supervisor"]

_MOST_CRASHES = 2
"""Workers that a shard may end before its contents are tried in halves, and a content before it is blamed."""

_MOST_LAST_CRASHES = 3
"""Workers that what is left of a shard may end before it is given up."""

_MOST_ERRORS = 3
"""Engines elsewhere that may fail at a shard before it is given up."""


@dataclass(slots=True, kw_only=True)
class _Case:
    """What is known of a shard that ended workers, or met errors."""

    task: ShardTask
    crashes: int = 0
    last_crashes: int = 0
    errors: int = 0
    trials: int = 0
    blamed: dict[str, str] = field(default_factory=dict[str, str])
    alone: dict[str, int] = field(default_factory=dict[str, int])
    is_tried: bool = False


class Supervisor:
    """Keeps an executor busy, and decides what is tried again.

    Args:
        executor: Started.
        on_trouble: Is told in a sentence what was tried again or given up.
    """

    def __init__(self, executor: Executor, on_trouble: Callable[[str], None]) -> None:
        self._executor = executor
        self._on_trouble = on_trouble
        self._waiting: deque[ShardTask] = deque()
        self._cases: dict[str, _Case] = {}
        self._in_flight = 0

    def run(self, tasks: Iterable[ShardTask]) -> Iterator[ShardOutcome]:
        """Yields the outcome of each task: its account, or the last thing that went wrong with it.

        Raises:
            StoreError: The run cannot be written.
            ModelError: Workers do not start.
            RemoteError: No engine elsewhere is left.
        """
        remaining = iter(tasks)
        is_exhausted = False
        while True:
            while self._executor.has_room():
                task = self._waiting.popleft() if self._waiting else next(remaining, None)
                if task is None:
                    is_exhausted = True
                    break
                self._executor.submit(task)
                self._in_flight += 1
            if is_exhausted and not self._in_flight and not self._waiting:
                return
            outcome = self._executor.wait()
            if outcome is not None:
                self._in_flight -= 1
                final = self._judge(outcome)
                if final is not None:
                    yield final

    def _judge(self, outcome: ShardOutcome) -> ShardOutcome | None:
        """The outcome, if nothing more is to be tried."""
        task = outcome.task
        if outcome.error is not None:
            return self._take_error(task, outcome.error)
        if task.is_trial:
            return self._take_trial(outcome)
        if outcome.crash is None:
            self._cases.pop(task.shard.hash, None)
            return outcome
        return self._take_crash(outcome, outcome.crash)

    def _take_error(self, task: ShardTask, error: RetrievalError) -> ShardOutcome | None:
        if not isinstance(error, RemoteError):
            raise error
        case = self._find_case(task)
        case.errors += 1
        if case.errors >= _MOST_ERRORS:
            self._on_trouble(f"the shard {task.shard.hash} is given up after {case.errors} engines failed: {error}")
            return self._give_up(task, ShardOutcome(task=case.task, error=error))
        self._on_trouble(f"the shard {task.shard.hash} is tried again: {error}")
        self._waiting.append(task)
        return None

    def _take_crash(self, outcome: ShardOutcome, crash: str) -> ShardOutcome | None:
        task = outcome.task
        case = self._find_case(task)
        if case.is_tried:
            case.last_crashes += 1
            if case.last_crashes >= _MOST_LAST_CRASHES:
                self._on_trouble(f"the shard {task.shard.hash} is given up: {crash}, and no content does that alone")
                return self._give_up(task, outcome)
            self._waiting.append(task)
            return None
        case.crashes += 1
        self._on_trouble(f"the shard {task.shard.hash} is tried again: {crash}")
        if case.crashes < _MOST_CRASHES:
            self._waiting.append(task)
        else:
            self._try_halves(case, task)
        return None

    def _take_trial(self, outcome: ShardOutcome) -> ShardOutcome | None:
        task = outcome.task
        case = self._cases.get(task.shard.hash)
        if case is None:
            # The shard was given up while this was tried.
            return None
        case.trials -= 1
        if outcome.crash is not None:
            if len(task.shard.entries) > 1:
                self._try_halves(case, task)
            else:
                self._blame(case, task, outcome.crash)
        if not case.trials:
            case.is_tried = True
            self._waiting.append(replace(case.task, blamed=dict(case.blamed)))
        return None

    def _blame(self, case: _Case, task: ShardTask, crash: str) -> None:
        (entry,) = task.shard.entries
        case.alone[entry.identity] = case.alone.get(entry.identity, 0) + 1
        if case.alone[entry.identity] < _MOST_CRASHES:
            self._add_trial(case, task)
            return
        self._on_trouble(f"{entry.sources[0]} is left out: {crash}")
        case.blamed[entry.identity] = (
            f"it ended {_MOST_CRASHES} workers by itself, and is left out: {crash}; see what is wrong with it, and try "
            "again with --retry-failed"
        )

    def _try_halves(self, case: _Case, task: ShardTask) -> None:
        entries = task.entries
        middle = (len(entries) + 1) // 2
        for half in (entries[:middle], entries[middle:]):
            if half:
                # Under the name of the whole, by which the case is found.
                shard = Shard(hash=task.shard.hash, entries=half)
                self._add_trial(case, ShardTask(shard=shard, reuse=task.reuse, is_trial=True))

    def _add_trial(self, case: _Case, task: ShardTask) -> None:
        case.trials += 1
        self._waiting.append(task)

    def _find_case(self, task: ShardTask) -> _Case:
        return self._cases.setdefault(task.shard.hash, _Case(task=task))

    def _give_up(self, task: ShardTask, outcome: ShardOutcome) -> ShardOutcome:
        del self._cases[task.shard.hash]
        return outcome
