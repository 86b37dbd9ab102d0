"""A folder read and embedded once, then searched; shows its progress. Importing this module imports torch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from qwen3_vl_retrieval.cli.models import Models, load_models
from qwen3_vl_retrieval.cli.options import ModelOptions
from qwen3_vl_retrieval.cli.queries import join_query
from qwen3_vl_retrieval.cli.report import SearchReport
from qwen3_vl_retrieval.documents.units import MediaType
from qwen3_vl_retrieval.index.ingest.reading import read_folder
from qwen3_vl_retrieval.index.results.failures import FailedFile, OnProgress, Reading, SearchOutcome, Stage
from qwen3_vl_retrieval.index.search.folder import Library, embed_units, search_library
from qwen3_vl_retrieval.media import MediaPolicy

__all__ = ["SearchSession"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSession:
    """The vectors of a folder, and the models to search them with.

    Attributes:
        folder: What is searched.
        options: What was asked for.
        models: The models, loaded.
        policy: What may be opened: files in the folder.
        console: Where progress is shown, if it is a terminal.
        reading: What the folder holds.
        library: Its units with their vectors.
        seconds: How long reading, loading and embedding took.
    """

    folder: Path
    options: ModelOptions
    models: Models
    policy: MediaPolicy
    console: Console
    reading: Reading
    library: Library
    seconds: dict[str, float]

    @classmethod
    def open(
        cls,
        folder: Path,
        options: ModelOptions,
        *,
        policy: MediaPolicy,
        console: Console,
        window_seconds: float = 30.0,
        overlap_seconds: float = 5.0,
        exclude: Sequence[str] = (),
        media_types: Sequence[MediaType] | None = None,
    ) -> SearchSession:
        """Returns the session after reading and embedding what is in `folder`.

        Args:
            folder: What to search.
            options: Which models to take.
            policy: What may be opened.
            console: Where progress is shown.
            window_seconds: As in `read_units`.
            overlap_seconds: As in `read_units`.
            exclude: As in `list_files`.
            media_types: Kinds of units that are embedded and ranked; `None` is all.

        Raises:
            ModelError: A model cannot be loaded.
            InputError: The folder cannot be read.
            ValueError: An option is out of range.
        """
        seconds: dict[str, float] = {}
        with _show_progress(console) as on_progress, _measure(seconds, "reading_seconds"):
            reading = read_folder(
                folder,
                policy,
                window_seconds=window_seconds,
                overlap_seconds=overlap_seconds,
                exclude=exclude,
                on_progress=on_progress,
            )
        if media_types is not None:
            reading = replace(reading, units=tuple(unit for unit in reading.units if unit.media_type in media_types))
        with console.status("loading the models"), _measure(seconds, "loading_seconds"):
            models = load_models(options, policy)
        with _show_progress(console) as on_progress, _measure(seconds, "embedding_seconds"):
            library = embed_units(reading.units, models.embedder, policy, on_progress=on_progress)
        return cls(
            folder=folder,
            options=options,
            models=models,
            policy=policy,
            console=console,
            reading=reading,
            library=library,
            seconds=seconds,
        )

    def search(
        self,
        query: str,
        *,
        query_image: Path | None = None,
        k: int,
        fetch_k: int,
        strict: bool = False,
        instruction: str | None = None,
    ) -> SearchReport:
        """Returns what was found for a text, a picture, or both; options as in `search_library`.

        The text may be blank if there is a picture, which need not be in the folder. `strict` ranks nothing if
        anything in the folder could not be read.

        Raises:
            InputError: The query cannot be read, embedded or judged.
        """
        seconds = dict(self.seconds)
        failures = self.reading.failures + self.library.failures
        outcome = SearchOutcome(results=(), failures=())
        with _show_progress(self.console) as on_progress, _measure(seconds, "searching_seconds"):
            if not (strict and failures):
                outcome = search_library(
                    self.library,
                    join_query(query, query_image, self.policy),
                    self.models.embedder,
                    self.policy,
                    reranker=self.models.reranker,
                    k=k,
                    fetch_k=fetch_k,
                    instruction=instruction,
                    on_progress=on_progress,
                )
        failures += outcome.failures
        if strict and failures:
            outcome = SearchOutcome(results=(), failures=())
        return self._report(query, query_image, outcome, failures, seconds)

    def _report(
        self,
        query: str,
        query_image: Path | None,
        outcome: SearchOutcome,
        failures: tuple[FailedFile, ...],
        seconds: dict[str, float],
    ) -> SearchReport:
        return SearchReport(
            folder=self.folder,
            query=query,
            query_image=query_image,
            embedder=self.options.embedder,
            reranker=self.options.reranker,
            files=len(self.reading.files),
            units=len(self.reading.units),
            ranked_files=self.library.ranked_files if outcome.results else 0,
            skipped=self.reading.skipped,
            hidden=self.reading.hidden,
            results=outcome.results,
            candidates=outcome.candidates,
            failures=tuple(sorted(failures, key=lambda failure: failure.path)),
            seconds=seconds,
        )


@contextmanager
def _measure(seconds: dict[str, float], name: str) -> Generator[None, None, None]:
    begun = perf_counter()
    yield
    seconds[name] = perf_counter() - begun


@contextmanager
def _show_progress(console: Console) -> Generator[OnProgress, None, None]:
    """Yields a callback that moves one bar per stage; nothing is drawn where nobody watches."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bars: dict[Stage, TaskID] = {}

        def advance(stage: Stage, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=total)
            progress.update(bars[stage], completed=done)

        yield advance
