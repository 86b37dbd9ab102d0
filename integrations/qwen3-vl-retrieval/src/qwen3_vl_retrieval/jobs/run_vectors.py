"""Full vectors of a run, read by the ids of units: for a second pass over what short vectors have found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.bounded_cache import BoundedCache
from qwen3_vl_retrieval.errors import StoreError, quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.jobs.loading import read_result
from qwen3_vl_retrieval.jobs.parts import RowGroup, list_row_groups, read_group_vectors
from qwen3_vl_retrieval.jobs.run_folder import RunFolder

__all__ = ["RunVectors"]

_THREADS = 16
"""Parts and row groups that are read at a time: most of it is waiting for disks and networks."""

_CACHE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Directory:
    """Where the vector of each unit is.

    Attributes:
        keys: Ids of all units as bytes, sorted.
        rows: The row of each, counted over all groups.
        groups: The groups, one behind the other.
        firsts: The first row of each group.
    """

    keys: npt.NDArray[np.bytes_]
    rows: npt.NDArray[np.int64]
    groups: Sequence[RowGroup]
    firsts: npt.NDArray[np.int64]


class RunVectors:
    """The vectors of a run as it has them, whatever a store was given of them.

    A store that holds the first 256 dimensions of each vector is a fraction of the size, and finds candidates; those
    that are best by the full vectors are nearly always among them. When it is opened, the ids of all units are read,
    some 50 bytes each; of the vectors, the groups of rows that hold those asked for.

    ```python
    from qwen3_vl_retrieval.jobs import RunVectors

    vectors = RunVectors("s3://bucket/run")
    cosines = vectors.score(embedder.embed_queries(["a red mug"])[0], candidate_ids)
    ```

    Args:
        run: The folder of a run that is complete, or its URL.
        storage_options: Options of the file system of a URL.
        cache_bytes: Vectors that are kept in memory at most: those that were asked for last.

    Raises:
        StoreError: There is no complete run, or a part cannot be read.
    """

    def __init__(
        self,
        run: str | Path,
        *,
        storage_options: Mapping[str, Any] | None = None,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        self._folder = RunFolder(run, storage_options)
        self._fingerprint, parts = read_result(self._folder)
        self._directory = _build_directory(self._folder, list(parts))
        self._kept = BoundedCache[int, npt.NDArray[Any]](cache_bytes, measure=lambda vectors: vectors.nbytes)

    def __len__(self) -> int:
        return len(self._directory.keys)

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors."""
        return self._fingerprint

    def read(self, ids: Sequence[str]) -> npt.NDArray[np.float32]:
        """Returns the vectors of units, `(n, dimensions)`, in the order of `ids`.

        Raises:
            StoreError: The run has no such unit, or a part cannot be read.
        """
        rows = self._find_rows(ids)
        numbers = np.searchsorted(self._directory.firsts, rows, side="right") - 1
        vectors = np.empty((len(ids), self._fingerprint.dimensions), dtype=np.float32)
        wanted: list[int] = np.unique(numbers).tolist()
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="read-vectors") as threads:
            for number, group in zip(wanted, threads.map(self._read_group, wanted), strict=True):
                places = np.flatnonzero(numbers == number)
                vectors[places] = group[rows[places] - self._directory.firsts[number]]
        return vectors

    def score(self, query: npt.NDArray[Any], ids: Sequence[str]) -> npt.NDArray[np.float32]:
        """Returns the cosine of a query with each of some units, in the order of `ids`.

        Args:
            query: Its full vector, of unit length.
            ids: The units.

        Raises:
            ValueError: The query is of another length than the vectors.
            StoreError: As `read`.
        """
        if query.shape != (self._fingerprint.dimensions,):
            raise ValueError(
                f"the query is {query.shape}, and the vectors of the run have {self._fingerprint.dimensions:,} "
                "dimensions; give one vector, not shortened"
            )
        return self.read(ids) @ query.astype(np.float32)

    def _find_rows(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        keys = np.array(ids, dtype=np.bytes_)
        places = np.minimum(np.searchsorted(self._directory.keys, keys), max(len(self) - 1, 0))
        is_known = self._directory.keys[places] == keys if len(self) else np.zeros(len(ids), dtype=bool)
        if not is_known.all():
            unknown = ids[int(np.argmin(is_known))]
            raise StoreError(
                f"the run {quote(self._folder.location)} has no unit {quote(unknown)}; load it into the store again, "
                "so that both hold the same units"
            )
        return self._directory.rows[places]

    def _read_group(self, number: int) -> npt.NDArray[Any]:
        kept = self._kept.find(number)
        if kept is None:
            kept = read_group_vectors(self._folder, self._directory.groups[number])
            self._kept.keep(number, kept)
        return kept


def _build_directory(folder: RunFolder, parts: Sequence[str]) -> _Directory:
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="read-ids") as threads:
        listed = [one for found in threads.map(partial(list_row_groups, folder), parts) for one in found]
    groups = [group for group, _ in listed]
    firsts = np.cumsum([0, *(group.rows for group in groups)], dtype=np.int64)[:-1]
    keys = np.concatenate([np.array(ids, dtype=np.bytes_) for _, ids in listed] or [np.empty(0, dtype="S1")])
    rows = np.argsort(keys)
    return _Directory(keys=keys[rows], rows=rows, groups=groups, firsts=firsts)
