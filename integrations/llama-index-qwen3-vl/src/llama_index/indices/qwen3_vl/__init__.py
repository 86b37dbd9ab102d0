"""One index of texts, images, pages and videos in one vector space."""

from __future__ import annotations

from llama_index.indices.qwen3_vl.base import UnifiedMultiModalIndex

__all__ = ["UnifiedMultiModalIndex"]
