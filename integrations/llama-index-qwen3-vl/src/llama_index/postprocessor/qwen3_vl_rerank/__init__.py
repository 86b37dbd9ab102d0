"""Nodes judged by a model that sees their pixels, and made fit for language models."""

from __future__ import annotations

from llama_index.postprocessor.qwen3_vl_rerank.base import Qwen3VLRerank
from llama_index.postprocessor.qwen3_vl_rerank.media_guard import MediaGuard

__all__ = ["MediaGuard", "Qwen3VLRerank"]
