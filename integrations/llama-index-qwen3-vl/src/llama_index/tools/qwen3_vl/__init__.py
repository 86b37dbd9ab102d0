"""A retriever as a tool of an agent that sees the images that are found."""

from llama_index.tools.qwen3_vl.base import multimodal_retriever_tool

__all__ = ["multimodal_retriever_tool"]
