"""A query engine whose language model sees the images of the query beside those that were found."""

from llama_index.query_engine.qwen3_vl.base import MultiModalQueryEngine

__all__ = ["MultiModalQueryEngine"]
