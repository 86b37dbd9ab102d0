"""Which sequences share a forward pass, and how many tokens it may hold."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import torch

__all__ = [
    "BudgetFile",
    "CudaMemory",
    "DeviceMemory",
    "TokenBudget",
    "build_budget",
    "pack_batches",
    "plan_batches",
    "split_batch",
]


MAX_PADDING_SHARE = 0.15
"""Largest share of a batch that may be padding."""


def plan_batches(lengths: Sequence[int], *, max_batch_tokens: int) -> list[list[int]]:
    """Returns positions into `lengths`, grouped into batches; every position occurs once.

    Batches come longest first, so that a batch too large for the memory shows at once. A batch holds at most
    `max_batch_tokens` tokens, padding included; a sequence beyond that is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    batches: list[list[int]] = []
    longest = real_tokens = 0
    for position in order:
        length = lengths[position]
        padded_tokens = longest * (len(batches[-1]) + 1) if batches else 0
        fits = 0 < padded_tokens <= max_batch_tokens
        if fits and padded_tokens - (real_tokens + length) <= MAX_PADDING_SHARE * padded_tokens:
            batches[-1].append(position)
            real_tokens += length
        else:
            batches.append([position])
            longest = real_tokens = length
    return batches


def pack_batches(lengths: Sequence[int], families: Sequence[int], *, max_batch_tokens: int) -> list[list[int]]:
    """Returns positions into `lengths`, grouped into batches without padding; every position occurs once.

    Sequences of one family (of one beginning) are neighbours, longest first; the family with the longest comes first.
    A batch holds at most `max_batch_tokens` tokens; a sequence beyond that is a batch of its own.
    """
    longest: dict[int, int] = {}
    for length, family in zip(lengths, families, strict=True):
        longest[family] = max(longest.get(family, 0), length)
    order = sorted(
        range(len(lengths)), key=lambda position: (-longest[families[position]], families[position], -lengths[position])
    )
    batches: list[list[int]] = []
    tokens = 0
    for position in order:
        if batches and tokens + lengths[position] <= max_batch_tokens:
            batches[-1].append(position)
            tokens += lengths[position]
        else:
            batches.append([position])
            tokens = lengths[position]
    return batches


def split_batch(batch: Sequence[int]) -> tuple[list[int], list[int]]:
    """Returns the two halves of a batch that did not fit the memory."""
    middle = (len(batch) + 1) // 2
    return list(batch[:middle]), list(batch[middle:])


_FREE_SHARE = 0.8
"""Share of the free memory that a batch may take: the allocator's blocks leave gaps."""

_FEWEST_TOKENS = 256
"""Below that, what was measured is the cost of a batch and not of its tokens."""


class DeviceMemory(Protocol):
    """What can be asked about the memory of a device without waiting for it."""

    def start(self) -> None:
        """Begins to watch."""
        ...

    def measure_growth(self) -> int:
        """Returns the bytes that were held at most, beyond those at the start."""
        ...

    def count_free(self) -> int:
        """Returns the bytes that could be had now."""
        ...


class CudaMemory:
    """The memory of one GPU, as torch's allocator counts it; its peak is reset by every `start`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0

    def start(self) -> None:
        """Begins to watch."""
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)

    def measure_growth(self) -> int:
        """Returns the bytes that were held at most, beyond those at the start."""
        return torch.cuda.max_memory_allocated(self._device) - self._before

    def count_free(self) -> int:
        """Returns the bytes that nobody has, and those that the allocator keeps for later."""
        free, _ = torch.cuda.mem_get_info(self._device)
        return free + torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)


class BudgetFile:
    """Bytes per token by model and device, in a JSON file that processes share; one that cannot be used is ignored.

    Args:
        path: Path of the file, which is created when there is something to write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, key: str) -> float | None:
        """Returns what was kept, or `None`."""
        kept = self._read().get(key)
        return float(kept) if isinstance(kept, int | float) and kept > 0 else None

    def keep(self, key: str, bytes_per_token: float) -> None:
        """Keeps a figure beside those of others."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=self._path.parent, prefix=self._path.name, delete=False, encoding="utf-8"
            ) as file:
                json.dump(self._read() | {key: round(bytes_per_token)}, file, indent=2, sort_keys=True)
            Path(file.name).replace(self._path)
        except OSError:
            # A home that cannot be written to costs the next process its first guess, nothing else.
            return

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return cast("dict[str, Any]", kept) if isinstance(kept, dict) else {}


class TokenBudget:
    """The limit on the tokens of a batch; one thread computes at a time.

    Args:
        device: Device of the model.
        limit: Given by the caller, and then only lowered when the memory did not suffice; `None` chooses by device
            and follows what is measured.
        memory: Memory of the device; `None` measures nothing.
        file: Where what is learnt stays.
        key: Names model and device in it.

    Attributes:
        limit: Tokens in a batch at most.
    """

    def __init__(
        self,
        device: torch.device,
        limit: int | None = None,
        *,
        memory: DeviceMemory | None = None,
        file: BudgetFile | None = None,
        key: str = "",
    ) -> None:
        self._most = _choose_max_batch_tokens(device) if limit is None else limit
        self._memory = memory if limit is None else None
        self._file, self._key = file, key
        self._bytes_per_token = None if file is None or self._memory is None else file.load(key)
        self.limit = self._most
        self._fit()

    @contextmanager
    def watch(self, tokens: int) -> Generator[None]:
        """Measures what the block takes for so many tokens, and fits the limit to it and to what is free now."""
        if self._memory is None:
            yield
            return
        self._memory.start()
        yield
        if tokens >= _FEWEST_TOKENS:
            self._learn(self._memory.measure_growth() / tokens)
        self._fit()

    def lower(self, tokens: int) -> None:
        """Notes that more than `tokens` did not fit."""
        self._most = min(self._most, max(tokens, 1))
        self._fit()

    def _learn(self, bytes_per_token: float) -> None:
        # Pages cost more than texts: the dearest batch so far says what the next may cost.
        if bytes_per_token > 1.02 * (self._bytes_per_token or 0.0):
            self._bytes_per_token = bytes_per_token
            if self._file is not None:
                self._file.keep(self._key, bytes_per_token)

    def _fit(self) -> None:
        self.limit = self._most
        if self._memory is not None and self._bytes_per_token is not None:
            fitting = int(_FREE_SHARE * self._memory.count_free() / self._bytes_per_token)
            self.limit = min(self._most, max(fitting, _FEWEST_TOKENS))


def build_budget(model: Any, limit: int | None) -> TokenBudget:
    """Returns the budget of a model on its device; only the memory of GPUs is measured."""
    device = model.device
    if device.type != "cuda" or limit is not None:
        return TokenBudget(device, limit)
    described = f"{model.config.to_json_string()} {model.dtype}".encode()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qwen3-vl-retrieval"
    return TokenBudget(
        device,
        memory=CudaMemory(device),
        file=BudgetFile(folder / "token_budgets.json"),
        key=f"{torch.cuda.get_device_name(device)} {hashlib.sha256(described).hexdigest()[:16]}",
    )


def _choose_max_batch_tokens(device: torch.device) -> int:
    """Returns the first guess of how many tokens a forward pass may hold; an out-of-memory error lowers it."""
    return {"cuda": 32_768, "mps": 8_192}.get(device.type, 2_048)
