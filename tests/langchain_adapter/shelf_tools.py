"""A tool over a retriever that returns what it was given, and what an answer of it holds."""

from __future__ import annotations

import base64
import io
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import ToolMessage
from langchain_core.retrievers import BaseRetriever
from PIL import Image
from pydantic import Field

from langchain_adapter.scripted_models import call_tool
from langchain_qwen3_vl.tools import create_multimodal_retriever_tool

__all__ = ["ShelfRetriever", "call", "encode_image", "list_kinds", "make_tool", "open_block", "search_with"]


class ShelfRetriever(BaseRetriever):
    """Returns what it was given, and keeps what it was asked."""

    documents: list[Document]
    asked: list[Any] = Field(default_factory=list)

    def _get_relevant_documents(self, query, *, run_manager):
        self.asked.append(query)
        return list(self.documents)


def make_tool(retriever, **options):
    options.setdefault("media", "image_block")
    return create_multimodal_retriever_tool(retriever, "search", "Searches the shelf.", **options)


def call(tool, **arguments) -> ToolMessage:
    return tool.invoke(call_tool("search", **arguments))


def list_kinds(message) -> list[str]:
    return [block["type"] for block in message.content]


def open_block(block) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(block["base64"])))


def encode_image(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")


def search_with(tool, image_id, messages=(), query="like this") -> ToolMessage:
    """Calls the tool as an agent with these messages does."""
    found = call_tool("search", query=query, query_image_id=image_id)
    found["args"]["messages"] = list(messages)
    return tool.invoke(found)
