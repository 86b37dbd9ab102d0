"""The office of the demo in an index of its own, searched by both stages. Importing this module imports torch."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from rich.console import Console

from qwen3_vl_retrieval.cli.models import Models, load_models
from qwen3_vl_retrieval.cli.options import ModelOptions
from qwen3_vl_retrieval.cli.queries import join_query
from qwen3_vl_retrieval.cli.report import SearchReport
from qwen3_vl_retrieval.cli.store_session import show_index_progress
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.errors import FingerprintMismatchError
from qwen3_vl_retrieval.index.ingest.progress import IndexReport
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.index.results.failures import Found
from qwen3_vl_retrieval.index.results.hits import Hit
from qwen3_vl_retrieval.media import MediaPolicy

__all__ = ["TrialSession"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSession:
    """An index of the office, and the models to search it with.

    Attributes:
        folder: The office.
        options: What was asked for.
        models: The models, loaded.
        policy: What may be opened: files in the office.
        index: Everything in it.
        indexed: What indexing did.
        units: What the index holds.
        seconds: How long loading and indexing took.
    """

    folder: Path
    options: ModelOptions
    models: Models
    policy: MediaPolicy
    index: MultimodalIndex
    indexed: IndexReport
    units: tuple[Unit, ...]
    seconds: dict[str, float]

    @classmethod
    def open(
        cls, folder: Path, store: Path, options: ModelOptions, *, window_seconds: float, console: Console
    ) -> TrialSession:
        """Returns the session after indexing everything in `folder`; an index of other models is built again.

        Raises:
            ModelError: A model cannot be loaded.
            StoreError: The index is in use or torn.
            InputError: The folder cannot be read.
        """
        policy = MediaPolicy(allow_dirs=(folder,))
        begun = perf_counter()
        with console.status("loading the models"):
            models = load_models(options, policy)
        seconds = {"loading": perf_counter() - begun}
        begun = perf_counter()
        index = _open_index(store, models, policy, window_seconds)
        with show_index_progress(console) as on_progress:
            # Its own store, of this folder alone: there is nothing to be careful with.
            indexed = index.sync(folder, allow_removals=True, on_progress=on_progress)
        seconds["indexing"] = perf_counter() - begun
        return cls(
            # The index names files by their absolute paths.
            folder=folder.absolute(),
            options=options,
            models=models,
            policy=policy,
            index=index,
            indexed=indexed,
            units=_list_units(index),
            seconds=seconds,
        )

    def search(self, query: str, *, query_image: Path | None, count: int) -> SearchReport:
        """Returns the first `count` by vectors, and the same in the order of the reranker.

        Raises:
            InputError: The query cannot be read, embedded or judged.
        """
        begun = perf_counter()
        asked = join_query(query, query_image, self.policy)
        # By vectors alone, so that what each stage does is seen.
        by_vectors = MultimodalIndex(self.index.store, self.models.embedder, media_policy=self.policy)
        nearest = by_vectors.search(asked, k=count, match_words=False)
        judged = self.index.search(asked, k=count, fetch_k=count, match_words=False)
        return SearchReport(
            folder=self.folder,
            query=query,
            query_image=query_image,
            embedder=self.options.embedder,
            reranker=self.options.reranker,
            files=self.files,
            units=len(self.units),
            ranked_files=self.files - len(self.indexed.failures),
            skipped=self.indexed.skipped,
            hidden=self.indexed.hidden_files,
            results=_describe_hits(judged),
            candidates=_describe_hits(nearest),
            failures=(*self.indexed.failures, *judged.failures),
            seconds={"searching_seconds": perf_counter() - begun},
        )

    @property
    def files(self) -> int:
        """Files that were taken for media or text."""
        indexed = self.indexed
        return indexed.added_files + indexed.changed_files + indexed.unchanged_files + len(indexed.failures)


def _open_index(store: Path, models: Models, policy: MediaPolicy, window_seconds: float) -> MultimodalIndex:
    def open_it() -> MultimodalIndex:
        return MultimodalIndex.open(
            store,
            models.embedder,
            models.reranker,
            media_policy=policy,
            window_seconds=window_seconds,
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
    return tuple(unit.find_unit()[0] for unit in stored.values() if unit.sources)


def _describe_hits(hits: Sequence[Hit]) -> tuple[Found, ...]:
    return tuple(
        Found(
            rank=hit.rank,
            unit=hit.unit,
            similarity_score=hit.similarity_score,
            relevance_score=hit.relevance_score,
        )
        for hit in hits
    )
