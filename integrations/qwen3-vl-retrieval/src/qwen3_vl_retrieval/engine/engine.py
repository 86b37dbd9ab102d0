"""One model with everything that turns items into hidden states; shared by embedder and reranker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import torch

from qwen3_vl_retrieval.engine.requests.builder import Request
from qwen3_vl_retrieval.engine.requests.outcome import Outcome
from qwen3_vl_retrieval.engine.requests.preparation import build_preparer, report_progress
from qwen3_vl_retrieval.engine.scheduling.dispatcher import Dispatcher
from qwen3_vl_retrieval.engine.scheduling.executor import Executor
from qwen3_vl_retrieval.engine.statistics import EngineStatistics, StatisticsRecorder
from qwen3_vl_retrieval.engine.vision.feature_cache import FeatureCache
from qwen3_vl_retrieval.engine.vision.patches import PatchLayout
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.forks import renew_in_children
from qwen3_vl_retrieval.media import FrameSampling, ImageReading, MediaPolicy, PixelBudget
from qwen3_vl_retrieval.options import OnOverflow, PairTruncation
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer

__all__ = ["Engine", "compute_alone_in_children", "keep_freed_memory"]


class _OneThread:
    """Keeps a forked child from waiting for threads that only its parent has.

    GNU OpenMP, with which PyTorch is built for Linux, hands work to the threads that the forking thread had started
    before, and waits for them; a fork copies none (https://gcc.gnu.org/bugzilla/show_bug.cgi?id=58378). A single thread
    waits for nobody. The workers of PyTorch's `DataLoader` compute with one as well.
    """

    def renew(self) -> None:
        """Sets what the forked thread, and all that it starts, compute with."""
        torch.set_num_threads(1)


_ONE_THREAD = _OneThread()


def compute_alone_in_children() -> None:
    """Makes child processes that are forked from now on compute with one thread each; this process is not changed."""
    renew_in_children(_ONE_THREAD)


_LARGEST_KEPT_BYTES = (32 << 20) - (64 << 10)
"""A little less than the largest block for which glibc raises its thresholds (`DEFAULT_MMAP_THRESHOLD_MAX` on 64 bits,
malloc/malloc.c of glibc 2.36)."""


def keep_freed_memory() -> None:
    """Lets the C library keep freed blocks of up to 32 MiB, 64 MiB in all, as it does once one of that size was freed.

    Until then it gives the states of a layer back to the system and asks for them again in the next one: embedding
    short texts takes a tenth longer (benchmarks/LOG.md). Nothing is written to the block, so it takes no memory; where
    the C library is another one, nothing happens.
    """
    torch.empty(_LARGEST_KEPT_BYTES, dtype=torch.uint8)


_CACHE_BYTES = 2**30
_HOST_CACHE_BYTES = 4 * 2**30
"""Features of a page of 1,800 visual tokens take 30 MB at the 2B shape: 35 pages on the device, 140 in the host."""


class Engine:
    """Reads, tokenises, batches and computes; safe to call from several threads and event loops.

    Args:
        model: A `Qwen3VLModel` in evaluation mode.
        processor: Its `Qwen3VLProcessor`; the tokenizer and the image normalisation are taken from it.
        role: What the items are called in errors: `"item"` or `"document"`.
        media_policy: What may be opened.
        pixel_budget: Limits on the pixels that the model sees.
        frame_sampling: How frames are taken from videos.
        image_reading: How images are read, see `read_image`.
        max_length: Tokens of an item at most.
        on_overflow: What happens to an item beyond that.
        pair_truncation: Which side of a long pair is cut.
        max_batch_tokens: Tokens of a batch at most; `None` chooses by device.
        vision_cache_bytes: Memory for the features of images that later calls may show again; `None` chooses by
            device, 0 keeps none.

    Attributes:
        preparer: Makes requests of items.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        role: str,
        media_policy: MediaPolicy,
        pixel_budget: PixelBudget,
        frame_sampling: FrameSampling,
        image_reading: ImageReading,
        max_length: int,
        on_overflow: OnOverflow,
        pair_truncation: PairTruncation = "longest_first",
        max_batch_tokens: int | None = None,
        vision_cache_bytes: int | None = None,
    ) -> None:
        if max_batch_tokens is not None and index(max_batch_tokens) < 1:
            raise ValueError(f"max_batch_tokens={max_batch_tokens} must be at least 1")
        if model.device.type == "cpu":
            keep_freed_memory()
        compute_alone_in_children()
        layout = PatchLayout.from_processor(processor.image_processor)
        features = _build_cache(model.device, vision_cache_bytes)
        self._statistics = StatisticsRecorder()
        self.preparer = build_preparer(
            PromptTokenizer(processor.tokenizer.backend_tokenizer),
            role=role,
            media_policy=media_policy,
            pixel_budget=pixel_budget,
            frame_sampling=frame_sampling,
            image_reading=image_reading,
            max_length=max_length,
            on_overflow=on_overflow,
            pair_truncation=pair_truncation,
            statistics=self._statistics,
            is_known=features.__contains__,
        )
        self.executor = Executor(
            model,
            layout,
            features=features,
            statistics=self._statistics,
            max_batch_tokens=max_batch_tokens,
        )
        self._role = role
        self._dispatcher = Dispatcher(self.executor)

    @property
    def hidden_size(self) -> int:
        """Length of a hidden state."""
        return self.executor.hidden_size

    @property
    def statistics(self) -> EngineStatistics:
        """What the engine has done so far."""
        return self._statistics.read()

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.executor.device

    def run(
        self,
        prepared: Sequence[Request | InputError],
        *,
        show_progress: bool = False,
        description: str = "computing",
    ) -> Outcome:
        """Returns the outcome of all positions of `prepared`; its errors are among the failures."""
        requests = [request for request in prepared if isinstance(request, Request)]
        with report_progress(description, total=len(requests), enabled=show_progress) as advance:
            outcome = self.executor.run(requests, on_progress=advance)
        return outcome.spread(prepared, role=self._role)

    async def prepare_shared(self, prepare: Callable[[], list[Request | InputError]]) -> list[Request | InputError]:
        """Returns what `prepare` returns, called in a thread, for `run_shared`: other callers wait a moment for it."""
        with self._dispatcher.expect():
            return await asyncio.to_thread(prepare)

    async def run_shared(self, prepared: Sequence[Request | InputError]) -> Outcome:
        """Returns the same as `run`, in batches shared with other callers; cancelling takes the requests out."""
        requests = [request for request in prepared if isinstance(request, Request)]
        future = self._dispatcher.submit(requests)
        outcome = await asyncio.wrap_future(future)
        return outcome.spread(prepared, role=self._role)

    def encode_media(self, prepared: Sequence[Request | InputError]) -> dict[int, InputError]:
        """Keeps the features of all images and videos; returns what cannot be read, by position."""
        positions = [position for position, request in enumerate(prepared) if isinstance(request, Request)]
        failures = {position: request for position, request in enumerate(prepared) if isinstance(request, InputError)}
        requests = [request for request in prepared if isinstance(request, Request)]
        for at, error in self.executor.encode_media(requests).items():
            failures[positions[at]] = error.at(positions[at], role=self._role)
        return failures


def _build_cache(device: torch.device, vision_cache_bytes: int | None) -> FeatureCache:
    if vision_cache_bytes is None:
        return FeatureCache(device, max_device_bytes=_CACHE_BYTES, max_host_bytes=_HOST_CACHE_BYTES)
    if index(vision_cache_bytes) < 0:
        raise ValueError(f"vision_cache_bytes={vision_cache_bytes} must not be negative")
    return FeatureCache(device, max_device_bytes=vision_cache_bytes, max_host_bytes=4 * vision_cache_bytes)
