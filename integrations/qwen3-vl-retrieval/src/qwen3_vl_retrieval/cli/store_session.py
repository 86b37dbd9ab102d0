"""Indexes and folders worked on with the models of a command. Importing this module imports torch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from qwen3_vl_retrieval.cli.limits import Limits
from qwen3_vl_retrieval.cli.models import Models, load_embedder, load_models, load_reranker
from qwen3_vl_retrieval.cli.options import DEFAULT_EMBEDDER, LoadingOptions, SearchRequest, join_query
from qwen3_vl_retrieval.documents.files import SkippedFile
from qwen3_vl_retrieval.documents.speech import TranscribeSpeech
from qwen3_vl_retrieval.documents.units import MediaType
from qwen3_vl_retrieval.index.ingest.progress import IndexProgress, IndexReport, OnIndexProgress, show_name
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.index.results.hits import SearchResults
from qwen3_vl_retrieval.index.store.store import Store
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = [
    "Search",
    "find_embedder",
    "index_into",
    "load_index",
    "remember_embedder",
    "search_files",
    "search_store",
    "show_index_progress",
]

_EMBEDDER = "command_embedder"
_MAX_PIXELS = "command_max_pixels"
"""Settings of the catalog: what the next command needs to load the same embedder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A finished search, of an index or of a folder.

    Attributes:
        results: What was found. Its failures and seconds are also those of reading the folder and loading the models.
        models: The models.
        embedder_name: What the embedding model was loaded by.
        folder: The folder that was read; `None` if an index was searched.
        files: Files that were taken for media or text.
        ranked_files: Those of them that took part in the ranking.
        units: Pages, windows, chunks, images and items that did.
        skipped: What was not read of the folder, and why.
        hidden: Files and folders in it whose names begin with a dot.
    """

    results: SearchResults
    models: Models
    embedder_name: str
    folder: Path | None
    files: int
    ranked_files: int
    units: int
    skipped: tuple[SkippedFile, ...] = ()
    hidden: int = 0


def index_into(
    folder: Path,
    store: Path,
    embedder_name: str,
    loading: LoadingOptions,
    messages: Console,
    *,
    limits: Limits,
    exclude: Sequence[str],
    short_dimensions: int | None,
    window_seconds: float,
    overlap_seconds: float,
    cut_at_scenes: bool,
    asr: TranscribeSpeech | None,
    allow_removals: bool,
    retry_failed: bool,
    grace_days: float,
) -> tuple[IndexReport, Models]:
    """Makes the index in `store` hold what `folder` holds, and shows the progress.

    Returns:
        What was done, and the model that did it.

    Raises:
        ModelError: The model cannot be loaded.
        StoreError: The index is in use, corrupt, or belongs to another model.
        InputError: The folder cannot be read.
        ValueError: An option is out of range.
    """
    policy = limits.build_policy(allow_dirs=(folder,))
    with messages.status("loading the model"):
        embedder = load_embedder(embedder_name, loading, policy)
    with (
        MultimodalIndex.open(
            store,
            embedder,
            short_dimensions=short_dimensions,
            media_policy=policy,
            window_seconds=window_seconds,
            overlap_seconds=overlap_seconds,
            cut_at_scenes=cut_at_scenes,
            asr=asr,
            grace_days=grace_days,
        ) as index,
        show_index_progress(messages) as on_progress,
    ):
        remember_embedder(index.store, embedder_name, loading)
        report = index.sync(
            folder,
            exclude=exclude,
            allow_removals=allow_removals,
            retry_failed=retry_failed,
            on_progress=on_progress,
        )
    return report, Models(embedder=embedder, reranker=None)


def remember_embedder(store: Store, name: str, loading: LoadingOptions) -> None:
    """Notes in an index what the next command needs to load the same embedder.

    Raises:
        StoreError: Somebody else is writing.
    """
    with store.write(), store.catalog.write():
        store.catalog.write_setting(_EMBEDDER, name)
        store.catalog.write_setting(_MAX_PIXELS, "" if loading.max_pixels is None else str(loading.max_pixels))


def search_store(
    store: Path, request: SearchRequest, loading: LoadingOptions, messages: Console, *, limits: Limits
) -> Search:
    """Searches an index; the embedder is the one that wrote it, whatever `loading` says of dimensions.

    Raises:
        ModelError: A model cannot be loaded.
        StoreError: The index is corrupt, or belongs to another model.
        InputError: The query cannot be read, embedded or judged.
        ValueError: An option is out of range.
    """
    policy = limits.build_policy()
    query = join_query(request.query, request.query_image, policy)
    begun = perf_counter()
    with Store.open(store) as opened:
        name, as_written = find_embedder(opened, request.model, loading)
        # The reranker reads images as the embedder does, and may see more of them.
        loading = replace(loading, image_reading=as_written.image_reading)
        with messages.status("loading the models"):
            models = Models(
                embedder=load_embedder(name, as_written, policy),
                reranker=None
                if request.reranker_name is None
                else load_reranker(request.reranker_name, loading, policy),
            )
        loading_seconds = perf_counter() - begun
        index = MultimodalIndex(opened, models.embedder, models.reranker, media_policy=policy)
        with messages.status("searching"):
            results = _search(index, query, request)
        files, units = opened.catalog.count_files(), len(index)
    return Search(
        results=replace(results, seconds={"loading": loading_seconds, **results.seconds}),
        models=models,
        embedder_name=name,
        folder=None,
        files=files,
        ranked_files=files,
        units=units,
    )


def find_embedder(store: Store, name: str | None, loading: LoadingOptions) -> tuple[str, LoadingOptions]:
    """Returns by which name and with which options the embedder of an index is loaded.

    Args:
        store: The index.
        name: The name that was asked for; `None` is the one that the index was written with.
        loading: What was asked for; the dimensions are those of the index, and so is what was left open.
    """
    settings, fingerprint = store.catalog.read_settings(), store.head.fingerprint
    pixels = settings.get(_MAX_PIXELS, "")
    as_written = replace(loading, dimensions=fingerprint.dimensions)
    if loading.image_reading is None:
        as_written = replace(as_written, image_reading=fingerprint.image_reading)
    if pixels and loading.max_pixels is None:
        as_written = replace(as_written, max_pixels=int(pixels))
    return settings.get(_EMBEDDER, fingerprint.model) if name is None else name, as_written


def load_index(
    folder: Path, model: str | None, reranker: str | None, loading: LoadingOptions, policy: MediaPolicy
) -> tuple[MultimodalIndex, Models]:
    """Returns an index and its models, for as long as they are needed; the caller closes the index.

    Args:
        folder: The index.
        model: Name of the embedding model; `None` is the one that the index was written with.
        reranker: Name of the reranker; `None` is none.
        loading: How the models are loaded.
        policy: What the models may open: the files of the index.

    Raises:
        ModelError: A model cannot be loaded.
        StoreError: The index is corrupt, or belongs to another embedder.
        ValueError: An option is out of range.
    """
    store = Store.open(folder)
    try:
        name, as_written = find_embedder(store, model, loading)
        loading = replace(loading, image_reading=as_written.image_reading)
        models = Models(
            embedder=load_embedder(name, as_written, policy),
            reranker=None if reranker is None else load_reranker(reranker, loading, policy),
        )
        return MultimodalIndex(store, models.embedder, models.reranker, media_policy=policy), models
    except BaseException:
        store.close()
        raise


def search_files(
    folder: Path,
    request: SearchRequest,
    loading: LoadingOptions,
    messages: Console,
    *,
    limits: Limits,
    exclude: Sequence[str],
    strict: bool,
) -> Search:
    """Searches a folder by an index that lasts as long as this call.

    Args:
        folder: What to read.
        request: What to look for.
        loading: How to load the models.
        messages: Where progress is shown.
        limits: How large what is opened may be.
        exclude: What to leave out, as in `MultimodalIndex.sync`.
        strict: Search nothing if something could not be read.

    Raises:
        ModelError: A model cannot be loaded.
        StoreError: chromadb is not installed, or the disk is full.
        InputError: The folder or the query cannot be read, or the query cannot be embedded or judged.
        ValueError: An option is out of range.
    """
    policy = limits.build_policy(allow_dirs=(folder,))
    query = join_query(request.query, request.query_image, policy)
    name = DEFAULT_EMBEDDER if request.model is None else request.model
    begun = perf_counter()
    with messages.status("loading the models"):
        models = load_models(name, request.reranker_name, loading, policy)
    loading_seconds = perf_counter() - begun
    with (
        TemporaryDirectory(prefix=".qwen3vl-search-", ignore_cleanup_errors=True) as temporary,
        # Hidden, in case the folder that is read is that of temporary files. Full precision: nothing is kept for later.
        MultimodalIndex.open(
            temporary, models.embedder, models.reranker, media_policy=policy, precision="float32"
        ) as index,
    ):
        with show_index_progress(messages) as on_progress:
            report = index.sync(folder, exclude=exclude, on_progress=on_progress)
        results = SearchResults(hits=(), query=query, is_reranked=models.reranker is not None, failures=(), seconds={})
        if not (strict and report.failures):
            with messages.status("searching"):
                results = _search(index, query, request)
        units = len(index)
    return Search(
        results=replace(
            results,
            failures=sorted((*report.failures, *results.failures), key=lambda failure: failure.path),
            seconds={"loading": loading_seconds, "indexing": report.seconds, **results.seconds},
        ),
        models=models,
        embedder_name=name,
        folder=folder.absolute(),
        files=report.added_files + report.failed_files,
        ranked_files=report.added_files,
        units=units,
        skipped=report.skipped,
        hidden=report.hidden_files,
    )


def _search(index: MultimodalIndex, query: Item, request: SearchRequest) -> SearchResults:
    return index.search(
        query,
        k=request.k,
        fetch_k=request.judged_units,
        where=request.where,
        media_types=cast("list[MediaType]", request.media_types) if request.media_types else None,
        instruction=request.instruction,
        threshold=request.threshold,
    )


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
