"""Sources embedded with the models of a command. Importing this module imports torch."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from qwen3_vl_retrieval.cli.embed import SourceRequest, WorkerOptions, read_key
from qwen3_vl_retrieval.cli.options import LoadingOptions
from qwen3_vl_retrieval.cli.worker_model import WorkerModel
from qwen3_vl_retrieval.documents.labels import clean_text
from qwen3_vl_retrieval.jobs.executor import Executor
from qwen3_vl_retrieval.jobs.in_process import InProcessExecutor
from qwen3_vl_retrieval.jobs.processes import ProcessExecutor
from qwen3_vl_retrieval.jobs.ray_actors import RayExecutor
from qwen3_vl_retrieval.jobs.reading import ReadingOptions
from qwen3_vl_retrieval.jobs.report import OnRunProgress, RunProgress, RunReport
from qwen3_vl_retrieval.jobs.run import embed_source
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["embed_into"]


def embed_into(
    source: str,
    to: str,
    model: str | None,
    loading: LoadingOptions,
    messages: Console,
    *,
    request: SourceRequest,
    work: WorkerOptions,
    policy: MediaPolicy,
    reading: ReadingOptions,
    precision: str,
    shard_units: int | None,
    retry_failed: bool,
) -> RunReport:
    """Embeds a source into a run, and shows the progress.

    Raises:
        InputError: There is no such source.
        ModelError: The model cannot be loaded.
        RemoteError: No engine elsewhere can be reached.
        StoreError: The run is in use, belongs to another model, or cannot be written.
        ValueError: An option is out of range.
    """
    if precision not in ("float32", "float16"):
        raise ValueError(f"--precision {precision!r} is unknown; give float32 or float16")
    executor = _choose_executor(model, loading, work, policy, messages)

    def tell(sentence: str) -> None:
        messages.print(Text(clean_text(sentence), style="yellow"), soft_wrap=True)

    with _show_progress(messages) as on_progress:
        return embed_source(
            source,
            to,
            executor,
            media_policy=policy,
            reading=reading,
            precision=precision,
            exclude=request.exclude or (),
            is_list=request.is_list,
            shard_units=shard_units,
            retry_failed=retry_failed,
            storage_options=request.read_storage_options(),
            on_progress=on_progress,
            on_trouble=tell,
        )


def _choose_executor(
    model: str | None, loading: LoadingOptions, work: WorkerOptions, policy: MediaPolicy, messages: Console
) -> Executor:
    urls = tuple(work.base_urls or ())
    devices = () if urls else _list_devices(loading)
    workers = work.workers if work.workers is not None else max(1, len(urls), len(devices))
    is_on_cpu = not urls and not devices
    worker = WorkerModel(
        name=model,
        loading=loading,
        policy=policy,
        devices=devices,
        base_urls=urls,
        api_key=read_key(work.api_key_file),
        # Workers on one CPU would wait for each other's threads.
        threads=max(1, (os.cpu_count() or 1) // workers) if is_on_cpu and workers > 1 else None,
    )
    if work.executor == "ray":
        # The cluster shows an actor its own GPU alone.
        on_cluster = replace(worker, devices=() if loading.device is None else (loading.device,), threads=None)
        gpus = 0 if urls or loading.device == "cpu" else None
        return RayExecutor(on_cluster, workers=workers, address=work.address, gpus_per_worker=gpus)
    if workers > 1:
        return ProcessExecutor(worker, workers=workers)
    with messages.status("loading the model"):
        return InProcessExecutor(worker(0))


def _list_devices(loading: LoadingOptions) -> tuple[str, ...]:
    """The GPUs of this machine, or the one that was asked for; none if workers share what there is."""
    if loading.device is not None:
        return () if loading.device == "cpu" else (loading.device,)
    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))


@contextmanager
def _show_progress(console: Console) -> Generator[OnRunProgress, None, None]:
    """Yields a callback that moves a bar over the shards; nothing is drawn where nobody watches."""
    columns = (
        SpinnerColumn(),
        TextColumn("embedding"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("shards, {task.fields[speed]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("embedding", total=None, speed="")

        def advance(moment: RunProgress) -> None:
            left = "" if moment.seconds_left is None else f", {moment.seconds_left / 60:,.0f} min left"
            failed = f", {moment.failures:,} failures" if moment.failures else ""
            progress.update(
                bar,
                total=moment.shards_total,
                completed=moment.shards_done,
                speed=f"{moment.units_embedded:,} units, {moment.units_per_second:.1f}/s{left}{failed}",
            )

        yield advance
