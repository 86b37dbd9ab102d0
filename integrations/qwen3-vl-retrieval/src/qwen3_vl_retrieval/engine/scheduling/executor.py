"""Runs requests through the model: token-budget batches, split when the memory does not suffice."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32
from torch import Tensor

from qwen3_vl_retrieval.bounded_cache import BoundedCache
from qwen3_vl_retrieval.engine.language.packed_model import PackedLanguageModel
from qwen3_vl_retrieval.engine.language.padded_model import PaddedLanguageModel
from qwen3_vl_retrieval.engine.requests.builder import PrefixKey, Request
from qwen3_vl_retrieval.engine.requests.media_reader import PreparedMedia
from qwen3_vl_retrieval.engine.requests.outcome import Outcome
from qwen3_vl_retrieval.engine.scheduling.batching import build_budget, pack_batches, plan_batches, split_batch
from qwen3_vl_retrieval.engine.scheduling.priority_lock import PriorityLock
from qwen3_vl_retrieval.engine.states import PackedRow, PrefixStates, VisionFeatures
from qwen3_vl_retrieval.engine.statistics import StatisticsRecorder
from qwen3_vl_retrieval.engine.vision.encoder import Pixels, VisionEncoder
from qwen3_vl_retrieval.engine.vision.feature_cache import FeatureCache
from qwen3_vl_retrieval.engine.vision.patches import PatchLayout
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.prompting.positions import compute_positions
from qwen3_vl_retrieval.prompting.prompts import Role

__all__ = [
    "Executor",
    "Job",
    "PixelLoader",
    "build_row",
    "choose_language_model",
    "merge_equal",
    "plan_prefixes",
]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A request to compute, and whom its result is for.

    Attributes:
        request: The request to compute.
        positions: Positions of all requests that are equal to it.
        prefix: The beginning that is computed apart; `None` if it is not.
    """

    request: Request
    positions: tuple[int, ...]
    prefix: PrefixKey | None = None

    @property
    def prefix_length(self) -> int:
        """Tokens that are computed apart."""
        return 0 if self.prefix is None or self.request.prefix is None else self.request.prefix.length

    @property
    def own_length(self) -> int:
        """Tokens that pass through the model with this job."""
        return len(self.request) - self.prefix_length


def merge_equal(requests: Sequence[Request]) -> list[Job]:
    """Returns one job for all requests that have the same tokens and the same pixels, in the order of the first."""
    positions: dict[PrefixKey, list[int]] = {}
    for position, request in enumerate(requests):
        key = (request.tokens.token_ids.tobytes(), tuple(media.key for media in request.media))
        positions.setdefault(key, []).append(position)
    return [Job(requests[places[0]], tuple(places)) for places in positions.values()]


def plan_prefixes(jobs: Sequence[Job], *, known: Container[PrefixKey]) -> list[Job]:
    """Returns the jobs with the beginnings that are worth computing apart: known, lasting, or shared by several."""
    keys = [_name_prefix(job.request) for job in jobs]
    counts = Counter(key for key in keys if key is not None)
    planned: list[Job] = []
    for job, key in zip(jobs, keys, strict=True):
        prefix = job.request.prefix
        is_worth_it = prefix is not None and key is not None and (prefix.is_lasting or counts[key] > 1 or key in known)
        planned.append(replace(job, prefix=key) if is_worth_it else job)
    return planned


def build_row(
    job: Job, features: Mapping[bytes, VisionFeatures], *, prefix: int | None, is_prefix: bool = False
) -> PackedRow:
    """Returns the tokens of a job that pass through the model: those behind its prefix, or the prefix itself.

    Rotary positions are those of the whole prompt: an image in the prefix moves all that follow.
    """
    request = job.request
    at, media_at = (0, 0)
    if job.prefix is not None and request.prefix is not None:
        at, media_at = request.prefix.length, request.prefix.media_count
    chosen = slice(0, at) if is_prefix else slice(at, None)
    media = request.media[:media_at] if is_prefix else request.media[media_at:]
    return PackedRow(
        token_ids=request.tokens.token_ids[chosen].astype(np.int64),
        positions=compute_positions(request.tokens)[:, chosen].astype(np.int64),
        visual_places=np.flatnonzero(request.tokens.roles[chosen] == Role.VISUAL),
        features=tuple(features[item.key] for item in media),
        prefix=prefix,
    )


def _name_prefix(request: Request) -> PrefixKey | None:
    if request.prefix is None:
        return None
    tokens = request.tokens.token_ids[: request.prefix.length].tobytes()
    return tokens, tuple(media.key for media in request.media[: request.prefix.media_count])


_PREFIX_BYTES = 256 * 2**20
"""Keys and values of shared beginnings: at the 2B shape 2,300 tokens, some forty instructions or two images."""


class Executor:
    """One model on one device. Any number of threads may call `run`; forward passes take turns, short work first.

    Args:
        model: The `Qwen3VLModel`.
        layout: Geometry of the patches.
        features: Where visual features stay between runs.
        statistics: What is counted goes there.
        max_batch_tokens: Tokens of a forward pass at most; `None` chooses by device.
    """

    def __init__(
        self,
        model: Any,
        layout: PatchLayout,
        *,
        features: FeatureCache,
        statistics: StatisticsRecorder,
        max_batch_tokens: int | None = None,
    ) -> None:
        self._model = model
        self._language = choose_language_model(model)
        self._vision = VisionEncoder(model.visual, layout, features, statistics)
        self._features = features
        self._prefixes = BoundedCache[PrefixKey, PrefixStates](_PREFIX_BYTES, measure=_count_bytes)
        self._statistics = statistics
        self._lock = PriorityLock()
        self._budget = build_budget(model, max_batch_tokens)

    @property
    def max_batch_tokens(self) -> int:
        """Tokens in a batch at most."""
        return self._budget.limit

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self._model.device

    @property
    def hidden_size(self) -> int:
        """Length of a hidden state."""
        return int(self._model.config.text_config.hidden_size)

    def run(self, requests: Sequence[Request], *, on_progress: Callable[[int], None] | None = None) -> Outcome:
        """Returns the state of each request's last token, in the order of `requests`; equal ones are computed once.

        Args:
            requests: Rows to compute.
            on_progress: Called with the number of requests that a batch finished.

        Raises:
            torch.OutOfMemoryError: A single request does not fit the memory.
        """
        outcome = Outcome(np.zeros((len(requests), self.hidden_size), dtype=np.float32))
        jobs = merge_equal(requests)
        self._statistics.add(requests=len(requests), duplicates=len(requests) - len(jobs))
        self._statistics.add(tokens_real=sum(len(job.request) for job in jobs))
        if self._language.shares_prefixes:
            jobs = plan_prefixes(jobs, known=self._prefixes)
        run = _Run(jobs)
        batches = deque(self._plan(jobs))
        with PixelLoader() as loader:
            while batches:
                places = batches.popleft()
                batch = [jobs[place] for place in places]
                readable, pixels = self._load_pixels(batch, run, loader, outcome)
                if batches:
                    loader.start(self._list_unknown((jobs[place] for place in batches[0]), run, pixels))
                if readable:
                    states = self._compute_if_it_fits(readable, pixels, run)
                    if states is None:
                        batches.extendleft(reversed(split_batch(places)))
                        self._lower_budget(sum(job.own_length for job in batch) // 2)
                        continue
                    for job, state in zip(readable, states.numpy(), strict=True):
                        outcome.values[list(job.positions)] = state
                run.finish(batch)
                if on_progress is not None:
                    on_progress(sum(len(job.positions) for job in batch))
        return outcome

    def encode_media(self, requests: Sequence[Request]) -> dict[int, InputError]:
        """Fills the cache with the features of the requests' images and videos; returns those that cannot be read."""
        outcome = Outcome(np.zeros((len(requests), 1), dtype=np.float32))
        jobs = merge_equal(requests)
        batches = deque(plan_batches([len(job.request) for job in jobs], max_batch_tokens=self.max_batch_tokens))
        while batches:
            places = batches.popleft()
            run = _Run(())
            with PixelLoader() as loader:
                readable, pixels = self._load_pixels([jobs[place] for place in places], run, loader, outcome)
            if not self._encode_if_it_fits(readable, pixels, run):
                batches.extendleft(reversed(split_batch(places)))
                self._lower_budget(sum(len(job.request) for job in readable) // 2)
        return outcome.failures

    def _plan(self, jobs: Sequence[Job]) -> list[list[int]]:
        lengths = [job.own_length for job in jobs]
        if not self._language.shares_prefixes:
            return plan_batches(lengths, max_batch_tokens=self.max_batch_tokens)
        numbers: dict[PrefixKey | None, int] = {}
        families = [numbers.setdefault(job.prefix, len(numbers)) for job in jobs]
        return pack_batches(lengths, families, max_batch_tokens=self.max_batch_tokens)

    def _list_unknown(self, batch: Iterable[Job], run: _Run, pixels: Pixels) -> list[PreparedMedia]:
        """Media that the run and the cache know nothing of, and that the batch before does not compute either."""
        return [
            media
            for job in batch
            for media in job.request.media
            if media.key not in pixels and media.key not in run.features and media.key not in self._features
        ]

    def _load_pixels(
        self, batch: Sequence[Job], run: _Run, loader: PixelLoader, outcome: Outcome
    ) -> tuple[list[Job], Pixels]:
        """The jobs whose media can still be read, and the pixels whose features are not known; failures are noted."""
        readable: list[Job] = []
        pixels: Pixels = {}
        with self._statistics.time("seconds_loading"):
            loader.start(self._list_unknown(batch, run, pixels))
            for job in batch:
                try:
                    for media in job.request.media:
                        if media.key not in pixels and not run.find_features(media.key, self._features):
                            pixels[media.key] = loader.load(media)
                    readable.append(job)
                except InputError as error:
                    outcome.failures.update(dict.fromkeys(job.positions, error))
        return readable, pixels

    def _compute_if_it_fits(
        self, jobs: Sequence[Job], pixels: Pixels, run: _Run
    ) -> Float32[Tensor, "batch hidden"] | None:
        """What `_compute` returns, or `None` if several rows did not fit the memory.

        A function of its own, so that the error and the tensors that its traceback holds are gone when it returns.
        """
        try:
            asked = time.perf_counter()
            with self._lock.take(run.remaining_tokens):
                self._statistics.add(seconds_waiting=time.perf_counter() - asked)
                with self._budget.watch(sum(job.own_length for job in jobs)):
                    return self._compute(jobs, pixels, run)
        except RuntimeError as error:
            if len(jobs) == 1 or not _is_out_of_memory(error):
                raise
            return None

    def _encode_if_it_fits(self, jobs: Sequence[Job], pixels: Pixels, run: _Run) -> bool:
        """Encodes the media of jobs; whether they fitted the memory. One alone that does not is an error."""
        try:
            tokens = sum(len(job.request) for job in jobs)
            with self._lock.take(tokens):
                self._encode([media for job in jobs for media in job.request.media], pixels, run)
        except RuntimeError as error:
            if len(jobs) == 1 or not _is_out_of_memory(error):
                raise
            return False
        return True

    def _compute(self, jobs: Sequence[Job], pixels: Pixels, run: _Run) -> Float32[Tensor, "batch hidden"]:
        self._encode([media for job in jobs for media in job.request.media], pixels, run)
        with self._statistics.time("seconds_language"):
            numbers: dict[PrefixKey, int] = {}
            prefixes: list[PrefixStates] = []
            for job in jobs:
                if job.prefix is not None and job.prefix not in numbers:
                    numbers[job.prefix] = len(prefixes)
                    prefixes.append(self._compute_prefix(job.prefix, job, run))
            rows = [
                build_row(job, run.features, prefix=None if job.prefix is None else numbers[job.prefix]) for job in jobs
            ]
            states = self._language.compute_last(rows, prefixes).to("cpu", torch.float32)
        self._statistics.add(batches=1, tokens_computed=self._language.count_tokens([len(row) for row in rows]))
        reused = sum(len(job.request) - job.own_length for job in jobs)
        self._statistics.add(prefix_tokens_reused=reused)
        return states

    def _compute_prefix(self, key: PrefixKey, job: Job, run: _Run) -> PrefixStates:
        states = run.prefixes.get(key) or self._prefixes.find(key)
        if states is None:
            states = self._language.compute_prefix(build_row(job, run.features, prefix=None, is_prefix=True))
            self._statistics.add(prefix_tokens_computed=len(states), tokens_computed=len(states))
            self._prefixes.keep(key, states)
        run.prefixes[key] = states
        return states

    def _encode(self, media: Iterable[Any], pixels: Pixels, run: _Run) -> None:
        with self._statistics.time("seconds_vision"):
            wanted = {item.key: item for item in media}
            missing = [item for item in wanted.values() if item.key not in run.features]
            self._statistics.add(vision_encodes=len(missing), vision_cache_hits=len(wanted) - len(missing))
            if missing:
                run.features.update(self._vision.encode(missing, pixels))

    def _lower_budget(self, tokens: int) -> None:
        """Keeps what was learnt for the batches of later calls; those of this call are split as they come."""
        self._statistics.add(splits=1)
        self._budget.lower(tokens)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


class PixelLoader:
    """Loads pixels ahead of their batch; a context manager, which waits for nothing that is not needed any more."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._started: dict[bytes, Future[npt.NDArray[np.uint8]]] = {}

    def start(self, media: Iterable[PreparedMedia]) -> None:
        """Begins to read those whose pixels are not held."""
        for item in media:
            if not item.held_bytes and item.key not in self._started:
                if self._pool is None:
                    threads = min(8, os.cpu_count() or 1)
                    self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="read-media-again")
                self._started[item.key] = self._pool.submit(item.load)

    def load(self, media: PreparedMedia) -> npt.NDArray[np.uint8]:
        """Returns the pixels, read before or now.

        Raises:
            MediaError: If the file can no longer be read, or has changed.
        """
        started = self._started.pop(media.key, None)
        return media.load() if started is None else started.result()

    def __enter__(self) -> PixelLoader:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


class _Run:
    """What one run knows so far, as long as a later batch of it needs it."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.remaining_tokens = sum(job.own_length for job in jobs)
        self.features: dict[bytes, VisionFeatures] = {}
        self.prefixes: dict[PrefixKey, PrefixStates] = {}
        self._media = Counter(media.key for job in jobs for media in job.request.media)
        self._prefixes = Counter(job.prefix for job in jobs if job.prefix is not None)

    def find_features(self, key: bytes, cache: FeatureCache) -> bool:
        """Whether features are known; those in the cache are held from now on, so that they cannot go."""
        if key not in self.features:
            found = cache.find(key)
            if found is None:
                return False
            self.features[key] = found
        return True

    def finish(self, batch: Sequence[Job]) -> None:
        """Lets go what only these jobs needed."""
        for job in batch:
            self.remaining_tokens -= job.own_length
            for media in job.request.media:
                self._media[media.key] -= 1
                if not self._media[media.key]:
                    self.features.pop(media.key, None)
            if job.prefix is not None:
                self._prefixes[job.prefix] -= 1
                if not self._prefixes[job.prefix]:
                    self.prefixes.pop(job.prefix, None)


def choose_language_model(model: Any) -> PackedLanguageModel | PaddedLanguageModel:
    """Returns the way to compute a `Qwen3VLModel`: packed where PyTorch's attention is used on one device."""
    language_model = model.language_model
    devices = {parameter.device for parameter in language_model.parameters()}
    is_sdpa = getattr(language_model.config, "_attn_implementation", "sdpa") == "sdpa"
    if is_sdpa and len(devices) == 1:
        return PackedLanguageModel(language_model)
    return PaddedLanguageModel(language_model)


def _count_bytes(states: PrefixStates) -> int:
    return states.byte_count


def _is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has its own error class; MPS and the CPU allocator only a message."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    message = str(error)
    return "out of memory" in message or "can't allocate memory" in message
