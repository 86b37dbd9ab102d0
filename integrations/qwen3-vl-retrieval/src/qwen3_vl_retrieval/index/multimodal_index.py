"""The index: documents, pages, clips and texts kept on disk in one vector space, and searched in two stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.index.bars import show_bar
from qwen3_vl_retrieval.index.filters import compile_filter
from qwen3_vl_retrieval.index.hits import SearchResults
from qwen3_vl_retrieval.index.judging import find_media_cache
from qwen3_vl_retrieval.index.pipeline import run_pipeline
from qwen3_vl_retrieval.index.progress import IndexReport, OnIndexProgress, RunCounter
from qwen3_vl_retrieval.index.records import Metadata
from qwen3_vl_retrieval.index.results import FailedFile
from qwen3_vl_retrieval.index.sidecar import SidecarPrecision
from qwen3_vl_retrieval.index.sources import check_metadata, list_sources
from qwen3_vl_retrieval.index.statistics import IndexStatistics, measure_store
from qwen3_vl_retrieval.index.store import Store
from qwen3_vl_retrieval.index.transfer import export_store
from qwen3_vl_retrieval.index.two_stages import SearchOptions, search_in_stages
from qwen3_vl_retrieval.index.units import MediaType, ReadOcr, read_units
from qwen3_vl_retrieval.inputs import Embedder, Item, Reranker
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["MultimodalIndex"]

_SHORT_DIMENSIONS = 256
"""Of the vectors in the collection: an eighth of the 2B model's. What is recalled is rescored in full length."""


class MultimodalIndex:
    """Files and items in one vector space on disk: added, kept in step with a folder, searched, deleted.

    One process writes at a time; any number search meanwhile. Opened by `open`.

    Args:
        store: Where everything is.
        embedder: With the fingerprint of the store.
        reranker: Judges what was found; `None` leaves the order to the vectors.
        media_policy: What may be opened; `None` is any local file. The models have policies of their own.
        window_seconds: As in `open`, like the rest.
        overlap_seconds: As in `open`.
        cut_at_scenes: As in `open`.
        ocr: As in `open`.

    Raises:
        FingerprintMismatchError: The store was written with another embedder.
    """

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        reranker: Reranker | None = None,
        *,
        media_policy: MediaPolicy | None = None,
        window_seconds: float = 30.0,
        overlap_seconds: float = 5.0,
        cut_at_scenes: bool = False,
        ocr: ReadOcr | None = None,
    ) -> None:
        embedder.fingerprint.require_match(store.head.fingerprint)
        self._store = store
        self._embedder = embedder
        self._reranker = reranker
        self._policy = MediaPolicy() if media_policy is None else media_policy
        self._read_units = partial(
            read_units,
            window_seconds=window_seconds,
            overlap_seconds=overlap_seconds,
            cut_at_scenes=cut_at_scenes,
            ocr=ocr,
        )

    @classmethod
    def open(
        cls,
        path: str | Path,
        embedder: Embedder,
        reranker: Reranker | None = None,
        *,
        short_dimensions: int | None = None,
        precision: SidecarPrecision | None = None,
        media_policy: MediaPolicy | None = None,
        window_seconds: float = 30.0,
        overlap_seconds: float = 5.0,
        cut_at_scenes: bool = False,
        ocr: ReadOcr | None = None,
    ) -> MultimodalIndex:
        """Returns the index in the folder `path`, a new one if there is none.

        Args:
            path: The folder.
            embedder: Embeds documents and queries. An index is bound to its fingerprint.
            reranker: Judges what was found; `None` leaves the order to the vectors.
            short_dimensions: Length of the vectors that are recalled with, from 32 up; by default 256, or all
                dimensions if there are fewer. Cannot be changed later.
            precision: Number format of the full vectors that are rescored with: `"float32"`, `"float16"` (default),
                `"int8"` or `"ubinary"`. Cannot be changed later.
            media_policy: What may be opened; `None` is any local file. The models have policies of their own.
            window_seconds: Length of a window of a clip. Like the other options on reading, it holds for files that
                are added or changed from now on.
            overlap_seconds: What a window shares with the one before.
            cut_at_scenes: Let windows end where the picture changes.
            ocr: Reads the words of scans and pictures, see `read_with_rapidocr`; `None` leaves them unread.

        Raises:
            FingerprintMismatchError: The index was written with another embedder or other options of it.
            StoreError: The folder holds something else, or the index is torn, or was created with other options.
            ValueError: An option is out of range.
        """
        folder = Path(path)
        full = embedder.fingerprint.dimensions
        if Store.is_finished(folder):
            store = Store.open(folder)
            head = store.head
            for name, wanted, is_so in (
                ("short_dimensions", short_dimensions, head.short_dimensions),
                ("precision", precision, head.precision),
            ):
                if wanted is not None and wanted != is_so:
                    store.close()
                    raise StoreError(
                        f"the index {str(folder)!r} was created with {name}={is_so!r}, and {name}={wanted!r} was "
                        "asked for; leave it out, or build a new index"
                    )
        else:
            short = min(_SHORT_DIMENSIONS, full) if short_dimensions is None else short_dimensions
            if not 32 <= short <= full:
                raise ValueError(f"short_dimensions={short} must be between 32 and the embedder's {full}")
            store = Store.create(
                folder,
                embedder.fingerprint,
                short_dimensions=short,
                precision="float16" if precision is None else precision,
            )
        try:
            return cls(
                store,
                embedder,
                reranker,
                media_policy=media_policy,
                window_seconds=window_seconds,
                overlap_seconds=overlap_seconds,
                cut_at_scenes=cut_at_scenes,
                ocr=ocr,
            )
        except BaseException:
            store.close()
            raise

    def __copy__(self) -> Self:
        # An index stands for what is on the disk, with locks and connections that cannot be copied.
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Frameworks copy their chains; the copies share what they search.
        return self

    def __reduce__(self) -> Any:
        raise TypeError(
            "a MultimodalIndex cannot be pickled: its files and locks belong to this process; open it by its folder "
            "where it is needed"
        )

    def close(self) -> None:
        """Lets go of all files."""
        self._store.close()

    def __enter__(self) -> MultimodalIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Returns the number of units: pages, windows, chunks, pictures and items."""
        return self._store.catalog.count_units()

    @property
    def store(self) -> Store:
        """Where everything is; see `export_store` to take it elsewhere."""
        return self._store

    def stats(self) -> IndexStatistics:
        """Returns what the index holds, and how much room it takes."""
        return measure_store(self._store)

    def export_parquet(self, path: str | Path) -> int:
        """Writes ids, metadata, texts and full vectors to a Parquet file, and returns the number of units.

        `import_store` makes a store of it again. Vectors have the precision of the index.

        Raises:
            StoreError: pyarrow is not installed (extra `parquet`), or the index is torn.
        """
        return export_store(self._store, Path(path))

    def add(
        self,
        paths_or_items: Path | Iterable[Path | Item],
        *,
        metadata: Metadata | None = None,
        cache_media: bool = False,
        show_progress: bool = False,
        on_progress: OnIndexProgress | None = None,
    ) -> IndexReport:
        """Adds files, folders and items; what is there already and unchanged is left alone.

        What cannot be read is named in the report, and the rest is added. An interrupted call may be made again: what
        it had done is not done twice.

        Args:
            paths_or_items: `Path`s of files and folders, and items (see `Item`): a `str` is always a text.
            metadata: Flat scalars to be kept with every unit of it, and to be filtered by; those of units that are
                there already are replaced. `None` leaves them.
            cache_media: Let the reranker compute what it sees of each new page, picture and clip now, and not at the
                first query that finds it. It is kept in memory, within `vision_cache_bytes` of the reranker.
            show_progress: Show a progress bar.
            on_progress: Called after every group of units.

        Raises:
            StoreError: Somebody else is writing, or the disk fails.
            InputError: A `str` or another single item was given instead of a list, or a folder cannot be read.
            ValueError: `metadata` is not flat, or uses a reserved name; or `cache_media` without a reranker.
        """
        cache = find_media_cache(self._reranker) if cache_media else None
        sources, skipped, failures = list_sources(paths_or_items)
        with self._store.write():
            return self._run(sources, skipped, failures, metadata, 0, cache, show_progress, on_progress)

    def sync(
        self,
        folder: str | Path,
        *,
        metadata: Metadata | None = None,
        cache_media: bool = False,
        show_progress: bool = False,
        on_progress: OnIndexProgress | None = None,
    ) -> IndexReport:
        """Makes the index hold what the folder holds: adds new files, replaces changed ones, removes vanished ones.

        Unchanged content is never embedded again. Files outside the folder are not touched. Arguments and errors as
        in `add`.
        """
        cache = find_media_cache(self._reranker) if cache_media else None
        root = Path(folder).absolute()
        sources, skipped, failures = list_sources(root)
        present = {str(path.absolute()) for path in sources if isinstance(path, Path)}
        unreadable = [failure.path for failure in failures]
        with self._store.write():
            vanished = [
                source
                for source in dict.fromkeys(self._store.catalog.list_sources(str(root)))
                # What is in a folder that cannot be read now may still be there.
                if source not in present and not any(Path(source).is_relative_to(path) for path in unreadable)
            ]
            removed = self._store.remove_files(vanished) if vanished else 0
            report = self._run(sources, skipped, failures, metadata, len(vanished), cache, show_progress, on_progress)
        return replace(report, removed_units=report.removed_units + removed)

    def delete(self, where: Mapping[str, Any]) -> int:
        """Removes what meets `where`, and returns how many units that were.

        A unit of several files goes when all of them are meant: `{"source": path}` takes one file out and leaves its
        duplicates.

        Args:
            where: A filter in Chroma's language over `media_type`, `source`, `page`, `start`, `end`, `width`,
                `height`, `mime_type`, `sha256`, `id` and the caller's own metadata: `{"page": {"$gte": 3}}`.

        Raises:
            ValueError: `where` is empty or malformed.
            StoreError: Somebody else is writing.
        """
        condition = compile_filter(where)
        with self._store.write():
            return self._store.remove_where(condition)

    def search(
        self,
        query: Item,
        *,
        k: int = 10,
        fetch_k: int | None = None,
        where: Mapping[str, Any] | None = None,
        media_types: Sequence[MediaType] | None = None,
        threshold: float | None = None,
        instruction: str | None = None,
        oversample: int = 4,
        match_words: bool = True,
    ) -> SearchResults:
        """Returns the best hits, best first.

        Args:
            query: A text (`str`), a picture (`Path`, PIL image), a clip, or a mixture of them; see `Item`.
            k: Hits at most.
            fetch_k: Candidates that the reranker judges; 50 by default, or `k` if that is more.
            where: What the hits must meet, see `delete`.
            media_types: Which kinds of units to find; `None` is all.
            threshold: Lowest score of a hit: its probability if there is a reranker, else its cosine.
            instruction: What makes a document relevant, for both stages; by default each model's own.
            oversample: How many times as many short vectors are recalled as are kept after rescoring.
            match_words: Join the order of the vectors with that of the keyword index, which finds exact words and
                numbers.

        Raises:
            InputError: The query cannot be read, embedded or judged.
            ValueError: An option is out of range.
            StoreError: The index is torn.
        """
        options = SearchOptions(
            k=k,
            fetch_k=max(50, k) if fetch_k is None else fetch_k,
            where=where,
            media_types=media_types,
            threshold=threshold,
            instruction=instruction,
            oversample=oversample,
            match_words=match_words,
        )
        return search_in_stages(
            self._store, query, options, embedder=self._embedder, reranker=self._reranker, policy=self._policy
        )

    def _run(
        self,
        sources: Sequence[Path | Item],
        skipped: int,
        failures: Sequence[FailedFile],
        metadata: Metadata | None,
        removed_files: int,
        cache_media: Callable[[Sequence[Item]], object] | None,
        show_progress: bool,
        on_progress: OnIndexProgress | None,
    ) -> IndexReport:
        with show_bar(len(sources), enabled=show_progress, on_progress=on_progress) as advance:
            counter = RunCounter(files_total=len(sources), on_progress=advance)
            counter.failures.extend(failures)
            run_pipeline(
                self._store,
                self._embedder,
                sources,
                counter,
                policy=self._policy,
                read_units=self._read_units,
                metadata=check_metadata(metadata),
                cache_media=cache_media,
            )
        return counter.finish(skipped_files=skipped, removed_files=removed_files)
