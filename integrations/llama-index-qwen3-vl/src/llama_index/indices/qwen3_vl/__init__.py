"""One index of texts, pictures, pages and clips in one vector space."""

from __future__ import annotations

from llama_index.indices.qwen3_vl.base import UnifiedMultiModalIndex

__all__ = ["UnifiedMultiModalIndex"]
