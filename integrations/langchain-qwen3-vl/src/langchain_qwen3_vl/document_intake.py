"""Documents on their way into a store: their ids, their batches, and what becomes of those that cannot be stored."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from langchain_qwen3_vl.document_vectors import embed_documents, embed_each_document
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.errors import quote

__all__ = ["BATCH_DOCUMENTS", "DocumentIntake", "Entry", "FailedDocument", "OnError", "Write"]

_LOGGER = logging.getLogger(__name__)

BATCH_DOCUMENTS = 256
"""Enough for the engine to fill forward passes, and seconds of work that an interruption loses."""

OnError: TypeAlias = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedDocument:
    """A document that was left out.

    Attributes:
        document: It; `None` if its picture or clip could not even be made a document of.
        error: Why; its `index` is the position among what was given.
    """

    document: Document | None
    error: InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A document, its position among what was given, and the id that it is stored under."""

    place: int
    id: str
    document: Document


Write: TypeAlias = Callable[[Sequence[Entry]], None]
"""Stores entries of different ids, and refuses those that cannot be stored."""


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
        write: Write,
        settle_id: Callable[[str], str] = str,
    ) -> list[str]:
        """Returns the ids of the documents that are stored, in their order.

        Args:
            documents: They, or in the place of one why there is none.
            ids: One for each of them, or `None` in its place; by default the ids that they have. Who has none is given
                a random UUID.
            batch_size: Entries that are written at once, at most.
            write: Writes them.
            settle_id: Returns the form in which a store keeps an id; raises `InputError` if it does not.

        Raises:
            InputError: One cannot be stored, and is not to be left out; or one is no document at all.
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
        if self._is_strict:
            try:
                vectors = embed_documents(embeddings, documents)
            except InputError as error:
                if error.index is None:
                    raise
                raise error.at(entries[error.index].place) from error
            return {entry.id: vector for entry, vector in zip(entries, vectors, strict=True)}
        embedded: dict[str, npt.NDArray[np.float32]] = {}
        for entry, outcome in zip(entries, embed_each_document(embeddings, documents), strict=True):
            if isinstance(outcome, InputError):
                self.refuse(entry.place, entry.document, outcome)
            else:
                embedded[entry.id] = outcome
        return embedded

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
                    "and give texts to add_texts, pictures to add_images",
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

    def _write_batch(self, batch: Sequence[Entry], write: Write) -> None:
        """Of several entries with one id the last one that can be stored is, as if they came one after the other."""
        pending = list(batch)
        while pending:
            last = {entry.id: entry for entry in pending}
            write(list(last.values()))
            pending = [entry for entry in pending if self._is_next(entry, last[entry.id])]

    def _is_next(self, entry: Entry, last: Entry) -> bool:
        return last.place in self._refused and entry.place < last.place
