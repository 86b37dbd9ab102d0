"""Multimodal retrieval for LangChain."""

__version__ = "0.1.0"
