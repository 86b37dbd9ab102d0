"""The index: documents, pages, videos and texts kept on disk in one vector space, and searched in two stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from qwen3_vl_retrieval.documents.speech import TranscribeSpeech
from qwen3_vl_retrieval.documents.units import MediaType, ReadOcr, read_units
from qwen3_vl_retrieval.errors import InputError, StoreError, quote
from qwen3_vl_retrieval.index.ingest.pipeline import run_pipeline
from qwen3_vl_retrieval.index.ingest.progress import IndexReport, OnIndexProgress, RunCounter, show_bar
from qwen3_vl_retrieval.index.ingest.source_reader import Sources, check_metadata, hash_conditions, list_sources
from qwen3_vl_retrieval.index.ingest.store_target import StoreTarget
from qwen3_vl_retrieval.index.results.hits import SearchResults
from qwen3_vl_retrieval.index.search import SearchOptions, search_in_stages
from qwen3_vl_retrieval.index.store.catalog import Metadata
from qwen3_vl_retrieval.index.store.filters import compile_filter
from qwen3_vl_retrieval.index.store.layout import SidecarPrecision
from qwen3_vl_retrieval.index.store.parquet import export_store
from qwen3_vl_retrieval.index.store.store import CompactReport, IndexStatistics, Store, measure_store
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.media.images import check_image_reading
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.paths import decode_path, encode_path
from qwen3_vl_retrieval.protocols import (
    Embedder,
    PlainEmbedder,
    PlainReranker,
    Reranker,
    adapt_embedder,
    adapt_reranker,
)

__all__ = ["MultimodalIndex"]

_DAY_SECONDS = 24 * 3600

_NAMED_FILES = 3
"""Items that an error names at most."""

_SHORT_DIMENSIONS = 256
"""Dimensions of the vectors in the collection: an eighth of the 2B model's. Candidates are rescored in full length."""


class MultimodalIndex:
    """Files and items in one vector space on disk: added, kept in step with a folder, searched, deleted.

    One process writes at a time; any number search meanwhile. Opened by `open`. Where the folder cannot be written, the
    index can be searched (by comparing with all full vectors, which is slower), looked at and exported.

    Args:
        store: Where everything is.
        embedder: With the fingerprint of the store.
        reranker: Judges what was found; `None` leaves the order to the vectors.
        media_policy: What may be opened; `None` is any local file. The models have policies of their own.
        window_seconds: As in `open`, like the rest.
        overlap_seconds: As in `open`.
        cut_at_scenes: As in `open`.
        ocr: As in `open`.
        asr: As in `open`.
        grace_days: As in `open`.

    Raises:
        ValueError: `grace_days` is negative.
        FingerprintMismatchError: The store was written with another embedder.
    """

    def __init__(
        self,
        store: Store,
        embedder: Embedder | PlainEmbedder,
        reranker: Reranker | PlainReranker | None = None,
        *,
        media_policy: MediaPolicy | None = None,
        window_seconds: float = 30.0,
        overlap_seconds: float = 5.0,
        cut_at_scenes: bool = False,
        ocr: ReadOcr | None = None,
        asr: TranscribeSpeech | None = None,
        grace_days: float = 30.0,
    ) -> None:
        if not grace_days >= 0:
            raise ValueError(f"grace_days={grace_days!r} must be at least 0")
        embedder.fingerprint.require_match(store.head.fingerprint)
        self._store = store
        self._policy = MediaPolicy() if media_policy is None else media_policy
        self._embedder = adapt_embedder(embedder)
        self._reranker = None if reranker is None else adapt_reranker(reranker, media_policy=self._policy)
        self._read_units = partial(
            read_units,
            window_seconds=window_seconds,
            overlap_seconds=overlap_seconds,
            cut_at_scenes=cut_at_scenes,
            ocr=ocr,
            asr=asr,
            image_reading=check_image_reading(embedder.fingerprint.image_reading),
        )
        self._conditions = hash_conditions(
            [self._policy, self._embedder.media_policy],
            {**self._read_units.keywords, "ocr": ocr is not None, "asr": asr is not None},
        )
        self._grace_seconds = grace_days * _DAY_SECONDS

    @classmethod
    def open(
        cls,
        path: str | Path,
        embedder: Embedder | PlainEmbedder,
        reranker: Reranker | PlainReranker | None = None,
        *,
        short_dimensions: int | None = None,
        precision: SidecarPrecision | None = None,
        media_policy: MediaPolicy | None = None,
        window_seconds: float = 30.0,
        overlap_seconds: float = 5.0,
        cut_at_scenes: bool = False,
        ocr: ReadOcr | None = None,
        asr: TranscribeSpeech | None = None,
        grace_days: float = 30.0,
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
            window_seconds: Length of a window of a video. Like the other options on reading, it holds for files that
                are added or changed from now on.
            overlap_seconds: What a window shares with the one before.
            cut_at_scenes: Let windows end where the image changes.
            ocr: Reads the words of scans and images, see `read_with_rapidocr`; `None` leaves them unread.
            asr: Transcribes what is said in videos, which becomes the text of their windows, see
                `transcribe_with_whisper`; `None` leaves them unheard.
            grace_days: How long the vectors are kept of what vanished, changed or could not be read. They are not
                found, and come back without the model when the same content is seen again. 0 keeps none.

        Raises:
            FingerprintMismatchError: The index was written with another embedder or other options of it.
            StoreError: The folder holds something else, or the index is corrupt, or was created with other options.
            ValueError: An option is out of range.
        """
        folder = Path(path)
        full = embedder.fingerprint.dimensions
        store = Store.find(folder)
        if store is not None:
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
                asr=asr,
                grace_days=grace_days,
            )
        except BaseException:
            store.close()
            raise

    def compact(self) -> CompactReport:
        """Gives back the room of what was deleted, replaced or retired, and ends the grace of all that is retired.

        Needs room for vectors and collection beside the old ones while it works. Searching goes on meanwhile.

        Raises:
            StoreError: Somebody else is writing, or the index is corrupt or read-only, or the disk is full.
        """
        return self._store.compact()

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
        """Returns the number of units: pages, windows, chunks, images and items."""
        return self._store.catalog.count_units()

    @property
    def store(self) -> Store:
        """Where everything is; see `export_store` to take it elsewhere."""
        return self._store

    @property
    def embedder(self) -> Embedder:
        """Embeds documents and queries."""
        return self._embedder

    @property
    def reranker(self) -> Reranker | None:
        """Judges what was found; `None` if the vectors decide."""
        return self._reranker

    @property
    def media_policy(self) -> MediaPolicy:
        """What may be opened of the files of the index."""
        return self._policy

    def stats(self) -> IndexStatistics:
        """Returns what the index holds, and how much room it takes."""
        return measure_store(self._store)

    def export_parquet(self, path: str | Path) -> int:
        """Writes ids, metadata, texts and full vectors to a Parquet file, and returns the number of units.

        `import_store` makes a store of it again. Vectors have the precision of the index.

        Raises:
            StoreError: pyarrow is not installed (extra `parquet`), or the index is corrupt.
        """
        return export_store(self._store, Path(path))

    def add(
        self,
        paths_or_items: Path | Iterable[Path | Item],
        *,
        metadata: Metadata | Sequence[Metadata] | None = None,
        exclude: Sequence[str] = (),
        retry_failed: bool = False,
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
                there already are replaced. `None` leaves them. A list has those of each file or item, and then there
                are no folders.
            exclude: Patterns of files and folders inside the given folders to leave out, as in a `.gitignore` file
                there: `"*.bak"`, `"drafts/"`, `"/2019"`. What is left out is among the skipped of the report.
            retry_failed: Read files again that could not be read before. By default those that have not changed are
                left alone and named, until limits, options or versions of the packages that read are others; what the
                disk or the network failed with is always tried again.
            cache_media: Let the reranker compute what it sees of each new page, image and video now, and not at the
                first query that finds it. It is kept in memory, within `vision_cache_bytes` of the reranker.
            show_progress: Show a progress bar.
            on_progress: Called after every group of units, and while a file takes long to be read.

        Raises:
            StoreError: Somebody else is writing, or the disk fails.
            InputError: A `str` or another single item was given instead of a list, or a folder cannot be read.
            ValueError: `metadata` is not flat, or uses a reserved name, or is not one for each file or item; or
                `cache_media` without a reranker.
        """
        cache = self._find_media_cache() if cache_media else None
        found = list_sources(paths_or_items, exclude=exclude)
        if isinstance(metadata, Sequence) and len(metadata) != len(found.sources):
            raise ValueError(
                f"metadata is a list of {len(metadata):,}, and there are {len(found.sources):,} files and items (those "
                "in folders counted, and files that are named twice counted once); give one for each"
            )
        with self._store.write():
            counter = self._run(found, metadata, retry_failed, cache, show_progress, on_progress)
            self._end_grace()
        return counter.finish(skipped=found.skipped, hidden_files=found.hidden)

    def sync(
        self,
        folder: str | Path,
        *,
        metadata: Metadata | None = None,
        exclude: Sequence[str] = (),
        allow_removals: bool = False,
        retry_failed: bool = False,
        cache_media: bool = False,
        show_progress: bool = False,
        on_progress: OnIndexProgress | None = None,
    ) -> IndexReport:
        """Makes the index hold what the folder holds: adds new files, replaces changed ones, removes vanished ones.

        Content is matched first and removed last: what was moved or renamed is not embedded again. Vectors of what
        vanished, changed or can no longer be read are kept for `grace_days`. Files outside the folder are not touched.

        Args:
            folder: The folder.
            metadata: As in `add`.
            exclude: As in `add`. A file that is excluded now and was not before is removed like one that vanished.
            allow_removals: Remove what vanished even if that is more than half of the files that the index knows
                below the folder. By default that is taken for a folder that is not mounted.
            retry_failed: As in `add`.
            cache_media: As in `add`.
            show_progress: As in `add`.
            on_progress: As in `add`.

        Raises:
            StoreError: More than half would be removed (what is new has been added, and nothing removed); or as in
                `add`.
            InputError: There is no such folder, or it cannot be read.
            ValueError: As in `add`.
        """
        cache = self._find_media_cache() if cache_media else None
        root = Path(folder).absolute()
        found = _list_folder(root, exclude=exclude, allow_removals=allow_removals)
        present = {encode_path(path.absolute()) for path in found.sources if isinstance(path, Path)}
        unreadable = [failure.path for failure in found.failures]
        excluded = [skipped.path for skipped in found.skipped if skipped.reason == "excluded"]
        with self._store.write():
            known = self._store.catalog.list_sources(root)
            counter = self._run(found, metadata, retry_failed, cache, show_progress, on_progress)
            vanished = {
                source: contents
                for source, contents in known.items()
                # What is in a folder that cannot be read now may still be there.
                if source not in present and not _is_below(source, unreadable)
            }
            moved = self._find_moved(vanished, present)
            gone = [
                source
                for source, contents in vanished.items()
                # What the caller excludes is meant to go.
                if contents and source not in moved and not _is_below(source, excluded)
            ]
            held = sum(1 for contents in known.values() if contents)
            if 2 * len(gone) > held and not allow_removals:
                raise StoreError(_refuse_removals(root, gone, held))
            removed = self._store.remove_files(list(vanished)) if vanished else 0
            self._end_grace()
        counter.removed_units += removed
        return counter.finish(
            skipped=found.skipped, hidden_files=found.hidden, removed_files=len(vanished), moved_files=len(moved)
        )

    def delete(self, where: Mapping[str, Any]) -> int:
        """Removes what meets `where`, and returns how many units that were.

        A unit of several files goes when all of them are meant: `{"source": path}` takes one file out and leaves its
        duplicates. Their vectors are not kept, unlike those of files that vanish.

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
        threshold: float | str | None = None,
        instruction: str | None = None,
        oversample: int = 4,
        match_words: bool = True,
        rerank: bool = True,
    ) -> SearchResults:
        """Returns the best hits, best first.

        Args:
            query: A text (`str`), an image (`Path`, PIL image), a video, or a mixture of them; see `Item`.
            k: Hits at most.
            fetch_k: Candidates that the reranker judges; 50 by default, or `k` if that is more.
            where: What the hits must meet, see `delete`.
            media_types: Which kinds of units to find; `None` is all.
            threshold: Lowest score of a hit: its probability if there is a reranker, else its cosine. `"fpr=0.01"`
                and `"probability=0.9"` stand for what `qwen3vl eval` has measured on this index.
            instruction: What makes a document relevant, for both stages; by default each model's own.
            oversample: How many times as many short vectors are recalled as are kept after rescoring.
            match_words: Join the order of the vectors with that of the keyword index: what holds all words of the
                query, a number of it or what it has in quotes; and as every fifth what shares some of its words.
            rerank: Let the reranker judge what was found, if there is one; `False` leaves the order to the vectors,
                which is faster.

        Raises:
            InputError: The query cannot be read, embedded or judged.
            ValueError: An option is out of range, or the threshold was not measured.
            StoreError: The index is corrupt, or its thresholds were measured with another reranker or instruction.
            FingerprintMismatchError: They were measured with another embedder.
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
            self._store,
            query,
            options,
            embedder=self._embedder,
            reranker=self._reranker if rerank else None,
            policy=self._policy,
        )

    def _run(
        self,
        found: Sources,
        metadata: Metadata | Sequence[Metadata] | None,
        retry_failed: bool,
        cache_media: Callable[[Sequence[Item]], object] | None,
        show_progress: bool,
        on_progress: OnIndexProgress | None,
    ) -> RunCounter:
        with show_bar(len(found.sources), enabled=show_progress, on_progress=on_progress) as advance:
            counter = RunCounter(files_total=len(found.sources), on_progress=advance)
            counter.failures.extend(found.failures)
            run_pipeline(
                StoreTarget(self._store),
                self._embedder,
                found.sources,
                counter,
                policy=self._policy,
                read_units=self._read_units,
                metadata=[check_metadata(one) for one in metadata]
                if isinstance(metadata, Sequence)
                else check_metadata(metadata),
                conditions=self._conditions,
                retry_failed=retry_failed,
                cache_media=cache_media,
            )
        return counter

    def _find_media_cache(self) -> Callable[[Sequence[Item]], object]:
        if self._reranker is None:
            raise ValueError("cache_media=True needs a reranker: open the index with one, or leave cache_media out")
        return self._reranker.cache_media

    def _end_grace(self) -> None:
        self._store.end_grace(before=time.time() - self._grace_seconds)

    def _find_moved(self, vanished: Mapping[str, set[str]], present: Collection[str]) -> set[str]:
        """Those of the vanished files whose content is in the index at another path, where the file still is."""
        contents = {content for held in vanished.values() for content in held}
        alive = {
            content
            for content, source in self._store.catalog.list_files_of(contents)
            if source not in vanished and (source in present or decode_path(source).is_file())
        }
        return {source for source, held in vanished.items() if held & alive}


def _is_below(source: str, folders: Sequence[Path]) -> bool:
    return any(decode_path(source).is_relative_to(folder) for folder in folders)


def _list_folder(root: Path, *, exclude: Sequence[str], allow_removals: bool) -> Sources:
    """What `list_sources` finds; a folder that does not exist is empty only if everything may be removed."""
    if root.exists():
        return list_sources(root, exclude=exclude)
    if allow_removals:
        return Sources(sources=(), skipped=(), hidden=0, failures=())
    raise InputError(
        f"there is no folder {quote(str(root))}; give an existing folder, or remove what the index holds of it with "
        "allow_removals=True"
    )


def _refuse_removals(root: Path, gone: Sequence[str], held: int) -> str:
    named = ", ".join(quote(str(decode_path(source).relative_to(root))) for source in sorted(gone)[:_NAMED_FILES])
    more = f" and {len(gone) - _NAMED_FILES:,} more" if len(gone) > _NAMED_FILES else ""
    return (
        f"syncing {quote(str(root))} would remove {len(gone):,} of the {held:,} files that the index holds of it: "
        f"{named}{more}. That looks like a folder that is not mounted, or was emptied by mistake: nothing was removed, "
        "and what is new was added. Bring the files back and sync again; if they are meant to go, sync with "
        "allow_removals=True (--allow-removals)"
    )
