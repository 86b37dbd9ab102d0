"""The collection of short vectors, in an embedded Chroma: recall among very many, and nothing that is kept only there.

Chroma is quick and has limits, which are handled here and nowhere else: at most 5,461 rows a call; changing
rows is slow, so they are deleted and added; and a client that is open does not find by vector what another
process adds, so `reopen` starts afresh (https://github.com/chroma-core/chroma/issues/6975).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from jaxtyping import Float

from qwen3_vl_retrieval.chroma.directory import ChromaDirectory, OpenClient
from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.forks import ForkSafeLock, renew_in_children

__all__ = ["COLLECTION_NAME", "GRAPH_SETTINGS", "Collection"]

COLLECTION_NAME = "units"

GRAPH_SETTINGS = {"space": "cosine", "ef_construction": 200, "ef_search": 200, "max_neighbors": 32}
"""Settings of the graph: twice Chroma's defaults (100, 100, 16). `benchmarks/index_recall.py` measures the recall."""

T = TypeVar("T")


class Collection:
    """A Chroma collection of its own folder.

    Args:
        folder: The folder of Chroma; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._directory = ChromaDirectory(folder, store=folder.parent)
        self._opened: OpenClient | None = None
        self._collection: Any = None
        self._inherited: list[Any] = []
        # Searching threads wait while one of them opens the collection afresh.
        self._lock = ForkSafeLock(is_reentrant=True)
        renew_in_children(self)

    def renew(self) -> None:
        """Leaves a client to the process that opened it: its threads are there."""
        if self._opened is not None:
            # Kept, because letting go of it would wait for those threads.
            self._inherited += [self._opened, self._collection]
        self._opened = self._collection = None

    @property
    def is_inherited(self) -> bool:
        """Whether the folder was opened before this process was forked, and cannot be opened here."""
        # A client that is open was opened here: `renew` leaves those of a parent behind.
        return self._opened is None and self._directory.is_inherited

    @property
    def folder(self) -> Path:
        """The folder of Chroma."""
        return self._folder

    def create(self, store_id: str, metadata: Mapping[str, str | int]) -> None:
        """Creates the collection, which must not exist.

        Raises:
            StoreError: if Chroma fails, is not installed, or was open when this process was forked.
        """
        client = self._connect()
        stamp = {"store_id": store_id, **metadata}
        self._collection = self._call(
            lambda: client.create_collection(
                COLLECTION_NAME, configuration={"hnsw": dict(GRAPH_SETTINGS)}, metadata=stamp, embedding_function=None
            )
        )

    def reopen(self, store_id: str) -> None:
        """Opens the collection as it is on the disk now, forgetting what was known of it.

        Raises:
            StoreError: if there is no such collection, or it belongs to another store.
        """
        with self._lock:
            self._reopen(store_id)

    def _reopen(self, store_id: str) -> None:
        if not self._folder.is_dir():
            raise StoreError(f"the store is corrupt: the folder {str(self._folder)!r} is missing; repair the store")
        client = self._connect()
        names = [found.name for found in self._call(client.list_collections)]
        if COLLECTION_NAME not in names:
            raise StoreError(
                f"the store is corrupt: {str(self._folder)!r} holds no collection {COLLECTION_NAME!r}; repair the store"
            )
        collection = self._call(lambda: client.get_collection(COLLECTION_NAME, embedding_function=None))
        stamped = cast("Mapping[str, Any]", collection.metadata if collection.metadata is not None else {})
        if stamped.get("store_id") != store_id:
            raise StoreError(
                f"the collection in {str(self._folder)!r} belongs to another store; "
                "put back the folder that belongs here, or repair the store"
            )
        self._collection = collection

    def close(self) -> None:
        """Lets go of the files."""
        if self._opened is not None:
            self._opened.close()
        self._opened = self._collection = None

    def drop(self) -> None:
        """Deletes the collection, whoever it belongs to."""
        client = self._connect()
        if COLLECTION_NAME in [found.name for found in self._call(client.list_collections)]:
            self._call(lambda: client.delete_collection(COLLECTION_NAME))

    def count(self) -> int:
        """Returns the number of rows on the disk."""
        return int(self._call(lambda: self._collection.count()))

    def add(
        self,
        ids: Sequence[str],
        vectors: Float[np.ndarray, "n dimensions"],
        metadata: Sequence[Mapping[str, Any]],
        texts: Sequence[str | None],
    ) -> None:
        """Adds rows that do not exist."""
        for first, part in _split(list(range(len(ids))), self._largest_call()):
            last = first + len(part)
            self._call(
                lambda first=first, last=last: self._collection.add(
                    ids=list(ids[first:last]),
                    embeddings=np.asarray(vectors[first:last], dtype=np.float32),
                    metadatas=[dict(values) for values in metadata[first:last]],
                    documents=[text if text is not None else "" for text in texts[first:last]],
                )
            )

    def remove(self, ids: Sequence[str]) -> None:
        """Removes rows; what does not exist is no error."""
        for _, part in _split(list(ids), self._largest_call()):
            self._call(lambda part=part: self._collection.delete(ids=part))

    def find_nearest(self, vector: Float[np.ndarray, " dimensions"], *, limit: int) -> list[str]:
        """Returns the ids of the nearest rows, nearest first; fewer than `limit` if need be."""
        wanted = min(limit, self.count())
        if wanted == 0:
            return []
        found = self._call(
            lambda: self._collection.query(
                query_embeddings=[np.asarray(vector, dtype=np.float32)],
                n_results=wanted,
                include=[],
            )
        )
        return list(found["ids"][0])

    def _connect(self) -> Any:
        """A new client of the folder, in place of the one that was open."""
        self.close()
        try:
            self._directory.require_process()
        except StoreError as error:
            raise StoreError(f"{error}. Searching goes on, without Chroma") from None
        self._opened = OpenClient(self._directory.open_client())
        return self._opened.client

    def _largest_call(self) -> int:
        opened = self._opened
        if opened is None:
            raise StoreError(f"the collection in {str(self._folder)!r} is closed; open the store again")
        return int(self._call(opened.client.get_max_batch_size))

    def _call(self, ask: Callable[[], Any]) -> Any:
        """What Chroma answers; what it raises is of many kinds, and all of them mean that the store is unusable now."""
        try:
            with self._lock:
                return ask()
        except Exception as error:
            raise self._directory.explain("Chroma failed in", error) from error


def _split(values: list[T], size: int) -> Iterator[tuple[int, list[T]]]:
    for first in range(0, len(values), size):
        yield first, values[first : first + size]
