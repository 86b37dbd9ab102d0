"""Documents as rows of a Chroma collection: what is kept of them, and what of them has changed since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from chromadb import Collection
from langchain_core.documents import Document

from langchain_qwen3_vl.contents import coerce_item
from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy
from qwen3_vl_retrieval.index import find_local_file, hash_file
from qwen3_vl_retrieval.items import check_text
from qwen3_vl_retrieval.metadata import check_metadata
from qwen3_vl_retrieval.paths import encode_name, encode_path

__all__ = ["Row", "RowChanges", "build_row", "compare_rows", "read_vectors", "split_ids", "write_rows"]

_CONTENT = "urn:sha256:"
"""Begins the `uri` of a row, where Chroma keeps what belongs to a record and is no metadata of the caller's."""

_ROWS_AT_ONCE = 5_000
"""Chroma takes 5,461 rows at once (`get_max_batch_size` of chromadb 1.5.9), and its SQLite 32,766 values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A document as it is kept.

    Attributes:
        id: Id of the row.
        document: The document.
        metadata: Its metadata as Chroma keeps them; `None` if there are none.
        content: Names what the model sees of it; `None` if that is not known, and it is embedded each time.
    """

    id: str
    document: Document
    metadata: dict[str, Any] | None
    content: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChanges:
    """What has to be done so that a collection holds some rows.

    Attributes:
        embedded: Rows that are new, or whose vector would be another one.
        relabelled: Rows whose vector stays, and whose text or metadata are others.
        known: Ids of given rows that the collection holds already.
    """

    embedded: tuple[Row, ...]
    relabelled: tuple[Row, ...]
    known: frozenset[str]


def split_ids(ids: Sequence[str]) -> Iterator[list[str]]:
    """Yields ids in groups that Chroma takes at once."""
    for first in range(0, len(ids), _ROWS_AT_ONCE):
        yield list(ids[first : first + _ROWS_AT_ONCE])


def build_row(
    document: Document, row_id: str, *, is_hashed: bool, media_key: str | None, media_policy: MediaPolicy | None
) -> Row:
    """Returns the row of a document.

    Args:
        document: The document.
        row_id: Id of the row.
        is_hashed: Whether its vector is the same whenever the model sees the same of it.
        media_key: Name of a metadatum that holds its image or video.
        media_policy: What may be opened.

    Raises:
        InputError: The document is not understood, or Chroma cannot keep its id or metadata.
    """
    if not check_text(row_id, "the id"):
        raise InputError("the id is empty; give one with a character at least, or none")
    check_text(document.page_content, "the text")
    metadata = check_metadata(document.metadata, allow_lists=True)
    content = None
    if is_hashed:
        content = _CONTENT + _hash_content(document, media_key=media_key, media_policy=media_policy)
    return Row(id=row_id, document=document, metadata=metadata if metadata else None, content=content)


def compare_rows(collection: Collection, rows: Sequence[Row]) -> RowChanges:
    """Returns what differs between rows and those of the same ids in the collection."""
    found = collection.get(ids=[row.id for row in rows], include=["metadatas", "documents", "uris"])  # pyright: ignore[reportArgumentType] - "uris" is missing in Chroma's type
    texts = cast("Sequence[str | None]", found["documents"])
    metadatas = cast("Sequence[Mapping[str, Any] | None]", found["metadatas"])
    contents = cast("Sequence[str | None]", found["uris"])
    stored = {
        row_id: (content, text, dict(metadata) if metadata else None)
        for row_id, content, text, metadata in zip(found["ids"], contents, texts, metadatas, strict=True)
    }
    embedded: list[Row] = []
    relabelled: list[Row] = []
    for row in rows:
        was = stored.get(row.id)
        if was is None or row.content is None or was[0] != row.content:
            embedded.append(row)
        elif was[1:] != (row.document.page_content, row.metadata):
            relabelled.append(row)
    return RowChanges(embedded=tuple(embedded), relabelled=tuple(relabelled), known=frozenset(stored))


def read_vectors(collection: Collection, rows: Sequence[Row]) -> dict[str, npt.NDArray[np.float32]]:
    """Returns the stored vectors of rows by id."""
    if not rows:
        return {}
    found = collection.get(ids=[row.id for row in rows], include=["embeddings"])
    vectors = zip(found["ids"], cast("Iterable[Any]", found["embeddings"]), strict=True)
    return {row_id: np.asarray(vector, dtype=np.float32) for row_id, vector in vectors}


def write_rows(
    collection: Collection, rows: Sequence[Row], vectors: Mapping[str, npt.NDArray[np.float32]], known: Set[str]
) -> None:
    """Writes rows with their vectors, which are found by id.

    Those among the `known` ids are deleted first: changing a row takes Chroma five to twenty times as long.
    """
    replaced = [row.id for row in rows if row.id in known]
    if replaced:
        collection.delete(ids=replaced)
    has_contents = all(row.content is not None for row in rows)
    collection.add(
        ids=[row.id for row in rows],
        embeddings=[vectors[row.id] for row in rows],
        # Chroma's type knows no rows without metadata; its code does.
        metadatas=cast("Any", [row.metadata for row in rows]),
        documents=[row.document.page_content for row in rows],
        uris=cast("list[str]", [row.content for row in rows]) if has_contents else None,
    )


def _hash_content(document: Document, *, media_key: str | None, media_policy: MediaPolicy | None) -> str:
    """The SHA-256 of what the model sees of a document: whether it would still have the vector that is stored for it.

    Texts count where they are embedded, files by their bytes, and names of files not at all. So an image that is
    replaced behind the same name is embedded again, and one that is renamed, or has another caption, is not. URLs count
    by their names: what they lead to now is not known without asking. Files that the policy refuses are not hashed:
    embedding them is refused anyway.
    """
    metadata = document.metadata
    if metadata.get("media_type") == "page" and media_key is None and metadata.get("image") is None:
        # Rendered when it is embedded, not twice.
        content = ["page", _name_content(metadata.get("source"), media_policy), metadata.get("page")]
    else:
        item = coerce_item(document, media_key=media_key, media_policy=media_policy)
        content = item if isinstance(item, str) else _name_content(item, media_policy)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _name_content(value: Any, media_policy: MediaPolicy | None) -> Any:
    """The item of a document with hashes in place of images and videos."""
    match value:
        case Mapping():
            item = cast("Mapping[str, Any]", value)
            return {
                name: _name_content(inner, media_policy) if name in ("image", "video") else inner
                for name, inner in item.items()
            }
        case list() | tuple():
            return [_name_content(inner, media_policy) for inner in cast("Sequence[Any]", value)]
        case str() | Path():
            return _hash_source(value, media_policy)
        case _:
            return repr(value)


def _hash_source(source: str | Path, media_policy: MediaPolicy | None) -> str:
    name = encode_path(source) if isinstance(source, Path) else encode_name(source)
    path = find_local_file(name)
    if path is None:
        return name
    try:
        return hash_file(path, media_policy)
    except MediaError:
        # Missing, refused, a folder or a device: reading it for the model says what is wrong.
        return f"unread {name}"
