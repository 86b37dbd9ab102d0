"""From files and items to batches of a store: read in one thread, embedded in another, written group by group.

While the model computes one group, the next is hashed, opened, rendered and tokenised. At most three groups are held
at a time, however many files there are. Files are finished in their order, so that what is in the store when a process
ends is the beginning of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from qwen3_vl_retrieval.errors import InputError, MediaError
from qwen3_vl_retrieval.index.batches import Batch
from qwen3_vl_retrieval.index.embedding import Prepared, compute_vectors, prepare_documents
from qwen3_vl_retrieval.index.findings import (
    FileRead,
    Finding,
    FoundUnit,
    SourceReader,
    UnchangedFile,
    UnitReader,
    UnreadableSource,
)
from qwen3_vl_retrieval.index.identity import hash_space, is_same_content, read_signature
from qwen3_vl_retrieval.index.lookahead import look_ahead
from qwen3_vl_retrieval.index.progress import RunCounter
from qwen3_vl_retrieval.index.records import FileState, Metadata
from qwen3_vl_retrieval.index.results import FailedFile
from qwen3_vl_retrieval.index.store import Store
from qwen3_vl_retrieval.index.units import load_item
from qwen3_vl_retrieval.inputs import Embedder, Item
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.paths import decode_path

__all__ = ["run_pipeline"]

_GROUP_UNITS = 32
"""Units that are embedded and entered together: enough to fill forward passes, few enough to be lost."""

_GROUP_FINDINGS = 512
"""Findings that are entered together where little or nothing has to be embedded."""

_GROUPS_UNDER_WAY = 4
"""Groups that may be read and not be in the catalog yet: read, waiting, computed, and one to spare."""


@dataclass(slots=True, kw_only=True)
class _Group:
    """Findings in their order; the new units among them, and their items, read and tokenised."""

    findings: list[Finding] = field(default_factory=list[Finding])
    new: list[FoundUnit] = field(default_factory=list[FoundUnit])
    items: list[Item] = field(default_factory=list[Item])
    failures: dict[str, InputError] = field(default_factory=dict[str, InputError])
    prepared: Prepared = ()

    @property
    def is_full(self) -> bool:
        """Whether it is time to embed it."""
        return len(self.items) >= _GROUP_UNITS or len(self.findings) >= _GROUP_FINDINGS


def run_pipeline(
    store: Store,
    embedder: Embedder,
    sources: Iterable[Path | Item],
    counter: RunCounter,
    *,
    policy: MediaPolicy,
    read_units: UnitReader,
    metadata: Metadata | None,
    cache_media: Callable[[Sequence[Item]], object] | None = None,
) -> None:
    """Embeds what is new in `sources` and enters it in the store, inside `store.write()`.

    Args:
        store: Where to.
        embedder: With the fingerprint of the store.
        sources: Files (`Path`), and items in memory.
        counter: Is kept up to date.
        policy: What may be opened here; the embedder has its own.
        read_units: Turns a file into units.
        metadata: The caller's own, of all units; `None` leaves what was given before.
        cache_media: Is called with the items of each group that is embedded.

    Raises:
        StoreError: The disk or Chroma fails.
    """
    reader = SourceReader(
        store.catalog,
        store.layout.media,
        space=hash_space(store.head.fingerprint),
        policy=policy,
        read_units=read_units,
        metadata=metadata,
    )
    writer = _GroupWriter(store, counter)

    def read_groups() -> Generator[_Group, None, None]:
        for group in _collect_groups(reader.read(sources), store, policy):
            group.prepared = prepare_documents(embedder, group.items)
            yield group

    with closing(look_ahead(read_groups, depth=1)) as groups:
        for group in groups:
            writer.write(group, compute_vectors(embedder, group.prepared))
            if cache_media is not None and (shown := [item for item in group.items if not isinstance(item, str)]):
                cache_media(shown)


def _collect_groups(findings: Iterable[Finding], store: Store, policy: MediaPolicy) -> Generator[_Group, None, None]:
    """Findings in groups, the items of new units loaded. What is under way in an earlier group is not loaded again."""
    under_way: list[set[str]] = [set()]
    group = _Group()
    for finding in findings:
        group.findings.append(finding)
        if isinstance(finding, FoundUnit):
            unit_id = finding.record.id
            if not any(unit_id in ids for ids in under_way) and not store.catalog.find_rows([unit_id]):
                under_way[0].add(unit_id)
                _load(finding, group, policy)
        if group.is_full:
            yield group
            group = _Group()
            under_way = [set(), *under_way[: _GROUPS_UNDER_WAY - 1]]
    yield group


def _load(found: FoundUnit, group: _Group, policy: MediaPolicy) -> None:
    try:
        item = found.item if found.unit is None else load_item(found.unit, policy)
    except InputError as error:
        group.failures[found.record.id] = error.at(None)
        return
    if item is not None:
        group.new.append(found)
        group.items.append(item)


class _GroupWriter:
    """Enters groups in the store, in the thread that computes."""

    def __init__(self, store: Store, counter: RunCounter) -> None:
        self._store = store
        self._counter = counter
        # Of files that are not finished yet, and of units: the same content fails wherever else it stands.
        self._failures: dict[str, list[FailedFile]] = {}
        self._placed: set[str] = set()
        self._failed_units: dict[str, InputError] = {}

    def write(self, group: _Group, vectors: Sequence[npt.NDArray[Any] | InputError]) -> None:
        """Enters one group as one batch."""
        batch = Batch()
        self._failed_units.update(group.failures)
        for found, vector in zip(group.new, vectors, strict=True):
            if isinstance(vector, InputError):
                self._failed_units[found.record.id] = vector.at(None)
            else:
                batch.records.append(found.record)
                batch.vectors.append(vector)
        fresh = {record.id for record in batch.records}
        self._counter.embedded_units += len(fresh)
        for finding in group.findings:
            match finding:
                case FoundUnit():
                    self._place(finding, batch, is_fresh=finding.record.id in fresh)
                    fresh.discard(finding.record.id)
                case FileRead():
                    self._finish(finding, batch)
                case UnchangedFile():
                    self._keep(finding, batch)
                case UnreadableSource():
                    self._give_up(finding.source, finding.failure, batch)
        if group.findings:
            self._counter.removed_units += self._store.add_batch(batch)
            self._counter.tell()

    def _place(self, found: FoundUnit, batch: Batch, *, is_fresh: bool) -> None:
        error = self._failed_units.get(found.record.id)
        if error is None:
            batch.places.append(found.place)
            if found.unit is not None:
                self._placed.add(found.place.source)
            self._counter.reused_units += not is_fresh
            return
        # A picture, and a clip of one window, are the whole file.
        unit = found.unit
        is_whole = unit is None or unit.media_type == "image" or (unit.media_type == "video" and unit.start is None)
        path = decode_path(found.place.source) if unit is None else unit.source
        failure = FailedFile(path=path, unit=None if is_whole else unit, error=error)
        if unit is None:
            self._give_up(found.place.source, failure, batch)
        else:
            self._failures.setdefault(found.place.source, []).append(failure)

    def _finish(self, read: FileRead, batch: Batch) -> None:
        source = read.state.source
        failures = self._failures.pop(source, [])
        has_units = source in self._placed
        self._placed.discard(source)
        if not _is_as_read(read.state):
            # Hash and pixels may be of different contents: nothing of it is kept.
            error = MediaError("the file was written to while it was being read; index it again")
            self._give_up(source, FailedFile(path=decode_path(source), unit=None, error=error), batch)
            return
        if failures and not has_units:
            # Read again the next time, like a file that could not be opened at all.
            for failure in failures:
                self._give_up(source, failure, batch)
            self._counter.failed_files -= len(failures) - 1
            batch.failures[source] = [_describe(failure) for failure in failures]
            return
        batch.finished.append(read.state)
        batch.failures[source] = [_describe(failure) for failure in failures]
        self._counter.failures.extend(failures)
        if read.is_new:
            self._counter.added_files += 1
        else:
            self._counter.changed_files += 1

    def _keep(self, file: UnchangedFile, batch: Batch) -> None:
        self._counter.unchanged_files += 1
        batch.places.extend(file.places)
        if file.state is not None:
            batch.finished.append(file.state)

    def _give_up(self, source: str, failure: FailedFile, batch: Batch) -> None:
        """Nothing that was known of the file holds any more."""
        batch.lost.append(source)
        batch.failures[source] = [_describe(failure)]
        self._counter.failures.append(failure)
        self._counter.failed_files += 1


def _is_as_read(state: FileState) -> bool:
    try:
        return is_same_content(state.signature, read_signature(decode_path(state.source)))
    except MediaError:
        return False


def _describe(failure: FailedFile) -> tuple[Any, ...]:
    """Page, start, end, error and message, as the catalog keeps them."""
    unit, error = failure.unit, failure.error
    place = (None, None, None) if unit is None else (unit.page, unit.start, unit.end)
    return (*place, type(error).__name__, error.reason)
