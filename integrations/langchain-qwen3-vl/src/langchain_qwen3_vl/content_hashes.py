"""Whether a document would still have the vector that is stored for it: a hash of what the model sees of it.

Texts count where they are embedded, files by their bytes, and names of files not at all. So a picture that is replaced
behind the same name is embedded again, and one that is renamed, or has another caption, is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from langchain_core.documents import Document

from langchain_qwen3_vl.contents import coerce_item
from qwen3_vl_retrieval import MediaError, MediaPolicy
from qwen3_vl_retrieval.index import find_local_file, hash_file
from qwen3_vl_retrieval.paths import encode_name, encode_path

__all__ = ["hash_content"]


def hash_content(document: Document, *, media_key: str | None = None, media_policy: MediaPolicy | None = None) -> str:
    """Returns the SHA-256 of what the model sees of a document.

    Of a URL that is its name: what it leads to now is not known without asking.

    Args:
        document: See `qwen3_vl_retrieval.index.build_item` for what is read of it.
        media_key: Name of a metadatum that holds its picture or clip.
        media_policy: What may be opened. Files beyond it are not hashed: embedding them is refused anyway.

    Raises:
        InputError: The document is not understood.
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
    """The item of a document with hashes in place of pictures and clips."""
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
