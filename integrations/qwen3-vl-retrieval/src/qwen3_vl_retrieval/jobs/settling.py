"""Units that several shards hold, such as a paragraph that stands in many texts: each counts in one part only.

The first part that holds a unit keeps it; in the others it is moved to a file of duplicates beside the part. Nothing is
lost by that: when the first part becomes obsolete, the next one takes its unit back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.store.parquet import ExportBatch
from qwen3_vl_retrieval.jobs.parts import (
    PartAccount,
    PartColumns,
    name_part,
    pick_rows,
    read_columns,
    read_rows,
    write_rows,
)
from qwen3_vl_retrieval.jobs.run_folder import RunFolder

__all__ = ["PartSurvey", "settle_duplicates", "survey_part", "survey_parts"]

_THREADS = 4
"""Parts that are surveyed at a time; what is read of them is in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSurvey:
    """Which units a shard holds.

    Attributes:
        shard: The shard.
        counted: Ids of the units in its part.
        moved: Ids of those among its duplicates.
        sources: All files that hold one of them.
    """

    shard: str
    counted: npt.NDArray[np.bytes_]
    moved: npt.NDArray[np.bytes_]
    sources: frozenset[str]


def survey_parts(run: RunFolder, shards: Sequence[str], duplicates: set[str]) -> Iterator[PartSurvey | StoreError]:
    """Yields which units shards hold, in their order, or why a part cannot be read.

    Args:
        run: The run.
        shards: Shards that have a part.
        duplicates: Those that have a file of duplicates.
    """

    def survey(shard: str) -> PartSurvey | StoreError:
        try:
            return survey_part(run, shard, duplicates=duplicates)
        except StoreError as error:
            return error

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="survey-parts") as threads:
        for first in range(0, len(shards), _THREADS):
            yield from threads.map(survey, shards[first : first + _THREADS])


def survey_part(run: RunFolder, shard: str, *, duplicates: set[str]) -> PartSurvey:
    """Returns which units a shard holds.

    Raises:
        StoreError: Its part cannot be read.
    """
    part = read_columns(run, name_part("part", shard))
    moved = PartColumns(ids=(), sources=frozenset())
    if shard in duplicates:
        moved = read_columns(run, name_part("duplicates", shard))
    return PartSurvey(
        shard=shard,
        counted=np.array(part.ids, dtype=np.bytes_),
        moved=np.array(moved.ids, dtype=np.bytes_),
        sources=part.sources | moved.sources,
    )


def settle_duplicates(
    run: RunFolder,
    fingerprint: Fingerprint,
    surveys: Sequence[PartSurvey],
    accounts: Mapping[str, PartAccount],
) -> dict[str, int]:
    """Makes each unit count in the first part that holds it, and returns how many units count in each.

    Args:
        run: The run.
        fingerprint: Identity of the vectors.
        surveys: Which units each shard holds, in the order of the plan.
        accounts: The accounts of the parts.

    Raises:
        StoreError: A part cannot be read or written.
    """
    held = [np.unique(np.concatenate([survey.counted, survey.moved])) for survey in surveys]
    numbers = np.repeat(np.arange(len(held)), [len(ids) for ids in held])
    everything = np.concatenate(held) if held else np.array([], dtype=np.bytes_)
    # The first of equal ids is that of the first part: parts follow each other in `everything`.
    _, first = np.unique(everything, return_index=True)
    owned = np.zeros(len(everything), dtype=np.bool_)
    owned[first] = True
    counts: dict[str, int] = {}
    for number, (survey, ids) in enumerate(zip(surveys, held, strict=True)):
        kept = ids[owned[numbers == number]] if len(held) > 1 else ids
        counts[survey.shard] = len(kept)
        is_settled = np.array_equal(kept, np.unique(survey.counted)) and len(survey.moved) + len(kept) == len(ids)
        if not is_settled:
            _rewrite(run, fingerprint, survey, accounts[survey.shard], {one.decode() for one in kept.tolist()})
    return counts


def _rewrite(
    run: RunFolder, fingerprint: Fingerprint, survey: PartSurvey, account: PartAccount, kept: set[str]
) -> None:
    """Divides the units of a shard anew; whenever this is interrupted, each of them is in one of the two files."""
    part, duplicates = name_part("part", survey.shard), name_part("duplicates", survey.shard)
    names = [part, duplicates] if len(survey.moved) else [part]
    batches = [batch for name in names for batch in read_rows(run, name, fingerprint)]
    places = _find_places(batches)
    moved = [unit_id for unit_id in places if unit_id not in kept]
    # All that will not count afterwards, or does not now, is among the duplicates before the part is changed.
    write_rows(run, duplicates, fingerprint, _pick(batches, places, [*moved, *_list_moved(survey, moved)]), account)
    write_rows(run, part, fingerprint, _pick(batches, places, [one for one in places if one in kept]), account)
    if moved:
        write_rows(run, duplicates, fingerprint, _pick(batches, places, moved), account)
    else:
        run.remove(duplicates)


def _list_moved(survey: PartSurvey, among: Sequence[str]) -> list[str]:
    known = set(among)
    return [unit_id for one in survey.moved.tolist() if (unit_id := one.decode()) not in known]


def _find_places(batches: Sequence[ExportBatch]) -> dict[str, tuple[int, int]]:
    """Batch and row of each unit, of the first row if there are two."""
    places: dict[str, tuple[int, int]] = {}
    for number, batch in enumerate(batches):
        for row, unit_id in enumerate(batch.ids):
            places.setdefault(unit_id, (number, row))
    return places


def _pick(
    batches: Sequence[ExportBatch], places: Mapping[str, tuple[int, int]], wanted: Sequence[str]
) -> Iterator[ExportBatch]:
    rows: list[list[int]] = [[] for _ in batches]
    for unit_id in wanted:
        number, row = places[unit_id]
        rows[number].append(row)
    return (pick_rows(batch, picked) for batch, picked in zip(batches, rows, strict=True) if picked)
