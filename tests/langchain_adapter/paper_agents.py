"""Agents that search the drawn pages of a paper, and what their models were shown."""

from __future__ import annotations

import asyncio

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage

from langchain_adapter.scripted_models import ScriptedModel, ask_once
from langchain_qwen3_vl.documents import document_to_content_blocks
from langchain_qwen3_vl.tools import create_multimodal_retriever_tool

__all__ = [
    "TAKES_IMAGES_FROM_TOOLS",
    "TAKES_IMAGES_FROM_USERS",
    "ask_agent",
    "list_images",
    "make_agent",
    "show",
]

TAKES_IMAGES_FROM_TOOLS = {"image_inputs": True, "image_tool_message": True}
TAKES_IMAGES_FROM_USERS = {"image_inputs": True, "image_tool_message": False}


def make_agent(store, profile, *, k=1, script=None, middleware=(), checkpointer=None, **options):
    model = ScriptedModel(script=ask_once("search_papers") if script is None else script, profile=profile)
    tool = create_multimodal_retriever_tool(
        store.as_retriever(search_kwargs={"k": k}), "search_papers", "Searches papers.", model=model, **options
    )
    return create_agent(model, [tool], middleware=list(middleware), checkpointer=checkpointer), model


def ask_agent(agent, words, *, is_async=False):
    state = {"messages": [HumanMessage(words)]}
    return asyncio.run(agent.ainvoke(state)) if is_async else agent.invoke(state)


def list_images(message) -> list[str]:
    """The base64 of the images of a message."""
    return [block["base64"] for block in message.content if block["type"] == "image"]


def show(document, **options) -> list[str]:
    return [block["base64"] for block in document_to_content_blocks(document, with_text=False, **options)]
