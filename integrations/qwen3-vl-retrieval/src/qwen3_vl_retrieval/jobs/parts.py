"""The part of a shard: a Parquet file of its units and vectors, as an index is exported, with an account of the shard.

```text
parts/part-<hash>.parquet         units that count
parts/duplicates-<hash>.parquet   units of the shard that another part has, too, and that count there
parts/failures-<hash>.jsonl       what could not be read or embedded; only if there is something
parts/obsolete-<hash>.parquet     a part that counts no longer; its vectors are used again
```
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.errors import StoreError, quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.store.parquet import ROW_GROUP_ROWS, ExportBatch, read_parquet, write_parquet
from qwen3_vl_retrieval.jobs.run_folder import RunFolder
from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = [
    "PARTS",
    "PartAccount",
    "PartColumns",
    "PartKind",
    "RowGroup",
    "list_part_names",
    "list_row_groups",
    "name_part",
    "read_account",
    "read_accounts",
    "read_columns",
    "read_group_vectors",
    "read_rows",
    "write_rows",
]

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")

PARTS = "parts"

_THREADS = 16
"""Parts that are looked at at a time: most of it is waiting for disks and networks."""

PartKind: TypeAlias = Literal["part", "duplicates", "obsolete", "failures", "obsolete-failures"]

_SUFFIXES: Mapping[PartKind, str] = {"failures": ".jsonl", "obsolete-failures": ".jsonl"}

_NAME = re.compile(r"(part|duplicates|obsolete|failures|obsolete-failures)-([0-9a-f]+)\.(?:parquet|jsonl)")

_ACCOUNT_KEY = "qwen3_vl_retrieval.shard"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartAccount:
    """What came of a shard, as its part says it.

    Attributes:
        shard: The shard.
        files: Its files.
        units: Units of them with a vector, duplicates of other parts included.
        reused_units: Those whose vectors were there already.
        failures: Failures beside it.
        conditions: Hash of what decides, beside a file, whether it can be read.
        seconds: How long its device was occupied with it.
        finished_at: When it was finished, in seconds since 1970.
    """

    shard: str
    files: int
    units: int
    reused_units: int
    failures: int
    conditions: str
    seconds: float
    finished_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PartColumns:
    """What tells the units of a part from others.

    Attributes:
        ids: Ids of the units.
        sources: All files that hold one of them.
    """

    ids: Sequence[str]
    sources: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroup:
    """Rows of a part that are read together.

    Attributes:
        part: Name of the part.
        number: Which of its groups it is, from 0.
        rows: Number of its rows.
    """

    part: str
    number: int
    rows: int


def name_part(kind: PartKind, shard: str) -> str:
    """Returns the name of a file of a shard in the folder of the run."""
    return f"{PARTS}/{kind}-{shard}{_SUFFIXES.get(kind, '.parquet')}"


def list_part_names(run: RunFolder) -> dict[str, set[str]]:
    """Returns the shards that have a file of each kind, by kind.

    Raises:
        StoreError: The folder cannot be listed.
    """
    found: dict[str, set[str]] = {kind: set() for kind in ("part", "duplicates", "obsolete", "failures")}
    found["obsolete-failures"] = set()
    for name in run.list_names(PARTS):
        match = _NAME.fullmatch(name)
        if match is not None:
            found[match[1]].add(match[2])
    return found


def write_rows(
    run: RunFolder, name: str, fingerprint: Fingerprint, batches: Iterable[ExportBatch], account: PartAccount
) -> None:
    """Writes a part, or the duplicates of one; it appears when it is whole.

    Raises:
        StoreError: It cannot be written, or a vector is not finite.
    """
    notes = {_ACCOUNT_KEY: json.dumps(asdict(account))}

    def write(path: Path) -> int:
        return write_parquet(path, fingerprint, batches, notes=notes)

    run.publish(name, write)


def read_rows(run: RunFolder, name: str, fingerprint: Fingerprint) -> Iterator[ExportBatch]:
    """Yields the rows of a part, at most `ROW_GROUP_ROWS` at a time.

    Raises:
        StoreError: It cannot be read or is damaged.
        FingerprintMismatchError: Its vectors are of another space.
    """
    with run.open_local(name) as path:
        stored, batches = read_parquet(path)
        fingerprint.require_match(stored)
        yield from batches


def read_account(run: RunFolder, shard: str) -> PartAccount:
    """Returns the account of a part.

    Raises:
        StoreError: It cannot be read, or is none of ours.
    """
    name = name_part("part", shard)
    with _open_part(run, name) as part:
        notes: Mapping[bytes, bytes] = part.schema_arrow.metadata or {}
    try:
        return PartAccount(**json.loads(notes[_ACCOUNT_KEY.encode()]))
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(
            f"the part {quote(name)} has no account of its shard; remove it, and it is made again"
        ) from error


def read_accounts(run: RunFolder, shards: Iterable[str]) -> dict[str, PartAccount]:
    """Returns the accounts of those parts that can be read, by shard."""

    def read(shard: str) -> PartAccount | None:
        try:
            return read_account(run, shard)
        except StoreError as error:
            _LOGGER.info("the part of the shard %s is made again: %s", shard, error)
            return None

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="read-accounts") as threads:
        found = threads.map(read, shards)
        return {account.shard: account for account in found if account is not None}


def read_columns(run: RunFolder, name: str) -> PartColumns:
    """Returns ids and sources of a part, or of the duplicates of one; vectors are not read.

    Raises:
        StoreError: It cannot be read.
    """
    with _open_part(run, name) as part:
        table: Any = part.read(columns=["id", "sources"], use_threads=False)
        sources: list[str] = table.column("sources").combine_chunks().flatten().unique().to_pylist()
        ids: list[str] = table.column("id").to_pylist()
    return PartColumns(ids=ids, sources=frozenset(sources))


def list_row_groups(run: RunFolder, name: str) -> list[tuple[RowGroup, Sequence[str]]]:
    """Returns the groups of rows of a part, each with the ids of its units; vectors are not read.

    Raises:
        StoreError: It cannot be read.
    """
    groups: list[tuple[RowGroup, Sequence[str]]] = []
    with _open_part(run, name) as part:
        for number in range(part.num_row_groups):
            ids: list[str] = part.read_row_group(number, columns=["id"], use_threads=False).column("id").to_pylist()
            groups.append((RowGroup(part=name, number=number, rows=len(ids)), ids))
    return groups


def read_group_vectors(run: RunFolder, group: RowGroup) -> npt.NDArray[Any]:
    """Returns the vectors of a group of rows, `(rows, dimensions)`.

    Raises:
        StoreError: The part cannot be read.
    """
    with _open_part(run, group.part) as part:
        table = part.read_row_group(group.number, columns=["vector"], use_threads=False)
        column = table.column("vector").combine_chunks()
        return column.flatten().to_numpy().reshape(-1, column.type.list_size)


def group_rows(rows: Iterable[T]) -> Iterator[list[T]]:
    """Yields rows in groups that are written together."""
    remaining = iter(rows)
    while group := list(islice(remaining, ROW_GROUP_ROWS)):
        yield group


def pick_rows(batch: ExportBatch, places: Sequence[int]) -> ExportBatch:
    """Returns some rows of a batch, in their order."""
    return ExportBatch(
        ids=[batch.ids[place] for place in places],
        metadata=[batch.metadata[place] for place in places],
        texts=[batch.texts[place] for place in places],
        contents=[batch.contents[place] for place in places],
        sources=[batch.sources[place] for place in places],
        vectors=batch.vectors[np.asarray(places, dtype=np.int64)],
    )


@contextmanager
def _open_part(run: RunFolder, name: str) -> Generator[Any, None, None]:
    parquet = import_extra("pyarrow.parquet", purpose="parts", extra="jobs")
    with run.open_file(name) as file:
        try:
            yield parquet.ParquetFile(file)
        except (OSError, ValueError) as error:
            raise StoreError(f"the part {quote(name)} is damaged ({error}); remove it, and it is made again") from error
