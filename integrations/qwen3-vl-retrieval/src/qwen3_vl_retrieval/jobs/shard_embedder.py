"""A shard read, embedded and written: the work of every executor, wherever it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter
from typing import Any

import numpy.typing as npt

from qwen3_vl_retrieval.documents.units import read_units
from qwen3_vl_retrieval.errors import MediaError, StoreError
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.ingest.pipeline import run_pipeline
from qwen3_vl_retrieval.index.ingest.progress import IndexProgress, OnIndexProgress, RunCounter
from qwen3_vl_retrieval.index.ingest.source_reader import hash_conditions
from qwen3_vl_retrieval.jobs.entries import Entry
from qwen3_vl_retrieval.jobs.failures import NamedFailure, encode_failures, name_error, name_failure
from qwen3_vl_retrieval.jobs.part_target import PartTarget
from qwen3_vl_retrieval.jobs.parts import PartAccount, name_part, read_rows, write_rows
from qwen3_vl_retrieval.jobs.staging import StagedEntries, clear_folders, make_folder, stage_entries
from qwen3_vl_retrieval.jobs.tasks import ShardTask, WorkSettings
from qwen3_vl_retrieval.media.images import check_image_reading
from qwen3_vl_retrieval.paths import encode_path
from qwen3_vl_retrieval.protocols import Embedder

__all__ = ["ShardEmbedder", "hash_work_conditions"]

_LOGGER = logging.getLogger(__name__)


class ShardEmbedder:
    """Embeds one shard after the other.

    Args:
        embedder: The model.
        settings: What all shards have in common.
    """

    def __init__(self, embedder: Embedder, settings: WorkSettings) -> None:
        self._embedder = embedder
        self._settings = settings
        self._read_units = partial(
            read_units,
            window_seconds=settings.reading.window_seconds,
            overlap_seconds=settings.reading.overlap_seconds,
            cut_at_scenes=settings.reading.cut_at_scenes,
            ocr=settings.reading.ocr,
            asr=settings.reading.asr,
            image_reading=check_image_reading(embedder.fingerprint.image_reading),
        )
        self._conditions = hash_work_conditions(settings)
        clear_folders()

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the vectors."""
        return self._embedder.fingerprint

    def embed(self, task: ShardTask, *, on_sign_of_life: Callable[[], None] | None = None) -> PartAccount:
        """Returns the account of a shard whose part has been written; of a trial, nothing is written.

        Args:
            task: The shard, and what is known of it.
            on_sign_of_life: Called whenever another file is read or other units are embedded.

        Raises:
            StoreError: The part cannot be written.
            RemoteError: The engine elsewhere cannot be reached.
        """
        begun = perf_counter()
        with make_folder() as folder:
            staged = stage_entries(task.entries, folder, self._settings.policy, self._settings.storage_options)
            entries = {encode_path(path): entry for path, entry in staged.paths.items()}
            target = PartTarget(self.fingerprint, folder, entries, self._read_known(task.reuse))
            counter = RunCounter(files_total=len(entries))
            if on_sign_of_life is not None:
                counter.on_progress = _ignore_progress(on_sign_of_life)
            run_pipeline(
                target,
                self._embedder,
                list(staged.paths),
                counter,
                policy=self._settings.policy,
                read_units=self._read_units,
                metadata=None,
                conditions=self._conditions,
            )
            failures = [*self._name_failures(task, staged, target, counter)]
        account = PartAccount(
            shard=task.shard.hash,
            files=task.shard.file_count,
            units=target.count_units(),
            reused_units=len(target.reused),
            failures=len(failures),
            conditions=self._conditions,
            seconds=perf_counter() - begun,
            finished_at=time.time(),
        )
        if not task.is_trial:
            self._write(account, failures, target)
        return account

    def _write(self, account: PartAccount, failures: list[NamedFailure], target: PartTarget) -> None:
        run, shard = self._settings.run, account.shard
        # The part is written last: where there is one, the shard is finished. All its units are in it again.
        if failures:
            run.write(name_part("failures", shard), encode_failures(failures))
        else:
            run.remove(name_part("failures", shard))
        batches = target.build_batches(self._settings.precision)
        write_rows(run, name_part("part", shard), self.fingerprint, batches, account)
        run.remove(name_part("duplicates", shard))

    def _read_known(self, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
        known: dict[str, npt.NDArray[Any]] = {}
        for name in names:
            try:
                for batch in read_rows(self._settings.run, name, self.fingerprint):
                    known.update(zip(batch.ids, batch.vectors, strict=True))
            except StoreError as error:
                # It would have saved work, and that is all.
                _LOGGER.info("the part %s is not used again: %s", name, error)
        return known

    def _name_failures(
        self, task: ShardTask, staged: StagedEntries, target: PartTarget, counter: RunCounter
    ) -> Iterable[NamedFailure]:
        by_path = {path.absolute(): entry for path, entry in staged.paths.items()}
        for failure in counter.failures:
            entry = by_path[failure.path]
            yield from (name_failure(failure, source) for source in entry.sources)
        for entry, error in staged.errors:
            yield from (name_error(source, error, may_pass=True) for source in entry.sources)
        changed = MediaError("the file was changed after it was listed; run the same command again")
        for place in target.changed:
            for source in _find_entry(staged, place).sources:
                yield name_error(source, changed, may_pass=True)
        for entry in task.shard.entries:
            if entry.identity in task.blamed:
                error = MediaError(task.blamed[entry.identity])
                yield from (name_error(source, error, may_pass=False) for source in entry.sources)


def _ignore_progress(call: Callable[[], None]) -> OnIndexProgress:
    def on_progress(_progress: IndexProgress) -> None:
        call()

    return on_progress


def hash_work_conditions(settings: WorkSettings) -> str:
    """Returns a hash of what decides, beside a file, whether it can be read."""
    return hash_conditions([settings.policy], settings.reading.describe())


def _find_entry(staged: StagedEntries, place: str) -> Entry:
    return next(entry for path, entry in staged.paths.items() if encode_path(path) == place)
