"""Retrieval of texts, pictures, pages and clips by texts, pictures and clips."""

from __future__ import annotations

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
from llama_index.retrievers.qwen3_vl.base import Qwen3VLRetriever

__all__ = ["MultiModalQueryBundle", "Qwen3VLRetriever"]
