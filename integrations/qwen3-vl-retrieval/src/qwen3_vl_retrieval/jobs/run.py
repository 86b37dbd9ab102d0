"""A run from its source to its parts: listed, cut into shards, embedded where nothing is finished yet, and verified."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.jobs.entries import group_contents
from qwen3_vl_retrieval.jobs.executor import Executor
from qwen3_vl_retrieval.jobs.in_process import InProcessExecutor
from qwen3_vl_retrieval.jobs.listing import SourceListing, SourceOptions, list_source
from qwen3_vl_retrieval.jobs.parts import PartAccount, PartKind, list_part_names, name_part, read_account
from qwen3_vl_retrieval.jobs.plan import Manifest, Plan, find_plan, read_manifest, write_plan
from qwen3_vl_retrieval.jobs.reading import PartPrecision, ReadingOptions, hash_settings
from qwen3_vl_retrieval.jobs.report import OnRunProgress, RunProgress, RunReport
from qwen3_vl_retrieval.jobs.run_folder import RunFolder
from qwen3_vl_retrieval.jobs.settling import settle_duplicates
from qwen3_vl_retrieval.jobs.shard_embedder import hash_work_conditions
from qwen3_vl_retrieval.jobs.shards import SHARD_UNITS, Shard, cut_shards
from qwen3_vl_retrieval.jobs.supervision import Supervisor
from qwen3_vl_retrieval.jobs.tasks import ShardOutcome, ShardTask, WorkSettings
from qwen3_vl_retrieval.jobs.verification import Verification, read_failures, verify_parts
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.paths import list_prefixes
from qwen3_vl_retrieval.protocols import Embedder, PlainEmbedder

__all__ = ["RESULT", "embed_source", "read_accounts"]

RESULT = "run.json"
"""Says which parts count, when a run has ended."""

_THREADS = 16

_HOLDERS: Sequence[PartKind] = ("part", "obsolete", "duplicates")
"""Files that may hold the vectors of a shard that is no longer in the plan."""

_LOGGER = logging.getLogger(__name__)


def embed_source(
    source: str | Path,
    run: str | Path,
    executor: Executor | Embedder | PlainEmbedder,
    *,
    media_policy: MediaPolicy | None = None,
    reading: ReadingOptions | None = None,
    precision: PartPrecision = "float32",
    exclude: Sequence[str] = (),
    is_list: bool = False,
    shard_units: int | None = None,
    retry_failed: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    on_progress: OnRunProgress | None = None,
    on_trouble: Callable[[str], None] | None = None,
) -> RunReport:
    """Embeds all that a source holds into the parts of a run, and returns what came of it.

    Called again, with the same arguments, it goes on where an earlier call was interrupted, and embeds what is new or
    changed. What a finished call reports as complete has every unit once, or names it as a failure.

    Args:
        source: A folder or file, the URL of one in an object store, or a list of addresses (see `is_list`).
        run: The folder of the run, or its URL; one for each source and model.
        executor: Where it is computed: `InProcessExecutor`, `ProcessExecutor`, `RayExecutor`, or a model, which then
            computes in this process. It is closed at the end, and a model is not.
        media_policy: What may be opened and downloaded; `None` is any local file. Models have policies of their own.
        reading: How files are taken apart; `None` is the default of an index.
        precision: Number format of the vectors in parts.
        exclude: Patterns of files to leave out, as in a `.gitignore` file in the folder.
        is_list: Whether the source is a file with an address (path or URL) a line. One that is downloaded is.
        shard_units: Units of a shard, roughly; `None` is as in the earlier call, or 512.
        retry_failed: Embed shards again that have failures. By default that is done only where the cause may be gone:
            a disk or network that failed, or other limits, options or versions.
        storage_options: Options of the file systems of source and run where they are URLs.
        on_progress: Called after every shard.
        on_trouble: Told in a sentence when a worker ended and what is done about it.

    Raises:
        InputError: There is no such source.
        StoreError: Another process is at work on the run, or it cannot be read or written.
        FingerprintMismatchError: The run was begun with another model.
        ModelError: A model cannot be loaded.
        RemoteError: No engine elsewhere can be reached.
        ValueError: An option is out of range.
    """
    if shard_units is not None and shard_units < 1:
        raise ValueError(f"shard_units={shard_units} must be at least 1")
    begun = perf_counter()
    folder = RunFolder(run, storage_options)
    chosen = SourceOptions(
        policy=MediaPolicy() if media_policy is None else media_policy,
        exclude=exclude,
        is_list=is_list,
        storage_options={} if storage_options is None else dict(storage_options),
    )
    settings = WorkSettings(
        run=folder,
        policy=chosen.policy,
        reading=ReadingOptions() if reading is None else reading,
        precision=precision,
        storage_options=chosen.storage_options,
    )
    placed: Executor = InProcessExecutor(executor) if isinstance(executor, PlainEmbedder) else executor
    with folder.hold(), closing(placed):
        before = find_plan(folder)
        known = Manifest(files={}, shards={}) if before is None else _read_known(folder, before)
        listing = list_source(str(source), chosen, known.files)
        _leave_out_run(listing, folder)
        fingerprint = placed.start(settings)
        if before is not None:
            fingerprint.require_match(before.read_fingerprint())
        units = shard_units if shard_units is not None else SHARD_UNITS if before is None else before.shard_units
        job = _Job(
            source=str(source),
            folder=folder,
            settings=settings,
            fingerprint=fingerprint,
            listing=listing,
            shard_units=units,
        )
        job.plan(known)
        job.find_finished(retry_failed=retry_failed)
        job.embed(placed, on_progress, on_trouble)
        return job.finish(placed.device_count, begun)


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


def _leave_out_run(listing: SourceListing, folder: RunFolder) -> None:
    """A run may lie in the folder that it embeds; its own files are no documents."""
    if folder.local is not None:
        prefixes = list_prefixes(folder.local)
        listing.files = [file for file in listing.files if not file.source.startswith(prefixes)]


def _read_known(folder: RunFolder, before: Plan) -> Manifest:
    try:
        return read_manifest(folder, before)
    except StoreError as error:
        # It saves hashing and embedding what is known, and that is all.
        _LOGGER.info("files are listed anew: %s", error)
        return Manifest(files={}, shards={})


@dataclass(slots=True, kw_only=True)
class _Job:
    """One call of `embed_source`, step by step."""

    source: str
    folder: RunFolder
    settings: WorkSettings
    fingerprint: Fingerprint
    listing: SourceListing
    shard_units: int
    manifest: str = ""
    shards: list[Shard] = field(default_factory=list[Shard])
    finished: dict[str, PartAccount] = field(default_factory=dict[str, PartAccount])
    fresh: list[PartAccount] = field(default_factory=list[PartAccount])
    reasons: dict[str, str] = field(default_factory=dict[str, str])
    to_retry: set[str] = field(default_factory=set[str])
    former: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    names: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def plan(self, known: Manifest) -> None:
        """Cuts the source into shards, and writes down what there is to do."""
        entries = group_contents(self.listing.files)
        settings = hash_settings(self.fingerprint, self.settings.reading, self.settings.precision)
        self.shards = cut_shards(entries, shard_units=self.shard_units, settings=settings)
        planned = {shard.hash for shard in self.shards}
        for source, shard in known.shards.items():
            if shard not in planned:
                self.former.setdefault(known.files[source].identity, set()).add(shard)
        self.manifest = write_plan(
            self.folder,
            Plan(
                source=self.source,
                manifest="",
                fingerprint=self.fingerprint.to_dict(),
                settings=settings,
                shard_units=self.shard_units,
                files=len(self.listing.files),
                contents=len(entries),
                expected_units=sum(shard.expected_units for shard in self.shards),
                shards={shard.hash: shard.expected_units for shard in self.shards},
                skipped=len(self.listing.skipped),
                listing_failures=len(self.listing.failures),
                started_at=time.time(),
            ),
            self.listing.files,
            self.shards,
        ).manifest

    def find_finished(self, *, retry_failed: bool) -> None:
        """Finds the shards that are finished, and those of them that are worth another try."""
        self.names = list_part_names(self.folder)
        self._revive()
        present = [shard.hash for shard in self.shards if shard.hash in self.names["part"]]
        self.finished = read_accounts(self.folder, present)
        conditions = hash_work_conditions(self.settings)
        for shard, account in list(self.finished.items()):
            if not account.failures:
                continue
            if shard not in self.names["failures"]:
                # It was interrupted between the two.
                del self.finished[shard]
                continue
            is_worth_it = retry_failed or account.conditions != conditions
            if is_worth_it or any(failure.is_passing for failure in read_failures(self.folder, account)):
                self.to_retry.add(shard)

    def embed(
        self,
        executor: Executor,
        on_progress: OnRunProgress | None,
        on_trouble: Callable[[str], None] | None,
    ) -> None:
        """Has all shards embedded that are not finished."""
        todo = [shard for shard in self.shards if shard.hash not in self.finished or shard.hash in self.to_retry]
        progress = _Progress(self, todo, on_progress)
        progress.tell()
        supervisor = Supervisor(executor, _LOGGER.warning if on_trouble is None else on_trouble)
        for outcome in supervisor.run(map(self._build_task, todo)):
            self._enter(outcome)
            progress.tell()

    def finish(self, device_count: int, begun: float) -> RunReport:
        """Counts what is there, puts away what counts no longer, and writes down what came of it."""
        self.names = list_part_names(self.folder)
        verification = verify_parts(self.folder, self.shards, self.finished, self.names["duplicates"], self.reasons)
        counts = settle_duplicates(self.folder, self.fingerprint, verification.surveys, self.finished)
        if not verification.missing:
            self._put_away()
        report = self._build_report(verification, counts, device_count, begun)
        described = _describe_result(report, self.fingerprint, self.manifest)
        self.folder.write(RESULT, json.dumps(described, ensure_ascii=False).encode("utf-8", "replace"))
        return report

    def _revive(self) -> None:
        """Takes parts back that became obsolete, and whose contents are there again."""
        for shard in self.shards:
            if shard.hash in self.names["obsolete"] and shard.hash not in self.names["part"]:
                for old, new in (("obsolete-failures", "failures"), ("obsolete", "part")):
                    if shard.hash in self.names[old]:
                        self._rename(old, new, shard.hash)

    def _rename(self, old: PartKind, new: PartKind, shard: str) -> None:
        self.folder.rename(name_part(old, shard), name_part(new, shard))
        self.names[old].discard(shard)
        self.names[new].add(shard)

    def _build_task(self, shard: Shard) -> ShardTask:
        reuse: list[str] = []
        if shard.hash in self.finished:
            reuse.append(name_part("part", shard.hash))
            if shard.hash in self.names["duplicates"]:
                reuse.append(name_part("duplicates", shard.hash))
        former = {old for entry in shard.entries for old in self.former.get(entry.identity, ())}
        for old in sorted(former):
            reuse += [name_part(kind, old) for kind in _HOLDERS if old in self.names[kind]]
        return ShardTask(shard=shard, reuse=tuple(reuse))

    def _enter(self, outcome: ShardOutcome) -> None:
        shard = outcome.task.shard.hash
        if outcome.account is not None:
            self.finished[shard] = outcome.account
            self.fresh.append(outcome.account)
            return
        self.reasons[shard] = str(outcome.error) if outcome.error is not None else str(outcome.crash)
        # A part of an earlier call still counts; its failures are named there.

    def _build_report(
        self, verification: Verification, counts: Mapping[str, int], device_count: int, begun: float
    ) -> RunReport:
        planned = {shard.hash for shard in self.shards}
        units = sum(counts.values())
        obsolete = self.names["part"] - planned
        return RunReport(
            location=self.folder.location,
            parts={name_part("part", shard): count for shard, count in counts.items()},
            units=units,
            duplicate_units=sum(self.finished[survey.shard].units for survey in verification.surveys) - units,
            files=len(self.listing.files),
            duplicate_files=len(self.listing.files) - sum(len(shard.entries) for shard in self.shards),
            skipped=self.listing.skipped,
            failures=(*self.listing.failures, *verification.failures),
            missing=verification.missing,
            obsolete_parts=sorted(
                [name_part("part", shard) for shard in obsolete]
                + [name_part("obsolete", shard) for shard in self.names["obsolete"]]
            ),
            embedded_units=sum(account.units - account.reused_units for account in self.fresh),
            finished_shards=len(self.fresh),
            device_seconds=sum(account.seconds for account in self.fresh),
            device_count=device_count,
            seconds=perf_counter() - begun,
        )

    def _put_away(self) -> None:
        """Gives parts that count no longer a name that nobody reads by mistake."""
        planned = {shard.hash for shard in self.shards}
        for shard in sorted(self.names["part"] - planned):
            self._rename("part", "obsolete", shard)
            if shard in self.names["failures"]:
                self._rename("failures", "obsolete-failures", shard)
        for name in self.folder.list_names():
            if name.startswith("manifest-") and name != self.manifest:
                self.folder.remove(name)


class _Progress:
    """How far a call is, by the units that are expected."""

    def __init__(self, job: _Job, todo: Sequence[Shard], on_progress: OnRunProgress | None) -> None:
        self._job = job
        self._todo = {shard.hash: shard for shard in todo}
        self._expected = sum(shard.expected_units for shard in todo)
        self._on_progress = on_progress
        self._begun = perf_counter()
        self._files = {shard.hash: shard.file_count for shard in job.shards}

    def tell(self) -> None:
        """Calls `on_progress`, if there is one."""
        if self._on_progress is None:
            return
        job = self._job
        seconds = max(perf_counter() - self._begun, 1e-9)
        fresh = {account.shard for account in job.fresh}
        done = [shard for shard in job.finished if shard not in self._todo or shard in fresh]
        expected = sum(self._todo[shard].expected_units for shard in fresh)
        embedded = sum(account.units - account.reused_units for account in job.fresh)
        self._on_progress(
            RunProgress(
                shards_done=len(done),
                shards_total=len(job.shards),
                files_done=sum(self._files[shard] for shard in done),
                files_total=len(job.listing.files),
                units_embedded=embedded,
                units_per_second=embedded / seconds,
                seconds_left=seconds / expected * (self._expected - expected) if expected else None,
                failures=len(job.listing.failures) + sum(job.finished[shard].failures for shard in done),
            )
        )


def _describe_result(report: RunReport, fingerprint: Fingerprint, manifest: str) -> dict[str, Any]:
    """The outcome as it is kept: what is long is in files of its own, or in numbers."""
    described = replace(report, failures=()).to_dict()
    return {
        **described,
        "failures": len(report.failures),
        "skipped": len(report.skipped),
        "fingerprint": fingerprint.to_dict(),
        "plan": manifest,
        "ended_at": time.time(),
    }
