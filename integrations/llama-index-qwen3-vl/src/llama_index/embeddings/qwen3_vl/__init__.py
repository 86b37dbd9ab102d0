"""Text, images, pages, videos and mixtures of them in one vector space, as LlamaIndex asks for them."""

from __future__ import annotations

from llama_index.embeddings.qwen3_vl.base import Qwen3VLEmbedding
from llama_index.schema.qwen3_vl.nodes import CaptionMode
from llama_index.schema.qwen3_vl.queries import MultiModalQueryBundle

__all__ = ["CaptionMode", "MultiModalQueryBundle", "Qwen3VLEmbedding"]
