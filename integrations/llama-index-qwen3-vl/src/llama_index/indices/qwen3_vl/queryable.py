"""An index that is asked: by a retriever, a query engine, a chat engine or an agent."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.llms.utils import LLMType, resolve_llm  # pyright: ignore[reportUnknownVariableType] - LangChain's models are not typed there
from llama_index.core.settings import Settings
from llama_index.core.tools import FunctionTool
from llama_index.core.vector_stores import SimpleVectorStore

from llama_index.indices.qwen3_vl.document_insertion import DocumentInsertion
from llama_index.indices.qwen3_vl.engine_options import require_known
from llama_index.indices.qwen3_vl.engines import (
    RETRIEVER_OPTIONS,
    build_chat_engine,
    build_query_engine,
    build_tool,
)
from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever
from llama_index.retrievers.qwen3_vl.stamps import read_stamp

__all__ = ["QueryableIndex"]


class QueryableIndex(DocumentInsertion):
    """A `VectorStoreIndex` that is asked by texts, pictures and clips."""

    @property
    def names_media(self) -> bool:
        """Whether all media in the store have a `media_type`, so that the store can choose by it."""
        return isinstance(self._vector_store, SimpleVectorStore) or read_stamp(self._vector_store) is not None

    def as_retriever(self, **options: Any) -> Qwen3VLRetriever:
        """Returns a retriever over this index; the options are those of `Qwen3VLRetriever`.

        Raises:
            TypeError: An option is unknown.
            ValueError: An option is out of range.
        """
        require_known(options, RETRIEVER_OPTIONS, "as_retriever")
        own: dict[str, Any] = {"callback_manager": self._callback_manager, "object_map": self._object_map}
        return Qwen3VLRetriever(self, **{**own, **options})

    def as_query_engine(
        self,
        llm: LLMType | None = None,  # pyright: ignore[reportUnknownParameterType] - as above
        *,
        multimodal: bool = True,
        **options: Any,
    ) -> BaseQueryEngine:
        """Returns a query engine whose language model sees what was found, and the pictures of the query.

        Args:
            llm: A chat model that takes pictures; by default `Settings.llm`.
            multimodal: `False` is LlamaIndex's `RetrieverQueryEngine`, for a language model that takes text alone.
            options: Those of `Qwen3VLRetriever`, and of `MultiModalQueryEngine` or `RetrieverQueryEngine.from_args`.

        Raises:
            TypeError: An option is unknown.
            ValueError: The language model is no chat model.
        """
        return build_query_engine(self, self._resolve_llm(llm), options, is_multimodal=multimodal)

    def as_chat_engine(
        self,
        chat_mode: ChatMode = ChatMode.BEST,
        llm: LLMType | None = None,  # pyright: ignore[reportUnknownParameterType] - as above
        *,
        multimodal: bool = True,
        **options: Any,
    ) -> BaseChatEngine:
        """Returns a chat engine whose language model sees what was found.

        LlamaIndex gives chat engines messages of text: what a user attaches, they do not see. For that, give
        `as_tool()` to an agent.

        Args:
            chat_mode: `"context"`, `"condense_plus_context"` (`"best"` is the same), `"condense_question"` or
                `"simple"`, which searches nothing.
            llm: A chat model that takes pictures; by default `Settings.llm`.
            multimodal: `False` for a language model that takes text alone.
            options: Those of `Qwen3VLRetriever` and of the engine.

        Raises:
            TypeError: An option is unknown.
            ValueError: LlamaIndex no longer has the mode.
        """
        return build_chat_engine(self, chat_mode, self._resolve_llm(llm), options, is_multimodal=multimodal)

    def as_tool(
        self,
        *,
        name: str = "search_media",
        description: str = "Finds texts, pictures, pages and clips by what they say and show, and shows them.",
        **options: Any,
    ) -> FunctionTool:
        """Returns a tool for agents, which gets pictures back and may search by those that the user attached.

        Args:
            name: Of the tool.
            description: When to use it, for the language model: say what is in the index.
            options: Those of `Qwen3VLRetriever` and of `multimodal_retriever_tool`.

        Raises:
            TypeError: An option is unknown.
        """
        return build_tool(self, name, description, options)

    def _resolve_llm(self, llm: Any) -> Any:
        return Settings.llm if llm is None else resolve_llm(llm, callback_manager=self._callback_manager)
