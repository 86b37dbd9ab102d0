"""Query engines, chat engines and tools over an index, whose language models see what was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.chat_engine.multi_modal_condense_plus_context import MultiModalCondensePlusContextChatEngine
from llama_index.core.chat_engine.multi_modal_context import MultiModalContextChatEngine
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.llms import LLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.tools import FunctionTool

from llama_index.indices.qwen3_vl.chat_nodes import ChatNodes
from llama_index.indices.qwen3_vl.engine_options import list_names, require_known, split_options
from llama_index.postprocessor.qwen3_vl_rerank import MediaGuard
from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever
from qwen3_vl_retrieval.errors import quote

__all__ = ["RETRIEVER_OPTIONS", "build_chat_engine", "build_query_engine", "build_tool"]

RETRIEVER_OPTIONS = list_names(Qwen3VLRetriever.__init__) - {"index"}

_CHAT_ENGINES: dict[tuple[ChatMode, bool], Any] = {
    (ChatMode.CONTEXT, True): MultiModalContextChatEngine,
    (ChatMode.CONTEXT, False): ContextChatEngine,
    (ChatMode.CONDENSE_PLUS_CONTEXT, True): MultiModalCondensePlusContextChatEngine,
    (ChatMode.CONDENSE_PLUS_CONTEXT, False): CondensePlusContextChatEngine,
    (ChatMode.BEST, True): MultiModalCondensePlusContextChatEngine,
    (ChatMode.BEST, False): CondensePlusContextChatEngine,
}
"""With whether the language model sees pictures."""


def build_query_engine(
    index: VectorStoreIndex, llm: LLM, options: Mapping[str, Any], *, is_multimodal: bool
) -> BaseQueryEngine:
    """Returns a query engine; the options are those of the retriever and of the engine.

    Raises:
        TypeError: An option is neither.
        ValueError: The language model is no chat model.
    """
    from llama_index.query_engine.qwen3_vl import MultiModalQueryEngine

    own = {"retriever", "llm", "multimodal"}
    if is_multimodal:
        names = list_names(MultiModalQueryEngine.from_args, MultiModalQueryEngine.__init__) - own
        chosen, rest = split_options(options, RETRIEVER_OPTIONS, names, "as_query_engine")
        return MultiModalQueryEngine.from_args(index.as_retriever(**chosen), llm=llm, **rest)
    names = list_names(RetrieverQueryEngine.from_args) - own
    chosen, rest = split_options(options, RETRIEVER_OPTIONS, names, "as_query_engine")
    return RetrieverQueryEngine.from_args(index.as_retriever(**chosen), llm=llm, multimodal=False, **rest)


def build_chat_engine(
    index: VectorStoreIndex, chat_mode: ChatMode, llm: LLM, options: Mapping[str, Any], *, is_multimodal: bool
) -> BaseChatEngine:
    """Returns a chat engine; the options are those of the retriever and of the engine.

    Raises:
        TypeError: An option is neither.
        ValueError: LlamaIndex no longer has the mode.
    """
    mode = ChatMode(chat_mode)
    if mode == ChatMode.SIMPLE:
        require_known(options, list_names(SimpleChatEngine.from_defaults) - {"llm"}, "as_chat_engine('simple')")
        return SimpleChatEngine.from_defaults(llm=llm, **options)
    if mode == ChatMode.CONDENSE_QUESTION:
        names = list_names(CondenseQuestionChatEngine.from_defaults) - {"llm", "query_engine"}
        rest = {name: value for name, value in options.items() if name in names}
        inner = {name: value for name, value in options.items() if name not in rest}
        engine = build_query_engine(index, llm, inner, is_multimodal=is_multimodal)
        return CondenseQuestionChatEngine.from_defaults(query_engine=engine, llm=llm, **rest)
    made = _CHAT_ENGINES.get((mode, is_multimodal))
    if made is None:
        raise ValueError(
            f"LlamaIndex has no chat mode {quote(mode.value)} any more; give as_tool() to a FunctionAgent or "
            "ReActAgent of llama_index.core.agent.workflow, or choose context, condense_plus_context, "
            "condense_question or simple"
        )
    names = list_names(made.from_defaults) - {"llm", "multi_modal_llm", "retriever"}
    chosen, rest = split_options(options, RETRIEVER_OPTIONS, names, f"as_chat_engine({quote(mode.value)})")
    if is_multimodal:
        rest["node_postprocessors"] = _show_pictures(rest.get("node_postprocessors"))
    named = {"multi_modal_llm" if is_multimodal else "llm": llm}
    return made.from_defaults(retriever=index.as_retriever(**chosen), **named, **rest)


def build_tool(index: VectorStoreIndex, name: str, description: str, options: Mapping[str, Any]) -> FunctionTool:
    """Returns a tool for agents; the options are those of the retriever and of `multimodal_retriever_tool`.

    Raises:
        TypeError: An option is neither.
    """
    from llama_index.tools.qwen3_vl import multimodal_retriever_tool

    # The retriever judges as many candidates as it fetches; the tool would judge what is left of them.
    names = list_names(multimodal_retriever_tool) - {"retriever", "name", "description", "reranker"}
    chosen, rest = split_options(options, RETRIEVER_OPTIONS, names, "as_tool")
    return multimodal_retriever_tool(index.as_retriever(**chosen), name=name, description=description, **rest)


def _show_pictures(postprocessors: list[BaseNodePostprocessor] | None) -> list[BaseNodePostprocessor]:
    given = [] if postprocessors is None else list(postprocessors)
    if not any(isinstance(one, MediaGuard) for one in given):
        given.append(MediaGuard())
    return [*given, ChatNodes()]
