"""Chroma: directories that processes share, the collection of an index, and an embedding function for your own.

Everything that opens a directory of Chroma does it by `directory`: telemetry off, one writer at a time, bound to one
vector space. The names below are imported when first used; chromadb is imported with the first client that is opened,
and by `embedding_function`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    "STAMP": "directory",
    "ChromaDirectory": "directory",
    "MediaUriLoader": "embedding_function",
    "Qwen3VLEmbeddingFunction": "embedding_function",
    "RepairedRow": "repair",
    "SharedCollection": "directory",
    "check_stamp": "directory",
    "is_chroma_folder": "repair",
    "parse_stamp": "directory",
    "read_stamp": "directory",
    "repair_chroma": "repair",
    "stamp_metadata": "directory",
    "write_stamp": "directory",
}


def __getattr__(name: str) -> Any:
    """Returns the public name, importing its module; raises `AttributeError` for any other."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Returns the public names."""
    return sorted(__all__)
