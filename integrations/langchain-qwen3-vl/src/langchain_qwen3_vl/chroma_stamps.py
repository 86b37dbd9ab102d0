"""Which vector space a Chroma collection holds: written into its metadata, and checked whenever it is opened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from chromadb import Collection

from qwen3_vl_retrieval import Fingerprint, FingerprintMismatchError
from qwen3_vl_retrieval.errors import quote

__all__ = ["check_stamp", "stamp_metadata"]

_STAMP = "qwen3vl_fingerprint"
_INDEX_PREFIX = "hnsw:"
"""Of settings that older versions of Chroma kept in the metadata, where they can no longer be written."""


def stamp_metadata(metadata: Mapping[str, Any] | None, fingerprint: Fingerprint | None) -> dict[str, Any] | None:
    """Returns the metadata of a new collection with the fingerprint in them; `None` if there are none."""
    given = {} if metadata is None else dict(metadata)
    if fingerprint is not None:
        given[_STAMP] = json.dumps(fingerprint.to_dict(), sort_keys=True)
    return given if given else None


def check_stamp(collection: Collection, fingerprint: Fingerprint | None) -> None:
    """Passes silently if vectors of `fingerprint` may be compared with those of the collection.

    A collection without rows and without a fingerprint is given this one.

    Args:
        collection: It.
        fingerprint: Of the embeddings; `None` for those that have none.

    Raises:
        FingerprintMismatchError: The vectors come from another space, or one of the two spaces is unknown.
    """
    told = cast("Mapping[str, Any] | None", collection.metadata)
    metadata: Mapping[str, Any] = {} if told is None else told
    stamp = metadata.get(_STAMP)
    if isinstance(stamp, str):
        if fingerprint is None:
            raise FingerprintMismatchError(
                f"the collection {quote(collection.name)} holds vectors of {stamp}, and these embeddings do not "
                "say which space theirs are of; open it with the Qwen3VLEmbeddings that wrote it"
            )
        fingerprint.require_match(_read_stamp(stamp))
    elif fingerprint is not None:
        rows = collection.count()
        if rows:
            raise FingerprintMismatchError(
                f"the collection {quote(collection.name)} holds {rows:,} vectors of an unknown space: another class or "
                "other embeddings wrote it. Choose another collection_name, and embed the documents again"
            )
        kept = {name: value for name, value in metadata.items() if not name.startswith(_INDEX_PREFIX)}
        collection.modify(metadata=stamp_metadata(kept, fingerprint))


def _read_stamp(stamp: str) -> Fingerprint:
    try:
        return Fingerprint.from_dict(json.loads(stamp))
    except json.JSONDecodeError as error:
        raise FingerprintMismatchError(f"the fingerprint of the collection is damaged: {quote(stamp)}") from error
