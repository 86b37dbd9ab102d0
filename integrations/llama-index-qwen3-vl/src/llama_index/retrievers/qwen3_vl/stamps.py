"""Which vector space a collection of Chroma holds: written into its metadata, and checked before it is searched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index.retrievers.qwen3_vl.scores import find_chroma_collection
from qwen3_vl_retrieval import Fingerprint, FingerprintMismatchError
from qwen3_vl_retrieval.errors import quote

__all__ = ["STAMP", "parse_stamp", "read_stamp", "write_stamp"]

STAMP = "qwen3vl_fingerprint"
"""The same name in stores of LangChain, which can be opened here, and the other way round."""

_INDEX_PREFIX = "hnsw:"
"""Of settings that older versions of Chroma kept in the metadata, where they can no longer be written."""


def read_stamp(store: BasePydanticVectorStore) -> Fingerprint | None:
    """Returns the fingerprint that a store carries; `None` if it carries none.

    Raises:
        FingerprintMismatchError: The fingerprint is damaged.
    """
    collection = find_chroma_collection(store)
    told = None if collection is None else cast("Mapping[str, Any] | None", collection.metadata)
    stamp = None if told is None else told.get(STAMP)
    return parse_stamp(stamp) if isinstance(stamp, str) else None


def write_stamp(collection: Any, fingerprint: Fingerprint) -> None:
    """Writes the fingerprint into the metadata of a collection of Chroma, beside what is there."""
    told = cast("Mapping[str, Any] | None", collection.metadata)
    kept = {} if told is None else {name: value for name, value in told.items() if not name.startswith(_INDEX_PREFIX)}
    collection.modify(metadata={**kept, STAMP: json.dumps(fingerprint.to_dict(), sort_keys=True)})


def parse_stamp(stamp: str) -> Fingerprint:
    """Returns the fingerprint that a text holds.

    Raises:
        FingerprintMismatchError: It holds none.
    """
    try:
        return Fingerprint.from_dict(json.loads(stamp))
    except json.JSONDecodeError as error:
        raise FingerprintMismatchError(f"the fingerprint of the store is damaged: {quote(stamp)}") from error
