"""From files and items to batches of units: read in one thread, embedded in another, entered group by group.

While the model computes one group, the next is hashed, opened, rendered and tokenised. At most three groups are held
at a time, however many files there are. Files are finished in their order, so that what is in the store when a process
ends is the beginning of the work.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy.typing as npt

from qwen3_vl_retrieval.documents.identity import hash_space, is_same_content, read_signature
from qwen3_vl_retrieval.documents.units import MOST_COSTLY_PAGES, load_item
from qwen3_vl_retrieval.errors import InputError, MediaError, MediaPolicyError
from qwen3_vl_retrieval.index.ingest.prefetch import look_ahead
from qwen3_vl_retrieval.index.ingest.progress import RunCounter
from qwen3_vl_retrieval.index.ingest.source_reader import (
    FileRead,
    Finding,
    FoundUnit,
    KnownFailure,
    SourceReader,
    UnchangedFile,
    UnitReader,
    UnreadableSource,
    describe_failures,
    is_passing,
)
from qwen3_vl_retrieval.index.ingest.target import IngestTarget
from qwen3_vl_retrieval.index.results.hits import FailedFile
from qwen3_vl_retrieval.index.store.catalog import Attempt, FileState, Metadata
from qwen3_vl_retrieval.index.store.store import Batch
from qwen3_vl_retrieval.items import ImageReading, Item
from qwen3_vl_retrieval.media.images import check_image_reading
from qwen3_vl_retrieval.media.policy import MediaPolicy, shorten_name
from qwen3_vl_retrieval.paths import decode_path
from qwen3_vl_retrieval.protocols import Embedder, Prepared

__all__ = ["run_pipeline"]

_GROUP_UNITS = 32
"""Units that are embedded and entered together: enough to fill forward passes, few enough to be lost."""

_GROUP_FINDINGS = 512
"""Findings that are entered together where little or nothing has to be embedded."""

_LOADING_THREADS = min(8, os.cpu_count() or 1)
"""Pages that are rendered at the same time, each in a process of its own."""

_GROUPS_UNDER_WAY = 4
"""Groups that may be read and not be in the catalog yet: read, waiting, computed, and one to spare."""


@dataclass(slots=True, kw_only=True)
class _Group:
    """Findings in their order; the new units among them, and their items, read and tokenised."""

    findings: list[Finding] = field(default_factory=list[Finding])
    loading: list[tuple[FoundUnit, Future[Item]]] = field(default_factory=list[tuple[FoundUnit, Future[Item]]])
    new: list[FoundUnit] = field(default_factory=list[FoundUnit])
    items: list[Item] = field(default_factory=list[Item])
    failures: dict[str, InputError] = field(default_factory=dict[str, InputError])
    prepared: Prepared = ()

    @property
    def is_full(self) -> bool:
        """Whether it is time to embed it."""
        return len(self.loading) >= _GROUP_UNITS or len(self.findings) >= _GROUP_FINDINGS

    def finish_loading(self) -> None:
        """Waits for the items of new units; those that cannot be loaded are failures."""
        for found, loaded in self.loading:
            try:
                self.items.append(loaded.result())
            except InputError as error:
                self.failures[found.record.id] = error.at(None)
            else:
                self.new.append(found)
        self.loading.clear()


def run_pipeline(
    target: IngestTarget,
    embedder: Embedder,
    sources: Iterable[Path | Item],
    counter: RunCounter,
    *,
    policy: MediaPolicy,
    read_units: UnitReader,
    metadata: Metadata | Sequence[Metadata | None] | None,
    conditions: str,
    retry_failed: bool = False,
    cache_media: Callable[[Sequence[Item]], object] | None = None,
) -> None:
    """Embeds what is new in `sources` and enters it in the target.

    Args:
        target: Where to.
        embedder: With the fingerprint of the target.
        sources: Files (`Path`), and items in memory.
        counter: Is kept up to date.
        policy: What may be opened here; the embedder has its own.
        read_units: Turns a file into units.
        metadata: The caller's own, of all units, or those of each source; `None` leaves what was given before.
        conditions: Hash of what decides, beside a file, whether it can be read; see `hash_conditions`.
        retry_failed: Read files again that could not be read, and have not changed.
        cache_media: Is called with the items of each group that is embedded.

    Raises:
        StoreError: The disk or Chroma fails.
    """
    reading = check_image_reading(target.fingerprint.image_reading)
    reader = SourceReader(
        target,
        space=hash_space(target.fingerprint),
        policy=policy,
        read_units=read_units,
        image_reading=reading,
        conditions=conditions,
        retry_failed=retry_failed,
        on_file=counter.begin_file,
    )
    writer = _GroupWriter(target, counter, conditions)
    described = zip(sources, metadata if isinstance(metadata, Sequence) else repeat(metadata), strict=False)

    def read_groups(is_closed: threading.Event) -> Generator[_Group, None, None]:
        with ThreadPoolExecutor(max_workers=_LOADING_THREADS, thread_name_prefix="load-pages") as threads:
            loader = _ItemLoader(threads, policy, reading, is_closed)
            for group in _collect_groups(reader.read(described), target, loader):
                group.finish_loading()
                if is_closed.is_set():
                    return
                group.prepared = embedder.prepare(group.items, on_error="return")
                yield group

    with closing(look_ahead(read_groups, depth=1, on_wait=counter.tell_file)) as groups:
        for group in groups:
            writer.write(group, list(embedder.embed_prepared(group.prepared, on_error="return")))
            if cache_media is not None and (shown := [item for item in group.items if not isinstance(item, str)]):
                cache_media(shown)


def _collect_groups(
    findings: Iterable[Finding], target: IngestTarget, loader: _ItemLoader
) -> Generator[_Group, None, None]:
    """Findings in groups, the items of new units loaded. What is under way in an earlier group is not loaded again."""
    under_way: list[set[str]] = [set()]
    group = _Group()
    for finding in findings:
        group.findings.append(finding)
        if isinstance(finding, FoundUnit):
            unit_id = finding.record.id
            if not any(unit_id in ids for ids in under_way) and not target.has_vector(unit_id):
                under_way[0].add(unit_id)
                group.loading.append((finding, loader.load(finding)))
        if group.is_full or loader.is_closed.is_set():
            yield group
            group = _Group()
            under_way = [set(), *under_way[: _GROUPS_UNDER_WAY - 1]]
    yield group


class _ItemLoader:
    """Loads the items of units, several pages at a time; the rest of a file with too many costly pages is given up."""

    def __init__(
        self, threads: ThreadPoolExecutor, policy: MediaPolicy, image_reading: ImageReading, is_closed: threading.Event
    ) -> None:
        self._threads = threads
        self._policy = policy
        self._image_reading: ImageReading = image_reading
        self._costly_pages: Counter[Path] = Counter()
        self.is_closed = is_closed

    def load(self, found: FoundUnit) -> Future[Item]:
        """Returns the item once it is loaded, or why it cannot be."""
        return self._threads.submit(self._load, found)

    def _load(self, found: FoundUnit) -> Item:
        if found.item is not None:
            return found.item
        unit = found.record.unit
        path = unit.source
        if self.is_closed.is_set() or self._costly_pages[path] >= MOST_COSTLY_PAGES:
            raise MediaPolicyError(
                f"this page of {shorten_name(str(path))!r} was not read: {MOST_COSTLY_PAGES} pages of the file took "
                "more time or memory than the MediaPolicy allows (max_read_seconds, max_read_bytes)"
            )
        try:
            return load_item(unit, self._policy, image_reading=self._image_reading)
        except MediaPolicyError:
            self._costly_pages[path] += 1
            raise


class _GroupWriter:
    """Enters groups in the target, in the thread that computes."""

    def __init__(self, target: IngestTarget, counter: RunCounter, conditions: str) -> None:
        self._target = target
        self._counter = counter
        self._conditions = conditions
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
                    self._give_up(finding.source, finding.failure, batch, finding.attempt)
                case KnownFailure():
                    self._recall(finding, batch)
        if group.findings:
            self._counter.removed_units += self._target.add_batch(batch)
            self._counter.tell()

    def _place(self, found: FoundUnit, batch: Batch, *, is_fresh: bool) -> None:
        error = self._failed_units.get(found.record.id)
        if error is None:
            batch.places.append(found.place)
            if found.is_part:
                self._placed.add(found.place.source)
            if not is_fresh:
                batch.known[found.record.id] = found.record
            self._counter.reused_units += not is_fresh
            return
        unit = found.record.unit
        if unit.is_in_file:
            failure = FailedFile.of_unit(unit, error)
        else:
            failure = FailedFile(path=decode_path(found.place.source), unit=None, error=error)
        if not found.is_part:
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
        state = read.state
        attempt = Attempt(source=source, sha256=state.sha256, signature=state.signature, conditions=self._conditions)
        is_settled = failures and not any(is_passing(failure.error, failure.path) for failure in failures)
        if failures and not has_units:
            # Like a file that could not be opened at all.
            self._give_up(source, failures[0], batch, attempt if is_settled else None)
            self._counter.failures.extend(failures[1:])
            batch.failures[source] = describe_failures(failures)
            return
        batch.finished.append(state)
        batch.failures[source] = describe_failures(failures)
        if is_settled:
            batch.attempts.append(attempt)
        self._counter.failures.extend(failures)
        match read.outcome:
            case "added":
                self._counter.added_files += 1
            case "changed":
                self._counter.changed_files += 1
            case "unchanged":
                self._counter.unchanged_files += 1

    def _keep(self, file: UnchangedFile, batch: Batch) -> None:
        self._counter.unchanged_files += 1
        self._counter.add_known_failures(file.failures)
        batch.places.extend(file.places)
        if file.state is not None:
            batch.finished.append(file.state)
        if file.attempt is not None:
            batch.attempts.append(file.attempt)

    def _recall(self, file: KnownFailure, batch: Batch) -> None:
        self._counter.failed_files += 1
        self._counter.add_known_failures(file.failures)
        if file.attempt is not None:
            batch.attempts.append(file.attempt)

    def _give_up(self, source: str, failure: FailedFile, batch: Batch, attempt: Attempt | None = None) -> None:
        """Nothing that was known of the file holds any more."""
        batch.lost.append(source)
        batch.failures[source] = describe_failures([failure])
        if attempt is not None:
            batch.attempts.append(attempt)
        self._counter.failures.append(failure)
        self._counter.failed_files += 1


def _is_as_read(state: FileState) -> bool:
    try:
        return is_same_content(state.signature, read_signature(decode_path(state.source)))
    except MediaError:
        return False
