"""What shorter and coarser vectors would find, from the vectors that an index holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from qwen3_vl_retrieval.index.store.store import Store
from qwen3_vl_retrieval.options import Precision
from qwen3_vl_retrieval.outputs.vectors import (
    MIN_DIMENSIONS,
    decode_embeddings,
    quantize_embeddings,
    truncate_dimensions,
)

__all__ = ["VectorSetting", "list_settings", "rank_by_vectors"]

_PRECISIONS: tuple[Precision, ...] = ("float16", "int8", "ubinary")

_BYTES = {"float32": 4.0, "float16": 2.0, "int8": 1.0, "ubinary": 0.125}

_BATCH_ROWS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSetting:
    """A length and a number format of stored vectors.

    Attributes:
        dimensions: Leading dimensions that are kept.
        precision: Number format.
    """

    dimensions: int
    precision: Precision

    @property
    def vector_bytes(self) -> int:
        """Bytes of a vector."""
        return int(self.dimensions * _BYTES[self.precision])


def list_settings(store: Store) -> list[VectorSetting]:
    """Returns halves of the length of the vectors of a store down to 32, in formats no finer than its own."""
    held = store.head.precision
    finest: Precision = "float16" if held == "float32" else held
    precisions: list[Precision] = [held] if held == "float32" else []
    precisions += _PRECISIONS[_PRECISIONS.index(finest) :]
    lengths: list[int] = []
    length = store.head.fingerprint.dimensions
    while length >= MIN_DIMENSIONS:
        lengths.append(length)
        length //= 2
    return [
        VectorSetting(dimensions=length, precision=precision)
        for precision in precisions
        for length in lengths
        if precision != "ubinary" or length % 8 == 0
    ]


def rank_by_vectors(
    store: Store, queries: Float32[np.ndarray, "queries dimensions"], settings: Sequence[VectorSetting], *, limit: int
) -> dict[VectorSetting, list[list[int]]]:
    """Returns the rows of the nearest units of each query in each setting, best first.

    All vectors are compared: what is lost is lost to length and format, and not to a graph. Words take no part.
    Queries keep their format, as in a search.

    Args:
        store: The index.
        queries: Full vectors.
        settings: Lengths and formats.
        limit: Units for each query.
    """
    nearest = {setting: _Nearest(len(queries), limit) for setting in settings}
    shortened = {
        setting.dimensions: truncate_dimensions(queries, setting.dimensions, normalize=True) for setting in settings
    }
    for rows in store.iterate_rows(batch_rows=_BATCH_ROWS):
        known, vectors = store.read_vectors(rows)
        for setting in settings:
            documents = _encode(vectors, setting)
            nearest[setting].add(np.asarray(known, dtype=np.int64), shortened[setting.dimensions] @ documents.T)
    return {setting: found.list_rows() for setting, found in nearest.items()}


def _encode(vectors: Float32[np.ndarray, "n dimensions"], setting: VectorSetting) -> Float32[np.ndarray, "n short"]:
    """The numbers that stand for the vectors in a setting."""
    short = truncate_dimensions(vectors, setting.dimensions, normalize=True)
    codes = quantize_embeddings(short, setting.precision)
    return decode_embeddings(codes, setting.precision, dimensions=setting.dimensions)


class _Nearest:
    """The best rows so far for each query."""

    def __init__(self, queries: int, limit: int) -> None:
        self._limit = limit
        self._rows = np.zeros((queries, 0), dtype=np.int64)
        self._scores = np.zeros((queries, 0), dtype=np.float32)

    def add(self, rows: Int64[np.ndarray, " n"], scores: Float32[np.ndarray, "queries n"]) -> None:
        """Takes scores of further rows."""
        all_rows = np.concatenate([self._rows, np.broadcast_to(rows, scores.shape)], axis=1)
        all_scores = np.concatenate([self._scores, scores], axis=1)
        # Rows rise: of equal scores the earlier row stays first, as in a search.
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, : self._limit]
        self._rows = np.take_along_axis(all_rows, order, axis=1)
        self._scores = np.take_along_axis(all_scores, order, axis=1)

    def list_rows(self) -> list[list[int]]:
        """The rows of each query, best first."""
        return self._rows.tolist()
