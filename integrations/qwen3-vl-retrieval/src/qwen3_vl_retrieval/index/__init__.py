"""Documents, pages, clips and texts: read into units, kept on disk, searched in two stages.

How a query flows: `two_stages` embeds it, `candidates` recalls units from the `store` (its `collection` of short
vectors, the `sidecar` of full ones, the words in its `catalog`), `judging` orders them, `hits` shows them. How a file
flows: `files` finds it, `findings` takes it apart into `units`, `pipeline` embeds them, the `store` keeps them.

The names below are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwen3_vl_retrieval.index.chroma_repair import RepairedRow, repair_chroma
    from qwen3_vl_retrieval.index.documents import build_item, describe_hit, describe_unit, draw_document
    from qwen3_vl_retrieval.index.embedding_function import MediaUriLoader, Qwen3VLEmbeddingFunction
    from qwen3_vl_retrieval.index.files import Listing, SkippedFile, list_files
    from qwen3_vl_retrieval.index.hits import Hit, SearchResults
    from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
    from qwen3_vl_retrieval.index.progress import IndexProgress, IndexReport, write_failures
    from qwen3_vl_retrieval.index.results import FailedFile
    from qwen3_vl_retrieval.index.statistics import IndexStatistics
    from qwen3_vl_retrieval.index.store import CompactReport, Store
    from qwen3_vl_retrieval.index.transfer import export_store, import_store
    from qwen3_vl_retrieval.index.units import Unit, read_units

__all__ = [
    "CompactReport",
    "FailedFile",
    "Hit",
    "IndexProgress",
    "IndexReport",
    "IndexStatistics",
    "Listing",
    "MediaUriLoader",
    "MultimodalIndex",
    "Qwen3VLEmbeddingFunction",
    "RepairedRow",
    "SearchResults",
    "SkippedFile",
    "Store",
    "Unit",
    "build_item",
    "describe_hit",
    "describe_unit",
    "draw_document",
    "export_store",
    "import_store",
    "list_files",
    "read_units",
    "repair_chroma",
    "write_failures",
]

_MODULES = {
    "CompactReport": "store",
    "FailedFile": "results",
    "Hit": "hits",
    "IndexProgress": "progress",
    "IndexReport": "progress",
    "IndexStatistics": "statistics",
    "Listing": "files",
    "MediaUriLoader": "embedding_function",
    "MultimodalIndex": "multimodal_index",
    "Qwen3VLEmbeddingFunction": "embedding_function",
    "RepairedRow": "chroma_repair",
    "SearchResults": "hits",
    "SkippedFile": "files",
    "Store": "store",
    "Unit": "units",
    "build_item": "documents",
    "describe_hit": "documents",
    "describe_unit": "documents",
    "draw_document": "documents",
    "export_store": "transfer",
    "import_store": "transfer",
    "list_files": "files",
    "read_units": "units",
    "repair_chroma": "chroma_repair",
    "write_failures": "progress",
}


def __getattr__(name: str) -> Any:
    """Returns the public name, importing its module; raises `AttributeError` for any other."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Returns the public names."""
    return sorted(__all__)
