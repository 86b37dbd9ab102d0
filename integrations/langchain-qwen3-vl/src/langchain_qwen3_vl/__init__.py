"""Multimodal retrieval for LangChain with Qwen3-VL-Embedding and Qwen3-VL-Reranker.

How a query flows: `retrievers` finds candidates in a vector store or index and lets `rerank` judge them with their
pixels, `tools` hands them to an agent, images included. How a document flows: `documents` and `document_loaders`
describe media in plain metadata, `vectorstores` and `ingestion` embed what the metadata name, and leave out what cannot
be embedded. Whatever LangChain passes on, `contents` makes an item of the core of it; `models` names the model.

The names below are imported when first used; neither torch nor chromadb is loaded before an object needs it. With
langchain-core 1.8 and later there is `Qwen3VLDecisionModel` besides.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_qwen3_vl.contents import LangChainItem
    from langchain_qwen3_vl.cross_encoders import Qwen3VLCrossEncoder
    from langchain_qwen3_vl.document_loaders import Qwen3VLFolderLoader
    from langchain_qwen3_vl.documents import (
        document_to_content_blocks,
        image_document,
        media_key_encoder,
        video_document,
    )
    from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
    from langchain_qwen3_vl.ingestion import FailedDocument, add_multimodal_documents
    from langchain_qwen3_vl.middleware import MultimodalToolImagesMiddleware
    from langchain_qwen3_vl.question_writers import adapt_chat_model
    from langchain_qwen3_vl.rerank import Qwen3VLRerank
    from langchain_qwen3_vl.retrievers import Qwen3VLRetriever
    from langchain_qwen3_vl.tools import create_multimodal_retriever_tool
    from langchain_qwen3_vl.vectorstores import MultimodalChroma

__all__ = [
    "FailedDocument",
    "LangChainItem",
    "MultimodalChroma",
    "MultimodalToolImagesMiddleware",
    "Qwen3VLCrossEncoder",
    "Qwen3VLEmbeddings",
    "Qwen3VLFolderLoader",
    "Qwen3VLRerank",
    "Qwen3VLRetriever",
    "adapt_chat_model",
    "add_multimodal_documents",
    "create_multimodal_retriever_tool",
    "document_to_content_blocks",
    "image_document",
    "media_key_encoder",
    "video_document",
]

__version__ = "0.1.0"

_MODULES = {
    "FailedDocument": "ingestion",
    "LangChainItem": "contents",
    "MultimodalChroma": "vectorstores",
    "MultimodalToolImagesMiddleware": "middleware",
    "Qwen3VLCrossEncoder": "cross_encoders",
    "Qwen3VLDecisionModel": "decisions",
    "Qwen3VLEmbeddings": "embeddings",
    "Qwen3VLFolderLoader": "document_loaders",
    "Qwen3VLRerank": "rerank",
    "Qwen3VLRetriever": "retrievers",
    "adapt_chat_model": "question_writers",
    "add_multimodal_documents": "ingestion",
    "create_multimodal_retriever_tool": "tools",
    "document_to_content_blocks": "documents",
    "image_document": "documents",
    "media_key_encoder": "documents",
    "video_document": "documents",
}

_EXTRAS: dict[str | None, str] = {
    "chromadb": "chroma",
    "langchain_chroma": "chroma",
    "langchain": "agents",
    "langgraph": "agents",
}
"""What is installed only on request, and with which extra."""


def __getattr__(name: str) -> Any:
    """Returns the public name, importing its module; raises `AttributeError` for any other."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_MODULES[name]}")
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        raise ImportError(
            f'{name} needs {error.name}; install it with: pip install "langchain-qwen3-vl[{_EXTRAS[error.name]}]"'
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    """Returns the public names."""
    return sorted(__all__)
