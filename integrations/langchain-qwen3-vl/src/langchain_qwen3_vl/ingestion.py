"""Documents with media in any store that takes vectors; stores by themselves embed only texts."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from itertools import islice
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from langchain_qwen3_vl.contents import coerce_item
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings, VectorOrError
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.items import check_text
from qwen3_vl_retrieval.metadata import check_metadata

__all__ = ["BATCH_DOCUMENTS", "DocumentIntake", "Entry", "FailedDocument", "OnError", "add_multimodal_documents"]

_LOGGER = logging.getLogger(__name__)

BATCH_DOCUMENTS = 256
"""Enough for the engine to fill forward passes, and seconds of work that an interruption loses."""

OnError: TypeAlias = Literal["raise", "skip"]
"""What becomes of a document or file that cannot be read or stored: its error is raised, or it is left out."""

_PAIR_ARGUMENTS = frozenset({"text_embeddings", "metadatas", "ids"})
"""The arguments of a method that writes texts with their vectors, as FAISS has it."""

_Vectors: TypeAlias = "Sequence[npt.NDArray[np.float32]]"
_Insert: TypeAlias = Callable[[Sequence[Document], _Vectors, Sequence[str]], None]
"""Writes documents with their vectors and ids; those of the same ids are replaced."""


def add_multimodal_documents(
    store: VectorStore,
    documents: Iterable[Document],
    embeddings: Embeddings,
    *,
    ids: Sequence[str | None] | None = None,
    batch_size: int = BATCH_DOCUMENTS,
    on_error: OnError = "raise",
    on_failure: Callable[[FailedDocument], object] | None = None,
) -> list[str]:
    """Embeds what documents show, not only their texts, and adds them to a vector store with these vectors.

    The store's own embeddings embed its queries: create it with the same `embeddings`. It must be a
    `MultimodalChroma`, an `InMemoryVectorStore`, a `QdrantVectorStore` of dense vectors, or one with
    `add_embeddings(text_embeddings, metadatas, ids)`, such as FAISS. Documents of the same ids are replaced.

    ```python
    store = InMemoryVectorStore(embeddings)
    add_multimodal_documents(store, Qwen3VLFolderLoader("papers").lazy_load(), embeddings)
    ```

    Args:
        store: Where they go.
        documents: See `image_document`, `video_document` and `Qwen3VLFolderLoader`.
        embeddings: `Qwen3VLEmbeddings`.
        ids: One for each document, or `None` in its place; by default those that they have. A document without one
            is given a random UUID. Qdrant takes no ids but UUIDs and numbers.
        batch_size: Documents that are embedded and written at once.
        on_error: What becomes of a document that cannot be embedded or kept, such as one of a damaged image.
            `"raise"` raises its error; `"skip"` logs a warning, and stores the others. What was stored under its id
            stays.
        on_failure: Called with each document that was left out, when all others are stored: `failures.append`.

    Returns:
        The ids of what is stored, in the order of the documents.

    Raises:
        InputError: A document cannot be embedded; the message begins with its position. The batches before it are kept.
        TypeError: The store takes no vectors.
        ValueError: There are not as many ids as documents, `batch_size` is below 1, or `on_error` is unknown.
    """
    if "MultimodalChroma" in {base.__name__ for base in type(store).__mro__}:
        # It knows what has changed, and embeds only that.
        chroma = cast("Any", store)
        stored = chroma.add_documents(documents, ids=ids, batch_size=batch_size, on_error=on_error)
        failures: Sequence[FailedDocument] = chroma.failures
    else:
        settle_id, insert = _find_insert(store)
        intake = DocumentIntake(on_error=on_error)
        write = partial(_embed_and_insert, intake, embeddings, insert)
        stored = intake.store(documents, ids, batch_size=batch_size, write=write, settle_id=settle_id)
        failures = intake.failures
    if on_failure is not None:
        for failure in failures:
            on_failure(failure)
    return stored


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedDocument:
    """A document that was left out.

    Attributes:
        document: The document; `None` if its image or video could not even be made a document of.
        error: The reason; its `index` is the position among what was given.
    """

    document: Document | None
    error: InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A document, its position among what was given, and the id that it is stored under."""

    place: int
    id: str
    document: Document


class DocumentIntake:
    """Takes documents in, batch by batch.

    Args:
        on_error: What becomes of a document that cannot be stored: `"raise"` raises its error, `"skip"` leaves it out.

    Attributes:
        failures: What was left out, in the order in which it was found out.

    Raises:
        ValueError: `on_error` is unknown.
    """

    def __init__(self, *, on_error: OnError) -> None:
        if on_error not in get_args(OnError):
            raise ValueError(f"on_error={quote(on_error)} must be 'raise' or 'skip'")
        self.failures: list[FailedDocument] = []
        self._is_strict = on_error == "raise"
        self._refused: set[int] = set()

    def store(
        self,
        documents: Iterable[Document | InputError],
        ids: Sequence[str | None] | None,
        *,
        batch_size: int,
        write: Callable[[Sequence[Entry]], None],
        settle_id: Callable[[str], str] = str,
    ) -> list[str]:
        """Returns the ids of the documents that are stored, in their order.

        Args:
            documents: The documents, or in the place of one the error for which there is none.
            ids: One for each document, or `None` in its place; by default the ids that they have. A document without
                one is given a random UUID.
            batch_size: Entries that are written at once, at most.
            write: Stores entries of different ids, and refuses those that cannot be stored.
            settle_id: Returns the form in which a store keeps an id; raises `InputError` if it does not.

        Raises:
            InputError: A document cannot be stored, and is not to be left out; or something is no document at all.
            ValueError: There are not as many ids as documents, or `batch_size` is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        if ids is not None:
            documents = list(documents)
            if len(documents) != len(ids):
                raise ValueError(f"{len(documents)} documents and {len(ids)} ids were given; give one for each")
        entries = self._list_entries(documents, ids, settle_id)
        stored: list[str] = []
        while batch := list(islice(entries, batch_size)):
            self._write_batch(batch, write)
            stored += [entry.id for entry in batch if entry.place not in self._refused]
        return stored

    def refuse(self, place: int, document: Document | None, error: InputError) -> None:
        """Leaves a document out, with a warning.

        Raises:
            InputError: With `on_error="raise"`, `error` at its position.
        """
        placed = error.at(place)
        if self._is_strict:
            raise placed from error
        self._refused.add(place)
        self.failures.append(FailedDocument(document=document, error=placed))
        _LOGGER.warning("a document was left out: %s", error.at(place, role="document"))

    def embed(self, embeddings: Embeddings, entries: Sequence[Entry]) -> dict[str, npt.NDArray[np.float32]]:
        """Returns the vectors of the entries by id; those that cannot be embedded are refused."""
        documents = [entry.document for entry in entries]
        if not documents:
            return {}
        if not isinstance(embeddings, Qwen3VLEmbeddings):
            outcomes = self._embed_texts(embeddings, entries)
        elif self._is_strict:
            try:
                outcomes = list(embeddings.embed_documents_array(documents))
            except InputError as error:
                if error.index is None:
                    raise
                raise error.at(entries[error.index].place) from error
        else:
            outcomes = embeddings.embed_each_document(documents)
        embedded: dict[str, npt.NDArray[np.float32]] = {}
        for entry, outcome in zip(entries, outcomes, strict=True):
            if isinstance(outcome, InputError):
                self.refuse(entry.place, entry.document, outcome)
            else:
                embedded[entry.id] = outcome
        return embedded

    def _embed_texts(self, embeddings: Embeddings, entries: Sequence[Entry]) -> list[VectorOrError]:
        """The vectors of those that are texts; the others are refused."""
        errors = [_check_text(entry.document, embeddings) for entry in entries]
        for entry, error in zip(entries, errors, strict=True):
            if error is not None and self._is_strict:
                self.refuse(entry.place, entry.document, error)
        texts = [entry.document.page_content for entry, error in zip(entries, errors, strict=True) if error is None]
        vectors = iter(np.asarray(embeddings.embed_documents(texts) if texts else [], dtype=np.float32))
        return [next(vectors) if error is None else error for error in errors]

    def _list_entries(
        self,
        documents: Iterable[Document | InputError],
        ids: Sequence[str | None] | None,
        settle_id: Callable[[str], str],
    ) -> Iterator[Entry]:
        for place, document in enumerate(documents):
            if isinstance(document, InputError):
                self.refuse(place, None, document)
                continue
            if not isinstance(document, Document):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not use a type checker
                raise InputError(
                    f"got {type(document).__name__}, and a list of Documents is stored; wrap a single one in a list, "
                    "and give texts to add_texts, images to add_images",
                    index=place,
                )
            given = None if ids is None else ids[place]
            chosen = document.id if given is None else given
            try:
                entry_id = settle_id(str(uuid.uuid4()) if chosen is None else chosen)
            except InputError as error:
                self.refuse(place, document, error)
                continue
            yield Entry(place=place, id=entry_id, document=document)

    def _write_batch(self, batch: Sequence[Entry], write: Callable[[Sequence[Entry]], None]) -> None:
        """Keeps the last storable entry of each id, as if entries came one after the other."""
        pending = list(batch)
        while pending:
            last = {entry.id: entry for entry in pending}
            write(list(last.values()))
            refused = {entry.id: entry.place for entry in last.values() if entry.place in self._refused}
            pending = [entry for entry in pending if entry.place < refused.get(entry.id, -1)]


def _check_text(document: Document, embeddings: Embeddings) -> InputError | None:
    """Why embeddings of texts cannot embed a document; `None` if it is one."""
    try:
        # A page would be rendered.
        if document.metadata.get("media_type") != "page" and isinstance(coerce_item(document), str):
            return None
    except InputError as error:
        return error
    return InputError(
        f"the document shows media, and {type(embeddings).__name__} embeds texts alone; use Qwen3VLEmbeddings"
    )


def _embed_and_insert(
    intake: DocumentIntake, embeddings: Embeddings, insert: _Insert, entries: Sequence[Entry]
) -> None:
    checked = [entry for entry in entries if _can_be_kept(intake, entry)]
    vectors = intake.embed(embeddings, checked)
    kept = [entry for entry in checked if entry.id in vectors]
    if kept:
        insert([entry.document for entry in kept], [vectors[entry.id] for entry in kept], [entry.id for entry in kept])


def _can_be_kept(intake: DocumentIntake, entry: Entry) -> bool:
    """Whether no database would refuse the document, or be damaged by it; else it is refused here."""
    try:
        check_text(entry.id, "the id")
        check_text(entry.document.page_content, "the text")
        check_metadata(entry.document.metadata, allow_nested=True)
    except InputError as error:
        intake.refuse(entry.place, entry.document, error)
        return False
    return True


def _find_insert(store: VectorStore) -> tuple[Callable[[str], str], _Insert]:
    """What brings ids into the form that a store takes, and what writes to it."""
    if isinstance(store, InMemoryVectorStore):
        return str, partial(_insert_in_memory, store)
    qdrant: Any = store if "QdrantVectorStore" in {base.__name__ for base in type(store).__mro__} else None
    if qdrant is not None:
        if qdrant.retrieval_mode.value != "dense":
            raise TypeError(
                f"the QdrantVectorStore is of mode {quote(qdrant.retrieval_mode.value)}; only dense ones are written"
            )
        return _settle_qdrant_id, partial(_insert_in_qdrant, qdrant)
    add_embeddings = getattr(store, "add_embeddings", None)
    if callable(add_embeddings) and set(signature(add_embeddings).parameters) >= _PAIR_ARGUMENTS:
        return str, partial(_insert_pairs, store)
    raise TypeError(
        f"{type(store).__name__} takes no vectors that are given; use MultimodalChroma, InMemoryVectorStore, "
        "QdrantVectorStore, or a store with add_embeddings(text_embeddings, metadatas, ids), such as FAISS"
    )


def _insert_in_memory(
    store: InMemoryVectorStore, documents: Sequence[Document], vectors: _Vectors, ids: Sequence[str]
) -> None:
    for document, vector, row_id in zip(documents, vectors, ids, strict=True):
        # As the store itself writes them.
        store.store[row_id] = {
            "id": row_id,
            "vector": vector.tolist(),
            "text": document.page_content,
            "metadata": dict(document.metadata),
        }


def _insert_pairs(store: Any, documents: Sequence[Document], vectors: _Vectors, ids: Sequence[str]) -> None:
    existing = [document.id for document in store.get_by_ids(list(ids))]
    if existing:
        # FAISS refuses ids that it has.
        store.delete(existing)
    texts = [document.page_content for document in documents]
    store.add_embeddings(
        text_embeddings=list(zip(texts, (vector.tolist() for vector in vectors), strict=True)),
        metadatas=[dict(document.metadata) for document in documents],
        ids=list(ids),
    )


def _insert_in_qdrant(store: Any, documents: Sequence[Document], vectors: _Vectors, ids: Sequence[str]) -> None:
    from qdrant_client.models import PointStruct

    name = store.vector_name
    points = [
        PointStruct(
            id=int(row_id) if row_id.isdecimal() else row_id,
            vector={name: vector.tolist()} if name else vector.tolist(),
            payload={
                store.content_payload_key: document.page_content,
                store.metadata_payload_key: dict(document.metadata),
            },
        )
        for document, vector, row_id in zip(documents, vectors, ids, strict=True)
    ]
    store.client.upsert(collection_name=store.collection_name, points=points)


def _settle_qdrant_id(row_id: str) -> str:
    if row_id.isdecimal():
        return row_id
    try:
        return str(uuid.UUID(row_id))
    except ValueError as error:
        raise InputError(
            f"the id {quote(row_id)} is neither UUID nor number, and Qdrant takes no other; "
            "derive one: str(uuid.uuid5(uuid.NAMESPACE_URL, id))"
        ) from error
