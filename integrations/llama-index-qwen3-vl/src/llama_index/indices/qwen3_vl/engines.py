"""Query engines, chat engines and tools over an index, whose language models see what was found."""

from __future__ import annotations

import base64
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.types import ImageBlock
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
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import FunctionTool
from pydantic import ConfigDict

from llama_index.postprocessor.qwen3_vl_rerank import MediaGuard
from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.options import list_option_names

__all__ = [
    "RETRIEVER_OPTIONS",
    "build_chat_engine",
    "build_query_engine",
    "build_tool",
    "list_names",
    "require_known",
]

_HINTS = {
    "image_similarity_top_k": "all media share one space: similarity_top_k counts them together, and "
    "text_to_image_retrieve finds images alone",
    "image_vector_store": "all media share one space and one store: give vector_store, persist_dir or storage_context",
    "image_embed_model": "one model embeds all media: give embed_model=Qwen3VLEmbedding(…)",
    "image_store": "all media share one space and one store: give vector_store, persist_dir or storage_context",
    "is_image_to_text": "images are embedded as images, with their text: leave it out",
    "is_text_vector_store_empty": "all media share one store: leave it out",
    "is_image_vector_store_empty": "all media share one store: leave it out",
    "doc_ids": "give filters, or delete_ref_doc: vector stores ignore doc_ids",
    "node_ids": "give filters: vector stores ignore node_ids",
    "image_query_engine": "give as_query_engine a multimodal llm",
    "multi_modal_llm": "give it as llm",
}
"""What to do in place of options that other indexes have."""


def list_names(*functions: Callable[..., Any]) -> frozenset[str]:
    """Returns the names of what functions can be given by name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(
        name
        for function in functions
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in kinds and name != "self"
    )


def require_known(options: Mapping[str, Any], known: frozenset[str], owner: str) -> None:
    """Raises `TypeError` if an option is unknown; the message says which there are, or what to do in its place."""
    for name in options:
        if name not in known:
            hint = _HINTS.get(name, f"allowed are {', '.join(sorted(known))}")
            raise TypeError(f"{owner} has no option {quote(name)}; {hint}")


RETRIEVER_OPTIONS = list_names(Qwen3VLRetriever.__init__) - {"index"}

_CHAT_ENGINES: dict[tuple[ChatMode, bool], Any] = {
    (ChatMode.CONTEXT, True): MultiModalContextChatEngine,
    (ChatMode.CONTEXT, False): ContextChatEngine,
    (ChatMode.CONDENSE_PLUS_CONTEXT, True): MultiModalCondensePlusContextChatEngine,
    (ChatMode.CONDENSE_PLUS_CONTEXT, False): CondensePlusContextChatEngine,
    (ChatMode.BEST, True): MultiModalCondensePlusContextChatEngine,
    (ChatMode.BEST, False): CondensePlusContextChatEngine,
}
"""With whether the language model sees images."""


def build_query_engine(
    index: VectorStoreIndex, llm: LLM, options: Mapping[str, Any], *, is_multimodal: bool
) -> BaseQueryEngine:
    """Returns a query engine; the options are those of the retriever and of the engine.

    Raises:
        TypeError: An option is neither.
        ValueError: The language model is no chat model.
    """
    from llama_index.query_engine.qwen3_vl.base import MultiModalQueryEngine, QueryEngineOptions, SynthesisOptions

    own = {"retriever", "llm", "multimodal"}
    if is_multimodal:
        names = list_names(MultiModalQueryEngine.from_args) - own
        names |= list_option_names(QueryEngineOptions) | list_option_names(SynthesisOptions)
        chosen, rest = _divide(options, RETRIEVER_OPTIONS, names, "as_query_engine")
        return MultiModalQueryEngine.from_args(index.as_retriever(**chosen), llm=llm, **rest)
    names = list_names(RetrieverQueryEngine.from_args) - own
    chosen, rest = _divide(options, RETRIEVER_OPTIONS, names, "as_query_engine")
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
    chosen, rest = _divide(options, RETRIEVER_OPTIONS, names, f"as_chat_engine({quote(mode.value)})")
    if is_multimodal:
        rest["node_postprocessors"] = _show_images(rest.get("node_postprocessors"))
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
    chosen, rest = _divide(options, RETRIEVER_OPTIONS, names, "as_tool")
    return multimodal_retriever_tool(index.as_retriever(**chosen), name=name, description=description, **rest)


def _show_images(postprocessors: list[BaseNodePostprocessor] | None) -> list[BaseNodePostprocessor]:
    given = [] if postprocessors is None else list(postprocessors)
    if not any(isinstance(one, MediaGuard) for one in given):
        given.append(MediaGuard())
    return [*given, _ChatNodes()]


def _divide(
    options: Mapping[str, Any], first: frozenset[str], second: frozenset[str], owner: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the options that are among the names of each of two; both are given what both know.

    Raises:
        TypeError: As in `require_known`.
    """
    require_known(options, first | second, owner)
    return (
        {name: value for name, value in options.items() if name in first},
        {name: value for name, value in options.items() if name in second},
    )


class _ChatNodes(BaseNodePostprocessor):
    """Turns each node into a text and the images that it shows: those engines see no other.

    It is the last of the postprocessors, behind a `MediaGuard`, which makes images of pages and videos.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    @classmethod
    def class_name(cls) -> str:
        """Returns the name of the class."""
        return "ChatNodes"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        del query_bundle
        return [NodeWithScore(node=part, score=one.score) for one in nodes for part in _split(one.node)]


def _split(node: BaseNode) -> list[BaseNode]:
    images = [block for block in node.get_content_blocks(MetadataMode.NONE) if isinstance(block, ImageBlock)]
    if not images:
        return [node]
    shared: dict[str, Any] = {
        "metadata": node.metadata,
        "excluded_llm_metadata_keys": node.excluded_llm_metadata_keys,
        "relationships": node.relationships,
    }
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    # Also without a text: what is said of the image, such as its page, is in the metadata.
    parts: list[BaseNode] = [TextNode(id_=node.node_id, text=text, **shared)]
    for number, block in enumerate(images):
        encoded = base64.b64encode(block.resolve_image().read()).decode("ascii")
        parts.append(
            ImageNode(id_=f"{node.node_id}-{number}", image=encoded, image_mimetype=block.image_mimetype, **shared)
        )
    return parts
