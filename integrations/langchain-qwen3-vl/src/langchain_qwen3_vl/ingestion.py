"""Documents with media in any store that takes vectors; stores by themselves embed only texts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import signature
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from langchain_qwen3_vl.document_intake import BATCH_DOCUMENTS, DocumentIntake, Entry, FailedDocument, OnError
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.items import check_text
from qwen3_vl_retrieval.metadata import check_metadata

__all__ = ["add_multimodal_documents"]

_PAIR_ARGUMENTS = frozenset({"text_embeddings", "metadatas", "ids"})
"""Of a method that writes texts with their vectors, as FAISS has it."""

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
        ids: One for each document, or `None` in its place; by default those that they have. Who has none is given a
            random UUID. Qdrant takes no ids but UUIDs and numbers.
        batch_size: Documents that are embedded and written at once.
        on_error: What becomes of a document that cannot be embedded or kept, such as one of a damaged picture.
            `"raise"` raises its error; `"skip"` logs a warning, and stores the others. What was stored under its id
            stays.
        on_failure: Is told, when all others are stored, of each document that was left out: `failures.append`.

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
        return str, _insert_in_memory(store)
    if "QdrantVectorStore" in {base.__name__ for base in type(store).__mro__}:
        return _settle_qdrant_id, _insert_in_qdrant(store)
    add_embeddings = getattr(store, "add_embeddings", None)
    if callable(add_embeddings) and set(signature(add_embeddings).parameters) >= _PAIR_ARGUMENTS:
        return str, _insert_pairs(store)
    raise TypeError(
        f"{type(store).__name__} takes no vectors that are given; use MultimodalChroma, InMemoryVectorStore, "
        "QdrantVectorStore, or a store with add_embeddings(text_embeddings, metadatas, ids), such as FAISS"
    )


def _insert_in_memory(store: InMemoryVectorStore) -> _Insert:
    def insert(documents: Sequence[Document], vectors: _Vectors, ids: Sequence[str]) -> None:
        for document, vector, row_id in zip(documents, vectors, ids, strict=True):
            # As the store itself writes them.
            store.store[row_id] = {
                "id": row_id,
                "vector": vector.tolist(),
                "text": document.page_content,
                "metadata": dict(document.metadata),
            }

    return insert


def _insert_pairs(store: Any) -> _Insert:
    def insert(documents: Sequence[Document], vectors: _Vectors, ids: Sequence[str]) -> None:
        existing = [document.id for document in store.get_by_ids(list(ids))]
        if existing:
            # FAISS refuses ids that it has.
            store.delete(existing)
        store.add_embeddings(
            text_embeddings=[
                (document.page_content, vector.tolist()) for document, vector in zip(documents, vectors, strict=True)
            ],
            metadatas=[dict(document.metadata) for document in documents],
            ids=list(ids),
        )

    return insert


def _insert_in_qdrant(store: Any) -> _Insert:
    from qdrant_client.models import PointStruct

    if store.retrieval_mode.value != "dense":
        raise TypeError(
            f"the QdrantVectorStore is of mode {quote(store.retrieval_mode.value)}; only dense ones are written"
        )

    def insert(documents: Sequence[Document], vectors: _Vectors, ids: Sequence[str]) -> None:
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

    return insert


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
