"""Chroma for pictures, pages, clips and mixtures: what a document shows is embedded, and only where it is, is kept."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.documents import Document
from PIL import Image

from langchain_qwen3_vl.chroma_rows import build_row, compare_rows, read_vectors, replace_rows
from langchain_qwen3_vl.document_vectors import embed_documents
from langchain_qwen3_vl.documents import image_document, video_document
from langchain_qwen3_vl.searchable_chroma import SearchableChroma
from qwen3_vl_retrieval import InputError

__all__ = ["MultimodalChroma"]

_BATCH_DOCUMENTS = 256
"""Enough for the engine to fill forward passes, and seconds of work that an interruption loses."""

_Made = TypeVar("_Made")


class MultimodalChroma(SearchableChroma):
    """A `Chroma` whose documents may be pictures, pages, clips and mixtures.

    A document is what its metadata say (see `image_document`, `video_document`, `Qwen3VLFolderLoader`): all of the
    methods of `Chroma` work with such documents, and every query may be anything that `LangChainItem` names. Files are
    named, not copied; base64 is never stored.

    ```python
    from langchain_qwen3_vl import MultimodalChroma, Qwen3VLEmbeddings

    store = MultimodalChroma("papers", Qwen3VLEmbeddings(), persist_directory="store")
    store.add_images(["invoice.png", "chart.png"], metadatas=[{"year": 2024}, {"year": 2025}])
    store.similarity_search("Which month sold best?", k=1, filter={"year": 2025})
    ```

    Documents are embedded and written in batches, each of which is kept. One that has an id and is unchanged (bytes of
    its files included) is not embedded again. The collection carries the fingerprint of the embeddings and refuses
    others. In a `persist_directory` one process writes at a time; what others write is found from the next query on,
    unless they use a client of their own and leave the number of rows as it was.

    The arguments are those of `Chroma`, see `SharedChroma`; vectors are compared by cosine by default.
    """

    def add_documents(  # pyright: ignore[reportIncompatibleMethodOverride] - other options fail instead of being ignored
        self,
        documents: Iterable[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int = _BATCH_DOCUMENTS,
    ) -> list[str]:
        """Adds documents; those of the same ids are replaced, or left alone if they are unchanged.

        Args:
            documents: Also an iterator, which is read batch by batch.
            ids: One for each document, or `None` in its place; by default the ids that they have. Who has none is
                given a random one.
            batch_size: Documents that are embedded and written at once.

        Returns:
            The ids, in the order of the documents.

        Raises:
            InputError: A document cannot be embedded or kept; the message begins with its position. The batches before
                it are kept.
            StoreError: Somebody else is writing, or the store has no embeddings.
            ValueError: There are not as many ids as documents, or `batch_size` is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        if ids is not None:
            documents = list(documents)
            if len(documents) != len(ids):
                raise ValueError(f"{len(documents)} documents and {len(ids)} ids were given; give one for each")
        stored: list[str] = []
        with self._write():
            size = min(batch_size, self._client.get_max_batch_size())
            for batch in _split(documents, size):
                given = None if ids is None else ids[len(stored) : len(stored) + len(batch)]
                stored += self._add_batch(batch, given, first=len(stored))
        return stored

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any] | None] | None = None,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Adds texts, or what `metadatas` say that they are captions of.

        Args:
            texts: Page contents.
            metadatas: One for each text; missing ones are empty.
            ids: As in `add_documents`.
            kwargs: `batch_size` of `add_documents`; any other fails.

        Returns:
            The ids, in the order of the texts.

        Raises:
            InputError: As in `add_documents`.
            StoreError: As in `add_documents`.
            ValueError: There are more metadata than texts, or as in `add_documents`.
        """
        contents = list(texts)
        documents = (
            Document(page_content=text, metadata=dict(metadata))
            for text, metadata in zip(contents, _fill_metadata(metadatas, len(contents)), strict=True)
        )
        return self.add_documents(documents, ids=ids, **kwargs)

    def add_images(  # pyright: ignore[reportIncompatibleMethodOverride] - takes more than the base class does
        self,
        uris: Iterable[str | Path | bytes | Image.Image],
        metadatas: Sequence[Mapping[str, Any] | None] | None = None,
        ids: Sequence[str | None] | None = None,
        *,
        texts: Sequence[str] | None = None,
        batch_size: int = _BATCH_DOCUMENTS,
    ) -> list[str]:
        """Adds pictures. Their URIs are kept, and their pixels stay in their files.

        Args:
            uris: Paths or URIs; with a `persist_directory` also encoded bytes and PIL images, which are written to its
                folder `media`.
            metadatas: One for each picture; missing ones are empty.
            ids: As in `add_documents`.
            texts: Captions, one for each, which are embedded together with the picture; none by default.
            batch_size: As in `add_documents`.

        Returns:
            The ids, in the order of the pictures.

        Raises:
            InputError: A picture cannot be read; the message begins with its position.
            StoreError: As in `add_documents`.
            ValueError: The lists are not of one length.
        """
        sources = list(uris)
        filled, captions = _fill_metadata(metadatas, len(sources)), _fill_texts(texts, len(sources))
        documents = (
            _place(place, image_document, source, text=text, metadata=metadata, media_dir=self._media_dir)
            for place, (source, metadata, text) in enumerate(zip(sources, filled, captions, strict=True))
        )
        return self.add_documents(documents, ids=ids, batch_size=batch_size)

    def add_videos(
        self,
        uris: Iterable[str | Path | bytes],
        metadatas: Sequence[Mapping[str, Any] | None] | None = None,
        ids: Sequence[str | None] | None = None,
        *,
        texts: Sequence[str] | None = None,
        batch_size: int = _BATCH_DOCUMENTS,
    ) -> list[str]:
        """Adds clips; arguments, result and errors are those of `add_images`.

        `start` and `end` among the metadata, in seconds, are the window of the clip that is embedded.
        """
        sources = list(uris)
        filled, captions = _fill_metadata(metadatas, len(sources)), _fill_texts(texts, len(sources))
        documents = (
            _place(
                place,
                video_document,
                source,
                start=metadata.get("start"),
                end=metadata.get("end"),
                text=text,
                metadata=metadata,
                media_dir=self._media_dir,
            )
            for place, (source, metadata, text) in enumerate(zip(sources, filled, captions, strict=True))
        )
        return self.add_documents(documents, ids=ids, batch_size=batch_size)

    def update_documents(self, ids: list[str], documents: list[Document]) -> None:
        """Replaces documents; those that do not exist are added. Errors as in `add_documents`."""
        self.add_documents(documents, ids=ids)

    @property
    def _media_dir(self) -> Path | None:
        return None if self._directory is None else self._directory.folder / "media"

    def _add_batch(self, documents: Sequence[Document], ids: Sequence[str | None] | None, *, first: int) -> list[str]:
        """Embeds what is new or changed among documents, writes it, and returns the ids; `first` is for errors."""
        embeddings = self._find_embeddings()
        rows = [
            _place(
                first + place,
                build_row,
                document,
                _choose_id(document, None if ids is None else ids[place]),
                is_hashed=self._fingerprint is not None,
                media_key=getattr(embeddings, "media_key", None),
                media_policy=getattr(embeddings, "media_policy", None),
            )
            for place, document in enumerate(documents)
        ]
        # The last of several with one id is what stays, as if they had come one after the other.
        places = {row.id: place for place, row in enumerate(rows)}
        collection = self._collection
        changes = compare_rows(collection, [rows[place] for place in places.values()])
        try:
            vectors = [*embed_documents(embeddings, [row.document for row in changes.embedded])]
        except InputError as error:
            failed = 0 if error.index is None else error.index
            raise error.at(first + places[changes.embedded[failed].id]) from error
        vectors += read_vectors(collection, [row.id for row in changes.relabelled])
        if vectors:
            with self._hold_clients():
                replace_rows(collection, (*changes.embedded, *changes.relabelled), vectors, changes.replaced)
            if self._directory is not None:
                self._directory.leave_mark()
        return [row.id for row in rows]


def _split(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    waiting = iter(documents)
    while batch := list(islice(waiting, size)):
        yield batch


def _choose_id(document: object, given: str | None) -> str:
    own = document.id if isinstance(document, Document) else None
    chosen = own if given is None else given
    return str(uuid.uuid4()) if chosen is None else chosen


def _fill_metadata(metadatas: Sequence[Mapping[str, Any] | None] | None, count: int) -> list[Mapping[str, Any]]:
    given: list[Mapping[str, Any]] = [
        {} if metadata is None else metadata for metadata in (() if metadatas is None else metadatas)
    ]
    if len(given) > count:
        raise ValueError(f"{len(given)} metadatas were given for {count} items; give one for each")
    return [*given, *({} for _ in range(count - len(given)))]


def _fill_texts(texts: Sequence[str] | None, count: int) -> Sequence[str]:
    if texts is None:
        return [""] * count
    if len(texts) != count:
        raise ValueError(f"{len(texts)} texts were given for {count} items; give one for each")
    return texts


def _place(place: int, make: Callable[..., _Made], /, *arguments: Any, **options: Any) -> _Made:
    """What `make` returns; its errors name the position."""
    try:
        return make(*arguments, **options)
    except InputError as error:
        raise error.at(place) from error
