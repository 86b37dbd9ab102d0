"""What the packages of this distribution share: queries, nodes, their media, and what language models are shown."""

from __future__ import annotations

from llama_index.schema.qwen3_vl.nodes import CaptionMode
from llama_index.schema.qwen3_vl.queries import MultiModalQueryBundle

__all__ = ["CaptionMode", "MultiModalQueryBundle"]
