"""An index on disk opened with the models of a command. Importing this module imports torch."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from qwen3_vl_retrieval.cli.limits import Limits
from qwen3_vl_retrieval.cli.models import load_embedder, load_reranker
from qwen3_vl_retrieval.cli.options import ModelOptions
from qwen3_vl_retrieval.documents.units import MediaType
from qwen3_vl_retrieval.index.ingest.progress import IndexProgress, IndexReport, OnIndexProgress
from qwen3_vl_retrieval.index.ingest.progress_bars import show_name
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.index.results.search_results import SearchResults
from qwen3_vl_retrieval.index.store.store import Store
from qwen3_vl_retrieval.items import Item

__all__ = ["index_into", "search_store", "show_index_progress"]

_EMBEDDER = "command_embedder"
_MAX_PIXELS = "command_max_pixels"
"""Settings of the catalog: what the next command needs to load the same embedder."""


def index_into(
    folder: Path,
    store: Path,
    options: ModelOptions,
    messages: Console,
    *,
    limits: Limits,
    exclude: Sequence[str],
    short_dimensions: int | None,
    window_seconds: float,
    overlap_seconds: float,
    cut_at_scenes: bool,
    allow_removals: bool,
    retry_failed: bool,
    grace_days: float,
) -> IndexReport:
    """Makes the index in `store` hold what `folder` holds, shows the progress, and returns what was done.

    Raises:
        ModelError: The model cannot be loaded.
        StoreError: The index is in use, torn, or belongs to another model.
        InputError: The folder cannot be read.
        ValueError: An option is out of range.
    """
    policy = limits.build_policy(allow_dirs=(folder,))
    with messages.status("loading the model"):
        embedder = load_embedder(options.embedder, options, policy)
    with (
        MultimodalIndex.open(
            store,
            embedder,
            short_dimensions=short_dimensions,
            media_policy=policy,
            window_seconds=window_seconds,
            overlap_seconds=overlap_seconds,
            cut_at_scenes=cut_at_scenes,
            grace_days=grace_days,
        ) as index,
        show_index_progress(messages) as on_progress,
    ):
        with index.store.write(), index.store.catalog.write():
            index.store.catalog.write_setting(_EMBEDDER, options.embedder)
            index.store.catalog.write_setting(
                _MAX_PIXELS, "" if options.max_pixels is None else str(options.max_pixels)
            )
        return index.sync(
            folder,
            exclude=exclude,
            allow_removals=allow_removals,
            retry_failed=retry_failed,
            on_progress=on_progress,
        )


def search_store(
    store: Path,
    query: Item,
    options: ModelOptions,
    messages: Console,
    *,
    limits: Limits,
    embedder_name: str | None,
    image_reading: str | None = None,
    k: int,
    fetch_k: int,
    where: Mapping[str, Any] | None,
    media_types: Sequence[MediaType] | None,
    instruction: str | None,
) -> SearchResults:
    """Returns what an index holds for a query.

    Args:
        store: The index.
        query: What to look for.
        options: Which reranker to take, and how to load models; the embedder is the one that wrote the index.
        messages: Where progress is shown.
        limits: How large what is opened may be.
        embedder_name: Another name or folder of the same embedder; `None` is the one that `qwen3vl index` was given.
        image_reading: How images are read; `None` is as when the index was written.
        k: Hits at most.
        fetch_k: Candidates that the reranker judges.
        where: What hits must meet; `None` is nothing.
        media_types: Which kinds of units to find; `None` is all.
        instruction: What makes a unit relevant.

    Raises:
        ModelError: A model cannot be loaded.
        StoreError: The index is torn, or belongs to another model.
        InputError: The query cannot be read, embedded or judged.
        ValueError: An option is out of range.
    """
    policy = limits.build_policy()
    with Store.open(store) as opened:
        settings = opened.catalog.read_settings()
        head = opened.head
    name = settings.get(_EMBEDDER, head.fingerprint.model) if embedder_name is None else embedder_name
    pixels = settings.get(_MAX_PIXELS, "")
    chosen = replace(
        options,
        dimensions=head.fingerprint.dimensions,
        image_reading=head.fingerprint.image_reading if image_reading is None else image_reading,
        max_pixels=int(pixels) if pixels and options.max_pixels is None else options.max_pixels,
    )
    with messages.status("loading the models"):
        embedder = load_embedder(name, chosen, policy)
        reranker = (
            None
            if options.reranker is None
            else load_reranker(options.reranker, replace(options, image_reading=chosen.image_reading), policy)
        )
    with (
        MultimodalIndex.open(store, embedder, reranker, media_policy=policy) as index,
        messages.status("searching"),
    ):
        return index.search(query, k=k, fetch_k=fetch_k, where=where, media_types=media_types, instruction=instruction)


@contextmanager
def show_index_progress(console: Console) -> Generator[OnIndexProgress, None, None]:
    """Yields a callback that moves a bar over the files; nothing is drawn where nobody watches."""
    columns = (
        SpinnerColumn(),
        TextColumn("indexing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[file]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("indexing", total=None, speed="", file="")

        def advance(moment: IndexProgress) -> None:
            progress.update(
                bar,
                total=moment.files_total,
                completed=moment.files_done,
                speed=f"{moment.units_embedded:,} units, {moment.units_per_second:.1f}/s",
                file="" if moment.current is None else show_name(moment.current),
            )

        yield advance
