"""What loading a run asks of a store, whichever it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy.typing as npt

from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.store.parquet import ExportBatch

__all__ = ["Sink", "hash_rows"]

_PLACES = ("source", "image", "video")
"""Metadata that name one of the sources, which are compared as a whole."""


class Sink(Protocol):
    """A table, collection or index that holds the units of a run, and of nothing else."""

    @property
    def vector_tolerance(self) -> float:
        """How far a component that comes back may lie from the one that was sent."""
        ...

    def open(self, fingerprint: Fingerprint) -> None:
        """Opens the store, or makes it for vectors of this kind.

        Raises:
            FingerprintMismatchError: It holds vectors of another space.
            StoreError: It holds something else, or cannot be reached.
        """
        ...

    def find_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Returns the row hashes of those of `ids` that the store holds, see `hash_rows`."""
        ...

    def upsert(self, batch: ExportBatch, hashes: Sequence[str]) -> None:
        """Enters rows, in place of those of the same id."""
        ...

    def fetch_vectors(self, ids: Sequence[str]) -> Mapping[str, npt.NDArray[Any]]:
        """Returns the vectors of `ids` as the store gives them back."""
        ...

    def iterate_ids(self) -> Iterator[Sequence[str]]:
        """Yields the ids of all rows, in groups."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Removes rows."""
        ...

    def count(self) -> int:
        """Returns the number of rows."""
        ...

    def finish(self) -> None:
        """Does what is done once all rows are there, such as building an index."""
        ...

    def close(self) -> None:
        """Lets go of the store."""
        ...


def hash_rows(
    metadata: Iterable[Mapping[str, Any]], texts: Iterable[str | None], sources: Iterable[Sequence[str]]
) -> list[str]:
    """Returns for each row a hash of what may differ between rows of one id, which have one vector."""
    return [
        hashlib.sha256(json.dumps(_describe_row(*row), sort_keys=True).encode()).hexdigest()[:32]
        for row in zip(metadata, texts, sources, strict=True)
    ]


def _describe_row(metadata: Mapping[str, Any], text: str | None, sources: Sequence[str]) -> list[Any]:
    own = {name: value for name, value in metadata.items() if name not in _PLACES}
    return [own, text, sorted(sources)]
