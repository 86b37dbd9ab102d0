"""Full vectors beside the collection, slot by slot in one file, mapped into memory and not read into it.

The collection holds short vectors that are quick to compare; what it recalls is rescored here. A slot is used again
once its unit is gone: who reads asks the catalog before and after which unit it belongs to, see `Store.score_rows`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float32

from qwen3_vl_retrieval.errors import StoreError, quote
from qwen3_vl_retrieval.forks import ForkSafeLock
from qwen3_vl_retrieval.outputs.precision import int8_step, quantize_embeddings

__all__ = ["Sidecar", "SidecarPrecision"]

SidecarPrecision: TypeAlias = Literal["float32", "float16", "int8", "ubinary"]
"""Number formats of stored vectors, see `quantize_embeddings`."""

_TYPES: dict[str, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "ubinary": np.uint8,
}

_CHUNK_SLOTS = 4096
"""Vectors that are converted at a time: 32 MiB at 2,048 dimensions."""


class Sidecar:
    """Vectors of one length and number format in a file. Any number of readers, one writer.

    Args:
        path: The file; it need not exist.
        dimensions: Length of a vector.
        precision: Number format.

    Raises:
        ValueError: The precision is unknown, or does not fill whole bytes.
    """

    def __init__(self, path: Path, *, dimensions: int, precision: SidecarPrecision) -> None:
        if precision not in get_args(SidecarPrecision):
            raise ValueError(
                f"precision={quote(precision)} is unknown; allowed are {', '.join(get_args(SidecarPrecision))}"
            )
        if precision == "ubinary" and dimensions % 8:
            raise ValueError(f"precision='ubinary' packs eight dimensions a byte; {dimensions} is not a multiple of 8")
        self.path = path
        self.dimensions = dimensions
        self.precision: SidecarPrecision = precision
        self._type = np.dtype(_TYPES[precision])
        self._columns = dimensions // 8 if precision == "ubinary" else dimensions
        self._mapped: npt.NDArray[np.generic] | None = None
        self._lock = ForkSafeLock()

    @property
    def slot_bytes(self) -> int:
        """Bytes of a vector."""
        return self._columns * self._type.itemsize

    def write(self, slots: Sequence[int], vectors: Float[np.ndarray, "n dimensions"]) -> None:
        """Writes vectors to slots (from 1); they are on the disk when this returns.

        Raises:
            OSError: The disk is full or fails.
        """
        codes = np.ascontiguousarray(quantize_embeddings(np.asarray(vectors, dtype=np.float32), self.precision))
        # Not "ab": slots that a killed writer left behind are written over.
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        with os.fdopen(descriptor, "r+b") as file:
            for first, last in _list_runs(slots):
                file.seek((slots[first] - 1) * self.slot_bytes)
                file.write(codes[first:last].tobytes())
            file.flush()
            os.fsync(file.fileno())

    def copy(self, slots: Sequence[int], path: Path) -> None:
        """Writes the vectors of `slots` to a new file, one after the other; they are on the disk when this returns.

        Raises:
            StoreError: The file does not hold the slots.
            OSError: The disk is full or fails.
        """
        with path.open("wb") as file:
            for first in range(0, len(slots), _CHUNK_SLOTS):
                places = np.asarray(slots[first : first + _CHUNK_SLOTS], dtype=np.int64)
                file.write(np.ascontiguousarray(self._map(int(places.max()))[places - 1]).tobytes())
            file.flush()
            os.fsync(file.fileno())

    def read(self, slots: Sequence[int]) -> Float32[np.ndarray, "n dimensions"]:
        """Returns the vectors of `slots`, as numbers of ordinary size whatever the format.

        Binary vectors come back as plus and minus 1/√dimensions.

        Raises:
            StoreError: The file does not hold the slots.
        """
        places = np.asarray(slots, dtype=np.int64)
        if places.size == 0:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        codes = self._map(int(places.max()))[places - 1]
        match self.precision:
            case "float32" | "float16":
                return codes.astype(np.float32)
            case "int8":
                return codes.astype(np.float32) * np.float32(int8_step(self.dimensions))
            case "ubinary":
                signs = np.unpackbits(codes.astype(np.uint8), axis=1, count=self.dimensions).astype(np.float32)
                return (2 * signs - 1) / np.float32(np.sqrt(self.dimensions))

    def score(self, slots: Sequence[int], query: Float[np.ndarray, " dimensions"]) -> Float32[np.ndarray, " n"]:
        """Returns the dot product of each vector with `query`: cosines, and estimates of them from binary vectors.

        Raises:
            StoreError: The file does not hold the slots.
        """
        wanted = np.asarray(query, dtype=np.float32)
        parts = [
            self.read(slots[first : first + _CHUNK_SLOTS]) @ wanted for first in range(0, len(slots), _CHUNK_SLOTS)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)

    def require_slots(self, last_slot: int) -> None:
        """Passes silently if the file holds the slots up to `last_slot`.

        Raises:
            StoreError: It does not.
        """
        if last_slot:
            self._map(last_slot)

    def _map(self, last_slot: int) -> npt.NDArray[np.generic]:
        with self._lock:
            if self._mapped is None or len(self._mapped) < last_slot:
                size_bytes = self.path.stat().st_size if self.path.exists() else 0
                held = size_bytes // self.slot_bytes
                if held < last_slot:
                    raise StoreError(
                        f"the store is torn: {self.path.name} holds {held:,} vectors, and the catalog counts "
                        f"{last_slot:,}; restore the folder from a copy, or build the store again"
                    )
                self._mapped = np.memmap(self.path, dtype=self._type, mode="r", shape=(held, self._columns))
            return self._mapped


def _list_runs(slots: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where slots that follow each other begin and end in the list."""
    first = 0
    for place in range(1, len(slots) + 1):
        if place == len(slots) or slots[place] != slots[place - 1] + 1:
            yield first, place
            first = place
