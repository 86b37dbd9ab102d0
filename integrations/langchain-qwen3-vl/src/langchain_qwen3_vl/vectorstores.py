"""Chroma for pictures, pages, clips and mixtures: what a document shows is embedded, and only where it is, is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from PIL import Image

from langchain_qwen3_vl.chroma_rows import Row, build_row, compare_rows, read_vectors, write_rows
from langchain_qwen3_vl.document_intake import BATCH_DOCUMENTS, DocumentIntake, Entry, FailedDocument, OnError
from langchain_qwen3_vl.documents import image_document, video_document
from langchain_qwen3_vl.searchable_chroma import SearchableChroma
from qwen3_vl_retrieval import InputError

__all__ = ["MultimodalChroma"]


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

    Attributes:
        failures: What the last call that added documents left out, with `on_error="skip"`, and why.
    """

    failures: tuple[FailedDocument, ...] = ()

    def add_documents(  # pyright: ignore[reportIncompatibleMethodOverride] - other options fail instead of being ignored
        self,
        documents: Iterable[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int = BATCH_DOCUMENTS,
        on_error: OnError = "raise",
    ) -> list[str]:
        """Adds documents; those of the same ids are replaced, or left alone if they are unchanged.

        Args:
            documents: Also an iterator, which is read batch by batch.
            ids: One for each document, or `None` in its place; by default the ids that they have. Who has none is
                given a random one.
            batch_size: Documents that are embedded and written at once.
            on_error: What becomes of a document that cannot be embedded or kept, such as one of a damaged picture.
                `"raise"` raises its error; `"skip"` logs a warning, and stores the others. What was stored under its
                id stays, and `failures` has it.

        Returns:
            The ids of what is stored, in the order of the documents.

        Raises:
            InputError: A document cannot be embedded or kept; the message begins with its position. The batches before
                it are kept.
            StoreError: Somebody else is writing, or the store has no embeddings.
            ValueError: There are not as many ids as documents, `batch_size` is below 1, or `on_error` is unknown.
        """
        return self._add(documents, ids, batch_size=batch_size, on_error=on_error)

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
            kwargs: `batch_size` and `on_error` of `add_documents`; any other fails.

        Returns:
            The ids of what is stored, in the order of the texts.

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
        batch_size: int = BATCH_DOCUMENTS,
        on_error: OnError = "raise",
    ) -> list[str]:
        """Adds pictures. Their URIs are kept, and their pixels stay in their files.

        Args:
            uris: Paths or URIs; with a `persist_directory` also encoded bytes and PIL images, which are written to its
                folder `media`.
            metadatas: One for each picture; missing ones are empty.
            ids: As in `add_documents`.
            texts: Captions, one for each, which are embedded together with the picture; none by default.
            batch_size: As in `add_documents`.
            on_error: As in `add_documents`.

        Returns:
            The ids of what is stored, in the order of the pictures.

        Raises:
            InputError: A picture cannot be read; the message begins with its position.
            StoreError: As in `add_documents`.
            ValueError: The lists are not of one length.
        """
        sources = list(uris)
        filled, captions = _fill_metadata(metadatas, len(sources)), _fill_texts(texts, len(sources))
        documents = (
            _make(image_document, source, text=text, metadata=metadata, media_dir=self._media_dir)
            for source, metadata, text in zip(sources, filled, captions, strict=True)
        )
        return self._add(documents, ids, batch_size=batch_size, on_error=on_error)

    def add_videos(
        self,
        uris: Iterable[str | Path | bytes],
        metadatas: Sequence[Mapping[str, Any] | None] | None = None,
        ids: Sequence[str | None] | None = None,
        *,
        texts: Sequence[str] | None = None,
        batch_size: int = BATCH_DOCUMENTS,
        on_error: OnError = "raise",
    ) -> list[str]:
        """Adds clips; arguments, result and errors are those of `add_images`.

        `start` and `end` among the metadata, in seconds, are the window of the clip that is embedded.
        """
        sources = list(uris)
        filled, captions = _fill_metadata(metadatas, len(sources)), _fill_texts(texts, len(sources))
        documents = (
            _make(
                video_document,
                source,
                start=metadata.get("start"),
                end=metadata.get("end"),
                text=text,
                metadata=metadata,
                media_dir=self._media_dir,
            )
            for source, metadata, text in zip(sources, filled, captions, strict=True)
        )
        return self._add(documents, ids, batch_size=batch_size, on_error=on_error)

    def update_documents(self, ids: list[str], documents: list[Document]) -> None:
        """Replaces documents; those that do not exist are added. Errors as in `add_documents`."""
        self.add_documents(documents, ids=ids)

    @property
    def _media_dir(self) -> Path | None:
        return None if self._directory is None else self._directory.folder / "media"

    def _add(
        self,
        documents: Iterable[Document | InputError],
        ids: Sequence[str | None] | None,
        *,
        batch_size: int,
        on_error: OnError,
    ) -> list[str]:
        intake = DocumentIntake(on_error=on_error)
        try:
            with self._write():
                size = min(batch_size, self._client.get_max_batch_size())
                return intake.store(documents, ids, batch_size=size, write=partial(self._write_entries, intake))
        finally:
            self.failures = tuple(intake.failures)

    def _write_entries(self, intake: DocumentIntake, entries: Sequence[Entry]) -> None:
        """Embeds what is new or changed, and writes it."""
        embeddings = self._find_embeddings()
        rows = self._build_rows(intake, entries, embeddings)
        if not rows:
            return
        collection = self._collection
        changes = compare_rows(collection, rows)
        entry_by_id = {entry.id: entry for entry in entries}
        vectors = intake.embed(embeddings, [entry_by_id[row.id] for row in changes.embedded])
        vectors |= read_vectors(collection, changes.relabelled)
        written = [row for row in (*changes.embedded, *changes.relabelled) if row.id in vectors]
        if written:
            with self._hold_clients():
                write_rows(collection, written, vectors, changes.known)
            if self._directory is not None:
                self._directory.leave_mark()

    def _build_rows(self, intake: DocumentIntake, entries: Sequence[Entry], embeddings: Embeddings) -> list[Row]:
        rows: list[Row] = []
        for entry in entries:
            try:
                row = build_row(
                    entry.document,
                    entry.id,
                    is_hashed=self._fingerprint is not None,
                    media_key=getattr(embeddings, "media_key", None),
                    media_policy=getattr(embeddings, "media_policy", None),
                )
            except InputError as error:
                intake.refuse(entry.place, entry.document, error)
            else:
                rows.append(row)
        return rows


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


def _make(make: Callable[..., Document], source: object, **options: Any) -> Document | InputError:
    """What `make` returns, or why it does not: a generator that raises has no next document."""
    try:
        return make(source, **options)
    except InputError as error:
        return error
