"""Retrieval of texts, images, pages and videos by texts, images and videos."""

from __future__ import annotations

from llama_index.embeddings.qwen3_vl import MultiModalQueryBundle
from llama_index.retrievers.qwen3_vl.base import Qwen3VLRetriever

__all__ = ["MultiModalQueryBundle", "Qwen3VLRetriever"]
