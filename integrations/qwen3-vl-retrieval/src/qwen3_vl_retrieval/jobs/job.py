"""One call that embeds a source: what it plans, what it finds finished, what it has embedded, and what came of it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.jobs.entries import group_contents
from qwen3_vl_retrieval.jobs.executor import Executor
from qwen3_vl_retrieval.jobs.listing import SourceListing
from qwen3_vl_retrieval.jobs.parts import PartAccount, PartKind, list_part_names, name_part, read_accounts
from qwen3_vl_retrieval.jobs.plan import Manifest, Plan, write_plan
from qwen3_vl_retrieval.jobs.reading import hash_settings
from qwen3_vl_retrieval.jobs.report import OnRunProgress, RunReport
from qwen3_vl_retrieval.jobs.run_folder import RunFolder
from qwen3_vl_retrieval.jobs.settling import settle_duplicates
from qwen3_vl_retrieval.jobs.shard_counter import ShardCounter
from qwen3_vl_retrieval.jobs.shard_embedder import hash_work_conditions
from qwen3_vl_retrieval.jobs.shards import Shard, cut_shards
from qwen3_vl_retrieval.jobs.supervision import Supervisor
from qwen3_vl_retrieval.jobs.tasks import ShardOutcome, ShardTask, WorkSettings
from qwen3_vl_retrieval.jobs.verification import Verification, read_failures, verify_parts

__all__ = ["RESULT", "Job"]

RESULT = "run.json"
"""Says which parts count, when a run has ended."""

_HOLDERS: Sequence[PartKind] = ("part", "obsolete", "duplicates")
"""Files that may hold the vectors of a shard that is no longer in the plan."""

_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Job:
    """One call of `embed_source`, step by step: `plan`, `find_finished`, `embed`, `finish`.

    Attributes:
        source: What is embedded.
        folder: Where parts are.
        settings: What all shards have in common.
        fingerprint: Identity of the vectors.
        listing: What the source holds.
        shard_units: Units of a shard, roughly.
        manifest: Name of the list of files.
        shards: All shards, in the order of their sources.
        finished: Accounts of the parts that are there.
        fresh: Those of this call.
        reasons: Why shards are not finished.
        to_retry: Finished shards whose failures are worth another try.
        former: Shards that held a content before, and are no longer in the plan, by identity.
        names: Shards that have a file, by its kind.
    """

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
            try:
                failures = read_failures(self.folder, account)
            except StoreError as error:
                # The part was written, and what it lacks is not named: as good as not finished.
                _LOGGER.info("the shard %s is made again: %s", shard, error)
                del self.finished[shard]
                continue
            is_worth_it = retry_failed or account.conditions != conditions
            if is_worth_it or any(failure.is_passing for failure in failures):
                self.to_retry.add(shard)

    def embed(
        self,
        executor: Executor,
        on_progress: OnRunProgress | None,
        on_trouble: Callable[[str], None] | None,
    ) -> None:
        """Has all shards embedded that are not finished."""
        todo = [shard for shard in self.shards if shard.hash not in self.finished or shard.hash in self.to_retry]
        counter = ShardCounter(
            shards_total=len(self.shards),
            files_total=len(self.listing.files),
            on_progress=on_progress,
            failures=len(self.listing.failures),
        )
        counter.add_finished(account for shard, account in self.finished.items() if shard not in self.to_retry)
        counter.expect(todo)
        counter.tell()
        supervisor = Supervisor(executor, _LOGGER.warning if on_trouble is None else on_trouble)
        for outcome in supervisor.run(map(self._build_task, todo)):
            self._enter(outcome)
            if outcome.account is not None:
                counter.add_fresh(outcome.task.shard, outcome.account)
            counter.tell()

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
                if shard.hash in self.names["obsolete-failures"]:
                    self._rename("obsolete-failures", "failures", shard.hash)
                self._rename("obsolete", "part", shard.hash)

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
