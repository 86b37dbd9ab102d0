"""What a run has to do: the files of its source with their contents and shards, kept beside the parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qwen3_vl_retrieval.documents.identity import Signature
from qwen3_vl_retrieval.errors import StoreError, quote
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.jobs.entries import ListedFile
from qwen3_vl_retrieval.jobs.run_folder import RunFolder
from qwen3_vl_retrieval.jobs.shards import Shard
from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["Manifest", "Plan", "find_plan", "read_manifest", "write_plan"]

_PLAN = "plan.json"

_VERSION = 1

_LOOKS = ("modified_ns", "changed_ns", "inode", "checked_ns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run has to do, in numbers.

    Attributes:
        source: What is embedded.
        manifest: Name of the list of files.
        fingerprint: Identity of the vectors.
        settings: Hash of all that decides about vectors beside the contents.
        shard_units: Units of a shard, roughly.
        files: Number of files.
        contents: Number of contents: files that are the same are counted once.
        expected_units: How many units they have, roughly.
        shards: Hashes of the shards, each with the number of units that are expected of it.
        skipped: Number of files that take no part.
        listing_failures: Number of files and folders that could not be listed.
        started_at: When the last run over it began, in seconds since 1970.
        version: Of this layout.
    """

    source: str
    manifest: str
    fingerprint: Mapping[str, str | int]
    settings: str
    shard_units: int
    files: int
    contents: int
    expected_units: int
    shards: Mapping[str, int]
    skipped: int
    listing_failures: int
    started_at: float
    version: int = _VERSION

    def read_fingerprint(self) -> Fingerprint:
        """Returns the identity of the vectors."""
        return Fingerprint.from_dict(self.fingerprint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The files of a source.

    Attributes:
        files: Each with its identity, by source.
        shards: The shard of each, by source.
    """

    files: Mapping[str, ListedFile]
    shards: Mapping[str, str]


def find_plan(run: RunFolder) -> Plan | None:
    """Returns the plan of a run; `None` if there is none yet.

    Raises:
        StoreError: It cannot be read, or was written by another version.
    """
    if not run.has(_PLAN):
        return None
    try:
        return Plan(**_check_version(run, json.loads(run.read(_PLAN))))
    except (ValueError, TypeError) as error:
        raise StoreError(f"the plan of {quote(run.location)} is damaged ({error}); remove {_PLAN} and run again") from (
            error
        )


def write_plan(run: RunFolder, plan: Plan, files: Iterable[ListedFile], shards: Sequence[Shard]) -> Plan:
    """Writes the list of files and then the plan that names it, and returns the plan as it was written.

    Raises:
        StoreError: They cannot be written.
    """
    table = _build_table(files, {source: shard.hash for shard in shards for source in _list_sources(shard)})
    named = hashlib.sha256(json.dumps([plan.settings, list(plan.shards)]).encode()).hexdigest()[:16]
    written = replace(plan, manifest=f"manifest-{named}.parquet")

    def write(path: Path) -> None:
        # Seen by its name only when it is whole, wherever it is written.
        unfinished = path.with_name(f".{path.name}.tmp")
        _import_parquet().write_table(table, str(unfinished), compression="zstd")
        unfinished.replace(path)

    run.publish(written.manifest, write)
    run.write(_PLAN, json.dumps(asdict(written)).encode())
    return written


def read_manifest(run: RunFolder, plan: Plan) -> Manifest:
    """Returns the files of a plan.

    Raises:
        StoreError: The list cannot be read.
    """
    files: dict[str, ListedFile] = {}
    shards: dict[str, str] = {}
    with run.open_local(plan.manifest) as path:
        try:
            table: Any = _import_parquet().read_table(str(path))
        except (OSError, ValueError) as error:
            raise StoreError(f"the list {plan.manifest!r} of {quote(run.location)} is damaged: {error}") from error
        for row in _iterate_rows(table):
            looks = [row[name] for name in _LOOKS]
            signature = None
            if None not in looks:
                signature = Signature(size_bytes=row["size_bytes"], **{name: row[name] for name in _LOOKS})
            files[row["source"]] = ListedFile(
                source=row["source"],
                identity=row["identity"],
                size_bytes=row["size_bytes"],
                kind=row["kind"],
                signature=signature,
            )
            shards[row["source"]] = row["shard"]
    return Manifest(files=files, shards=shards)


def _check_version(run: RunFolder, values: dict[str, Any]) -> dict[str, Any]:
    if values.get("version") != _VERSION:
        raise StoreError(
            f"the plan of {quote(run.location)} is of version {values.get('version')!r}, and this package reads "
            f"{_VERSION}; run with the version that wrote it, or into another folder"
        )
    return values


def _list_sources(shard: Shard) -> Iterator[str]:
    return (source for entry in shard.entries for source in entry.sources)


def _build_table(files: Iterable[ListedFile], shards: Mapping[str, str]) -> Any:
    pyarrow = import_extra("pyarrow", purpose="lists of files", extra="jobs")
    ordered = sorted(files, key=lambda file: file.source)
    columns: dict[str, Any] = {
        "source": pyarrow.array([file.source for file in ordered], pyarrow.string()),
        "identity": pyarrow.array([file.identity for file in ordered], pyarrow.string()),
        "size_bytes": pyarrow.array([file.size_bytes for file in ordered], pyarrow.int64()),
        "kind": pyarrow.array([file.kind for file in ordered], pyarrow.string()),
        "shard": pyarrow.array([shards[file.source] for file in ordered], pyarrow.string()),
    }
    for name in _LOOKS:
        values = [None if file.signature is None else getattr(file.signature, name) for file in ordered]
        columns[name] = pyarrow.array(values, pyarrow.int64())
    return pyarrow.table(columns)


def _iterate_rows(table: Any) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def _import_parquet() -> Any:
    return import_extra("pyarrow.parquet", purpose="lists of files", extra="jobs")
