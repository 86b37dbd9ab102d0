"""Documents, pages, videos and texts: read into units, kept on disk, searched in two stages.

How a query flows: `search` embeds it and recalls units from the `store` (its `collection` of short vectors, the file
of full ones, the words in its `catalog`), `judging` orders them, `hits` shows them. How a file flows: `files` finds it,
`source_reader` takes it apart into `units`, `pipeline` embeds them, the `store` keeps them. A `Unit` is held by what is
kept of it (`Record`) and by what is found (`Hit`).

The names below are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen3_vl_retrieval.lazy_imports import import_lazily

if TYPE_CHECKING:
    from qwen3_vl_retrieval.chroma.embedding_function import MediaUriLoader, Qwen3VLEmbeddingFunction
    from qwen3_vl_retrieval.chroma.repair import RepairedRow, repair_chroma
    from qwen3_vl_retrieval.documents.descriptions import build_item, describe_unit, draw_document
    from qwen3_vl_retrieval.documents.files import Listing, SkippedFile, list_files
    from qwen3_vl_retrieval.documents.media_store import (
        MediaFormat,
        Medium,
        decode_data_uri,
        find_local_file,
        hash_file,
        identify_media,
        keep_file,
        keep_media,
    )
    from qwen3_vl_retrieval.documents.previews import LEAST_IMAGE_BYTES, encode_jpeg, encode_png, share_images
    from qwen3_vl_retrieval.documents.speech import TranscribeSpeech, Utterance
    from qwen3_vl_retrieval.documents.units import Unit, read_units
    from qwen3_vl_retrieval.documents.whisper import WhisperTranscriber, transcribe_with_whisper
    from qwen3_vl_retrieval.index.ingest.progress import IndexProgress, IndexReport, write_failures
    from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
    from qwen3_vl_retrieval.index.results.hits import FailedFile, Hit, SearchResults, describe_hit
    from qwen3_vl_retrieval.index.store.parquet import export_store, import_store
    from qwen3_vl_retrieval.index.store.store import CompactReport, IndexStatistics, Store
    from qwen3_vl_retrieval.index.thresholds import find_relevance_threshold, find_threshold

__all__ = [
    "LEAST_IMAGE_BYTES",
    "CompactReport",
    "FailedFile",
    "Hit",
    "IndexProgress",
    "IndexReport",
    "IndexStatistics",
    "Listing",
    "MediaFormat",
    "MediaUriLoader",
    "Medium",
    "MultimodalIndex",
    "Qwen3VLEmbeddingFunction",
    "RepairedRow",
    "SearchResults",
    "SkippedFile",
    "Store",
    "TranscribeSpeech",
    "Unit",
    "Utterance",
    "WhisperTranscriber",
    "build_item",
    "decode_data_uri",
    "describe_hit",
    "describe_unit",
    "draw_document",
    "encode_jpeg",
    "encode_png",
    "export_store",
    "find_local_file",
    "find_relevance_threshold",
    "find_threshold",
    "hash_file",
    "identify_media",
    "import_store",
    "keep_file",
    "keep_media",
    "list_files",
    "read_units",
    "repair_chroma",
    "share_images",
    "transcribe_with_whisper",
    "write_failures",
]

_MODULES = {
    "CompactReport": "index.store.store",
    "FailedFile": "index.results.hits",
    "Hit": "index.results.hits",
    "IndexProgress": "index.ingest.progress",
    "IndexReport": "index.ingest.progress",
    "IndexStatistics": "index.store.store",
    "LEAST_IMAGE_BYTES": "documents.previews",
    "Listing": "documents.files",
    "MediaFormat": "documents.media_store",
    "MediaUriLoader": "chroma.embedding_function",
    "Medium": "documents.media_store",
    "MultimodalIndex": "index.multimodal_index",
    "Qwen3VLEmbeddingFunction": "chroma.embedding_function",
    "RepairedRow": "chroma.repair",
    "SearchResults": "index.results.hits",
    "SkippedFile": "documents.files",
    "Store": "index.store.store",
    "TranscribeSpeech": "documents.speech",
    "Unit": "documents.units",
    "Utterance": "documents.speech",
    "WhisperTranscriber": "documents.whisper",
    "build_item": "documents.descriptions",
    "decode_data_uri": "documents.media_store",
    "describe_hit": "index.results.hits",
    "describe_unit": "documents.descriptions",
    "draw_document": "documents.descriptions",
    "encode_jpeg": "documents.previews",
    "encode_png": "documents.previews",
    "export_store": "index.store.parquet",
    "find_local_file": "documents.media_store",
    "find_relevance_threshold": "index.thresholds",
    "find_threshold": "index.thresholds",
    "hash_file": "documents.media_store",
    "identify_media": "documents.media_store",
    "import_store": "index.store.parquet",
    "keep_file": "documents.media_store",
    "keep_media": "documents.media_store",
    "list_files": "documents.files",
    "read_units": "documents.units",
    "repair_chroma": "chroma.repair",
    "share_images": "documents.previews",
    "transcribe_with_whisper": "documents.whisper",
    "write_failures": "index.ingest.progress",
}

__getattr__ = import_lazily(__name__, _MODULES)


def __dir__() -> list[str]:
    """Returns the public names."""
    return sorted(__all__)
