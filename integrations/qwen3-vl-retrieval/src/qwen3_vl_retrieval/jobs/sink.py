"""What loading a run asks of a store, whichever it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy.typing as npt

from qwen3_vl_retrieval.chroma import parse_stamp
from qwen3_vl_retrieval.errors import StoreError, quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.store.parquet import ExportBatch

__all__ = [
    "TOLERANCES",
    "Sink",
    "SinkPrecision",
    "describe_rows",
    "hash_rows",
    "require_precision",
    "require_stamp",
]

SinkPrecision: TypeAlias = Literal["float32", "float16", "int8", "binary"]
"""Number formats of stores: of the vectors themselves, or of the copies that an index looks at first."""

TOLERANCES: Mapping[str, float] = {"float32": 1e-6, "float16": 1e-3}
"""How far a component of a unit vector may lie from what was sent. A float16 has 11 bits: 2**-12 below 1, and room for
stores that scale to unit length again."""

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
        hashlib.sha256(json.dumps(_describe_content(*row), sort_keys=True).encode()).hexdigest()[:32]
        for row in zip(metadata, texts, sources, strict=True)
    ]


def describe_rows(batch: ExportBatch, hashes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns for each row what stores keep as its metadata: the flat ones, `id`, `sources` and `row_hash`."""
    return [
        {**own, "id": unit_id, "sources": list(sources), "row_hash": one}
        for own, unit_id, sources, one in zip(batch.metadata, batch.ids, batch.sources, hashes, strict=True)
    ]


def require_precision(precision: str | None, allowed: Collection[str], store: str) -> None:
    """Raises an error unless a store has a number format, or none was asked for.

    Args:
        precision: What was asked for.
        allowed: What the store has.
        store: Its name for the message.

    Raises:
        ValueError: It does not.
    """
    if precision is not None and precision not in allowed:
        raise ValueError(f"precision={quote(precision)} is not available in {store}; allowed: {', '.join(allowed)}")


def require_stamp(stamp: object, fingerprint: Fingerprint, shown: str) -> None:
    """Raises an error unless a store says that it holds vectors of this kind.

    Args:
        stamp: The fingerprint as JSON; anything else where there is none.
        fingerprint: That of the run.
        shown: What the store is called in the message: `"the table 'units'"`.

    Raises:
        FingerprintMismatchError: It holds vectors of another space.
        StoreError: It was not made by a loading.
    """
    if not isinstance(stamp, str) or not stamp.startswith("{"):
        raise StoreError(f"{shown} was not made by a loading; give the name of one that does not exist")
    fingerprint.require_match(parse_stamp(stamp))


def _describe_content(metadata: Mapping[str, Any], text: str | None, sources: Sequence[str]) -> list[Any]:
    own = {name: value for name, value in metadata.items() if name not in _PLACES}
    return [own, text, sorted(sources)]
