"""The office of the demo searched: its questions asked, and the outcome shown. Importing this module imports torch."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.text import Text

from qwen3_vl_retrieval.cli.answers import AnsweredQuestion, compute_recall
from qwen3_vl_retrieval.cli.comparisons import print_comparison, print_recall, print_seconds
from qwen3_vl_retrieval.cli.gallery import Figure, Gallery, build_gallery
from qwen3_vl_retrieval.cli.models import Models, load_models
from qwen3_vl_retrieval.cli.options import LoadingOptions, join_query
from qwen3_vl_retrieval.cli.store_session import show_index_progress
from qwen3_vl_retrieval.cli.tables import print_failures
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.errors import FingerprintMismatchError
from qwen3_vl_retrieval.index.ingest.progress import IndexReport, describe_failure
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.index.results.hits import FailedFile, SearchResults
from qwen3_vl_retrieval.media import MediaPolicy

__all__ = ["run_trial"]

_CANDIDATES = 20
_SHOWN = 5
_DEPTHS = (1, 5)

# A window is a scene of the office's longer videos.
_WINDOW_SECONDS = 6.0

_INTRODUCTION = (
    "A small office of images, scans, PDFs, videos and notes, drawn by a program, and questions that have exactly one "
    "answer in it each, among near misses. The first stage orders everything by vectors. The second stage reads the "
    f"question and a candidate together, and judges the nearest {_CANDIDATES}."
)


def run_trial(
    office: Any,
    store: Path,
    loading: LoadingOptions,
    *,
    embedder: str,
    reranker: str,
    notice: str | None,
    writing_seconds: float,
    console: Console,
    messages: Console,
) -> str:
    """Indexes the office, asks its questions, prints both orders for each, and returns the report as HTML.

    Args:
        office: An `Office` of `qwen3_vl_pocket.office`.
        store: Where the index is kept: a second trial embeds nothing.
        loading: How to load the models.
        embedder: Name of the embedding model.
        reranker: Name of the reranker.
        notice: What the report must say about them.
        writing_seconds: How long the office took to write.
        console: Where results are printed.
        messages: Where progress and failures are shown.

    Raises:
        ModelError: A model cannot be loaded.
        StoreError: The index is in use or corrupt.
    """
    with _Trial.open(office.folder, store, loading, embedder, reranker, console=messages) as trial:
        console.print(trial.describe(), soft_wrap=True)
        answered = _ask_questions(trial, office.questions, console)
    seconds = {"writing": writing_seconds, **trial.seconds}
    seconds["searching"] = sum(
        sum((*question.by_vectors.seconds.values(), *question.reranked.seconds.values())) for question in answered
    )
    print_recall(answered, console, depths=_DEPTHS)
    print_seconds(seconds, console)
    # Of the files that were written none fails; others may lie in the folder.
    failures = [*trial.indexed.failures, *(failure for one in answered[:1] for failure in one.reranked.failures)]
    print_failures([describe_failure(failure) for failure in failures], messages, folder=trial.folder)
    return build_gallery(_describe_trial(trial, answered, seconds, notice, failures))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """The office in an index of its own, and the models to search it with."""

    folder: Path
    embedder: str
    reranker: str
    models: Models
    policy: MediaPolicy
    index: MultimodalIndex
    indexed: IndexReport
    units: tuple[Unit, ...]
    seconds: dict[str, float]

    @classmethod
    @contextmanager
    def open(
        cls, folder: Path, store: Path, loading: LoadingOptions, embedder: str, reranker: str, *, console: Console
    ) -> Generator[_Trial, None, None]:
        """Yields the trial after indexing everything in `folder`; an index of other models is built again."""
        policy = MediaPolicy(allow_dirs=(folder,))
        begun = perf_counter()
        with console.status("loading the models"):
            models = load_models(embedder, reranker, loading, policy)
        seconds = {"loading": perf_counter() - begun}
        begun = perf_counter()
        with _open_index(store, models, policy) as index:
            with show_index_progress(console) as on_progress:
                # Its own store, of this folder alone: there is nothing to be careful with.
                indexed = index.sync(folder, allow_removals=True, on_progress=on_progress)
            seconds["indexing"] = perf_counter() - begun
            yield cls(
                # The index names files by their absolute paths.
                folder=folder.absolute(),
                embedder=embedder,
                reranker=reranker,
                models=models,
                policy=policy,
                index=index,
                indexed=indexed,
                units=_list_units(index),
                seconds=seconds,
            )

    def ask(self, query: str, query_image: Path | None) -> tuple[SearchResults, SearchResults]:
        """Returns the nearest by vectors alone, and the same in the order of the reranker."""
        item = join_query(query, query_image, self.policy)
        by_vectors = MultimodalIndex(self.index.store, self.models.embedder, media_policy=self.policy)
        # All candidates are ranked, so that the place of an answer is known that is not among those shown.
        return (
            by_vectors.search(item, k=_CANDIDATES, match_words=False),
            self.index.search(item, k=_CANDIDATES, fetch_k=_CANDIDATES, match_words=False),
        )

    @property
    def files(self) -> int:
        """Files that were taken for media or text."""
        indexed = self.indexed
        return indexed.added_files + indexed.changed_files + indexed.unchanged_files + indexed.failed_files

    @property
    def units_per_second(self) -> float:
        """Units that were embedded in a second."""
        return self.indexed.embedded_units / self.seconds["indexing"]

    def describe(self) -> Text:
        """Returns what the index holds, and what was done for it, in a line."""
        known = len(self.units) - self.indexed.embedded_units
        done = f"{self.indexed.embedded_units} embedded in {self.seconds['indexing']:.1f} s" + (
            ", the others were in the index already" if known else f" ({self.units_per_second:.0f} a second)"
        )
        held = f"{len(self.units)} pages, images, scenes and notes"
        return Text(f"{self.files} files in {self.folder.name}: {held}; {done}", style="bold")


def _open_index(store: Path, models: Models, policy: MediaPolicy) -> MultimodalIndex:
    def open_it() -> MultimodalIndex:
        return MultimodalIndex.open(
            store,
            models.embedder,
            models.reranker,
            media_policy=policy,
            window_seconds=_WINDOW_SECONDS,
            overlap_seconds=0.0,
        )

    try:
        return open_it()
    except FingerprintMismatchError:
        # The demo's own folder: whoever tries another model wants its vectors.
        shutil.rmtree(store)
        return open_it()


def _list_units(index: MultimodalIndex) -> tuple[Unit, ...]:
    stored = index.store.catalog.load_units(index.store.catalog.list_rows())
    units = [unit.find_unit()[0] for unit in stored.values()]
    return tuple(unit for unit in units if unit.is_in_file)


def _ask_questions(trial: _Trial, questions: Sequence[Any], console: Console) -> list[AnsweredQuestion]:
    unit_at = {(unit.source.relative_to(trial.folder).as_posix(), unit.page, unit.start): unit for unit in trial.units}
    answered: list[AnsweredQuestion] = []
    for number, asked in enumerate(questions, start=1):
        by_vectors, reranked = trial.ask(asked.text, asked.query_image)
        question = AnsweredQuestion(
            title=asked.title,
            language=asked.language,
            query=asked.text,
            query_image=asked.query_image,
            by_vectors=by_vectors,
            reranked=reranked,
            answer=unit_at.get(tuple(asked.answer)),
        )
        print_comparison(number, question, console, shown=_SHOWN)
        answered.append(question)
    return answered


def _describe_trial(
    trial: _Trial,
    answered: Sequence[AnsweredQuestion],
    seconds: Mapping[str, float],
    notice: str | None,
    failures: Sequence[FailedFile],
) -> Gallery:
    first = [question.first_rank for question in answered]
    final = [question.final_rank for question in answered]
    recalls = [
        Figure(
            label=f"recall@{depth}, by vectors → reranked",
            before=f"{compute_recall(first, depth):.0%}",
            value=f"{compute_recall(final, depth):.0%}",
        )
        for depth in _DEPTHS
    ]
    return Gallery(
        title="qwen3vl demo",
        introduction=_INTRODUCTION,
        notice=notice,
        figures=(
            *recalls,
            Figure(label="pages, images, scenes, notes", value=str(len(trial.units))),
            Figure(label="embedded in a second", value=f"{trial.units_per_second:.0f}"),
        ),
        details=(
            ("embedding model", trial.embedder),
            ("reranker", trial.reranker),
            ("device", str(trial.models.embedder.model.device)),
            ("files", str(trial.files)),
            *((name, f"{duration:.1f} s") for name, duration in seconds.items()),
        ),
        folder=trial.folder,
        questions=answered,
        failures=failures,
        shown=_SHOWN,
    )
