"""Chroma: directories that processes share, the collection of an index, and an embedding function for your own.

Everything that opens a directory of Chroma does it by `directory`: telemetry off, one writer at a time, bound to one
vector space. The names below are imported when first used; chromadb is imported with the first client that is opened,
and by `embedding_function`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen3_vl_retrieval.lazy_imports import import_lazily

if TYPE_CHECKING:
    from qwen3_vl_retrieval.chroma.directory import (
        STAMP,
        ChromaDirectory,
        SharedCollection,
        check_stamp,
        parse_stamp,
        read_stamp,
        stamp_metadata,
        write_stamp,
    )
    from qwen3_vl_retrieval.chroma.embedding_function import MediaUriLoader, Qwen3VLEmbeddingFunction
    from qwen3_vl_retrieval.chroma.repair import RepairedRow, is_chroma_folder, repair_chroma

__all__ = [
    "STAMP",
    "ChromaDirectory",
    "MediaUriLoader",
    "Qwen3VLEmbeddingFunction",
    "RepairedRow",
    "SharedCollection",
    "check_stamp",
    "is_chroma_folder",
    "parse_stamp",
    "read_stamp",
    "repair_chroma",
    "stamp_metadata",
    "write_stamp",
]

_MODULES = {
    "STAMP": "chroma.directory",
    "ChromaDirectory": "chroma.directory",
    "MediaUriLoader": "chroma.embedding_function",
    "Qwen3VLEmbeddingFunction": "chroma.embedding_function",
    "RepairedRow": "chroma.repair",
    "SharedCollection": "chroma.directory",
    "check_stamp": "chroma.directory",
    "is_chroma_folder": "chroma.repair",
    "parse_stamp": "chroma.directory",
    "read_stamp": "chroma.directory",
    "repair_chroma": "chroma.repair",
    "stamp_metadata": "chroma.directory",
    "write_stamp": "chroma.directory",
}

__getattr__ = import_lazily(__name__, _MODULES)


def __dir__() -> list[str]:
    """Returns the public names."""
    return sorted(__all__)
