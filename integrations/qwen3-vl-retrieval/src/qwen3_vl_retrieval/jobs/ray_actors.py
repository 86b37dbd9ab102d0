"""Shards embedded by actors of a Ray cluster, which places them on its nodes and replaces those that are lost."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from qwen3_vl_retrieval.errors import ModelError, RemoteError, RetrievalError, explain
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.jobs.executor import STALL_SECONDS, Executor, LoadEmbedder, check_stall_seconds
from qwen3_vl_retrieval.jobs.in_process import run_task
from qwen3_vl_retrieval.jobs.shard_embedder import ShardEmbedder
from qwen3_vl_retrieval.jobs.tasks import ShardOutcome, ShardTask, WorkSettings
from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["RayExecutor"]

_MOST_STARTS = 5
"""How many times in a row actors may fail before they are ready; then it is not chance."""


_CALLS_PER_ACTOR = 2
"""At the same time: a shard, and whether there is life."""

_SIGN_SECONDS = 10.0
"""For an actor to answer whether it lives."""

_LOOKS_PER_STALL = 4
"""How often actors are asked for signs of life in the time after which they hang."""


class ShardActor:
    """Holds a model on a node of the cluster."""

    def __init__(self, load_embedder: LoadEmbedder, number: int, settings: WorkSettings) -> None:
        self._error: RetrievalError | None = None
        self._shards: ShardEmbedder | None = None
        self._signs_of_life = 0
        try:
            self._shards = ShardEmbedder(load_embedder(number), settings)
        except RetrievalError as error:
            # Kept until it is asked for: what a constructor raises, Ray wraps in errors of its own.
            self._error = error
        except ValueError as error:
            self._error = ModelError(str(error))

    def find_fingerprint(self) -> Fingerprint | RetrievalError:
        """Returns the identity of the vectors, or why there is no model."""
        return self._loaded.fingerprint if self._error is None else self._error

    def embed(self, task: ShardTask) -> ShardOutcome:
        """Returns what becomes of a task."""
        return run_task(self._loaded, task, on_sign_of_life=self._show_life)

    def count_signs_of_life(self) -> int:
        """Returns a number that grows as files are read and units embedded; answered beside `embed`."""
        return self._signs_of_life

    def _show_life(self) -> None:
        self._signs_of_life += 1

    @property
    def _loaded(self) -> ShardEmbedder:
        if self._shards is None:
            raise ModelError("there is no model") from self._error
        return self._shards


@dataclass(slots=True, kw_only=True)
class _Asked:
    """What an actor was asked last; `None` is whether it is ready."""

    actor: Any
    number: int
    task: ShardTask | None
    signs_of_life: int = 0
    last_sign: float = field(default_factory=monotonic)


class RayExecutor(Executor):
    """Starts actors that hold the model, one a GPU, and gives them shards.

    Actors that the cluster has no room for yet wait until it has: a cluster that scales by demand grows to them. Source
    and run must be reachable from all nodes: an object store, or a file system that they share.

    Args:
        load_embedder: Loads the model of an actor by its number, in the actor.
        workers: Number of actors.
        address: Address of the cluster: `"auto"`, `"host:6379"`; `None` starts one on this machine, which ends with
            `close`.
        gpus_per_worker: GPUs of an actor; `None` is one if the cluster has any now, else none.
        cpus_per_worker: Cores of an actor, for reading.
        stall_seconds: An actor that neither reads a file nor embeds anything for so long hangs: it is ended and
            replaced. `None` waits for ever. One that waits for room in the cluster does not hang.

    Raises:
        ValueError: There are no workers, or the time is not positive.
    """

    def __init__(
        self,
        load_embedder: LoadEmbedder,
        *,
        workers: int,
        address: str | None = None,
        gpus_per_worker: float | None = None,
        cpus_per_worker: float = 1,
        stall_seconds: float | None = STALL_SECONDS,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers={workers} must be at least 1")
        check_stall_seconds(stall_seconds)
        self._load_embedder = load_embedder
        self._count = workers
        self._address = address
        self._gpus = gpus_per_worker
        self._cpus = cpus_per_worker
        self._stall_seconds = stall_seconds
        self._ray: Any = None
        self._is_ours = False
        self._create: Any = None
        self._settings: WorkSettings | None = None
        self._fingerprint: Fingerprint | None = None
        self._asked: dict[Any, _Asked] = {}
        self._idle: list[tuple[Any, int]] = []
        self._failed_starts = 0
        self._last_look = monotonic()

    def start(self, settings: WorkSettings) -> Fingerprint:
        """Starts the actors, and returns the identity of their vectors once the first of them has loaded its model."""
        if not settings.run.is_shared:
            raise ValueError(
                f"{settings.run.location!r} is in the memory of this process, where actors cannot write; give an "
                "object store, or a folder that all nodes share"
            )
        self._settings = settings
        # What the driver was started by is no matter of the nodes: the package is installed there.
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        self._ray = import_extra("ray", purpose="clusters", extra="ray")
        if not self._ray.is_initialized():
            self._connect()
        gpus = self._gpus
        if gpus is None:
            gpus = 1 if self._ray.cluster_resources().get("GPU") else 0
        # Lost nodes are the cluster's to replace, failed shards are not: they are tried again by whoever asks.
        self._create = self._ray.remote(
            num_gpus=gpus, num_cpus=self._cpus, max_restarts=-1, max_task_retries=0, max_concurrency=_CALLS_PER_ACTOR
        )(ShardActor)
        for number in range(self._count):
            self._start_actor(number)
        while self._fingerprint is None:
            self.wait()
        return self._fingerprint

    @property
    def device_count(self) -> int:
        """The number of actors."""
        return self._count

    def has_room(self) -> bool:
        """Returns whether an actor waits for a shard."""
        return bool(self._idle)

    def submit(self, task: ShardTask) -> None:
        """Gives a shard to an actor that waits."""
        actor, number = self._idle.pop(0)
        self._asked[actor.embed.remote(task)] = _Asked(actor=actor, number=number, task=task)

    def wait(self) -> ShardOutcome | None:
        """Returns what became of a task once one has ended; `None` when an actor is ready or was replaced."""
        patience_seconds = None
        if self._stall_seconds is not None:
            patience_seconds = max(0.0, self._last_look + self._stall_seconds / _LOOKS_PER_STALL - monotonic())
        done, _ = self._ray.wait(list(self._asked), num_returns=1, timeout=patience_seconds)
        if not done:
            return self._end_stalled()
        (reference,) = done
        asked = self._asked.pop(reference)
        try:
            answer: object = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return self._replace(asked, f"{type(error).__name__}: {explain(error)}")
        match answer:
            case Fingerprint():
                self._greet(asked, answer)
            case RetrievalError():
                self._refuse(asked, answer)
            case ShardOutcome():
                if answer.account is None:
                    # A device that has failed once fails again: the actor begins anew.
                    self._ray.kill(asked.actor)
                    self._start_actor(asked.number)
                else:
                    self._idle.append((asked.actor, asked.number))
                return answer
            case _:
                raise TypeError(f"an actor answered {type(answer).__name__}")
        return None

    def close(self) -> None:
        """Ends the actors, and the cluster if it was started here."""
        if self._ray is None or not self._ray.is_initialized():
            return
        for actor in [*(asked.actor for asked in self._asked.values()), *(actor for actor, _ in self._idle)]:
            self._ray.kill(actor)
        self._asked.clear()
        self._idle.clear()
        if self._is_ours:
            self._ray.shutdown()

    def _connect(self) -> None:
        # Unless somebody wants it, nothing is told to others.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options: dict[str, Any] = {"log_to_driver": False}
        if self._address is None:
            options["include_dashboard"] = False
        try:
            self._ray.init(address=self._address, **options)
        except Exception as error:
            # A node that does not start is a plain `Exception` of Ray's.
            raise RemoteError(
                f"the Ray cluster {'of this machine' if self._address is None else self._address!r} cannot be reached: "
                f"{explain(error)}; give host:port of its head"
            ) from error
        self._is_ours = True

    def _start_actor(self, number: int) -> None:
        actor = self._create.remote(self._load_embedder, number, self._settings)
        self._asked[actor.find_fingerprint.remote()] = _Asked(actor=actor, number=number, task=None)

    def _greet(self, asked: _Asked, fingerprint: Fingerprint) -> None:
        if self._fingerprint is None:
            self._fingerprint = fingerprint
        self._fingerprint.require_match(fingerprint)
        self._failed_starts = 0
        self._idle.append((asked.actor, asked.number))

    def _refuse(self, asked: _Asked, error: RetrievalError) -> None:
        self._ray.kill(asked.actor)
        if not isinstance(error, RemoteError) or not (self._asked or self._idle):
            raise error

    def _end_stalled(self) -> ShardOutcome | None:
        """Asks actors at work for signs of life, and replaces one that has shown none for too long."""
        now = self._last_look = monotonic()
        at_work = {reference: asked for reference, asked in self._asked.items() if asked.task is not None}
        signs = {asked.actor.count_signs_of_life.remote(): asked for asked in at_work.values()}
        for sign in self._find_answers(list(signs)):
            asked = signs[sign]
            try:
                count = self._ray.get(sign)
            except self._ray.exceptions.RayError:
                # Its end is noticed by the task that it was given.
                continue
            if count != asked.signs_of_life:
                asked.signs_of_life, asked.last_sign = count, now
        for reference, asked in at_work.items():
            silent_seconds = now - asked.last_sign
            if self._stall_seconds is not None and silent_seconds >= self._stall_seconds:
                del self._asked[reference]
                return self._replace(asked, f"it did nothing for {silent_seconds:,.0f} s")
        return None

    def _find_answers(self, signs: list[Any]) -> list[Any]:
        """Those of some requests that are answered soon."""
        if not signs:
            return []
        answered, _ = self._ray.wait(signs, num_returns=len(signs), timeout=_SIGN_SECONDS)
        return answered

    def _replace(self, asked: _Asked, said: str) -> ShardOutcome | None:
        if asked.task is None:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_STARTS:
                raise ModelError(
                    f"{self._failed_starts} actors in a row ended before they were ready, the last by {said}; see "
                    "whether the package is installed on all nodes, and the model fits into their memory"
                )
        # It may come back by itself; another one does for sure.
        self._ray.kill(asked.actor)
        self._start_actor(asked.number)
        return None if asked.task is None else ShardOutcome(task=asked.task, crash=f"its actor ended ({said})")
