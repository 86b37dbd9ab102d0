"""A run from its source to its parts: the one function that everything here serves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any

from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.jobs.executor import Executor
from qwen3_vl_retrieval.jobs.in_process import InProcessExecutor
from qwen3_vl_retrieval.jobs.job import Job
from qwen3_vl_retrieval.jobs.listing import SourceListing, SourceOptions, list_source
from qwen3_vl_retrieval.jobs.plan import Manifest, Plan, find_plan, read_manifest
from qwen3_vl_retrieval.jobs.reading import PartPrecision, ReadingOptions
from qwen3_vl_retrieval.jobs.report import OnRunProgress, RunReport
from qwen3_vl_retrieval.jobs.run_folder import RunFolder
from qwen3_vl_retrieval.jobs.shards import SHARD_UNITS
from qwen3_vl_retrieval.jobs.tasks import WorkSettings
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.paths import list_prefixes
from qwen3_vl_retrieval.protocols import Embedder, PlainEmbedder

__all__ = ["embed_source"]

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
        job = Job(
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
