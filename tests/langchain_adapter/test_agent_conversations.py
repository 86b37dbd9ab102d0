"""Agents that search with images of their conversation: with what was found before, and with what users attach."""

from __future__ import annotations

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from langchain_adapter.paper_agents import TAKES_IMAGES_FROM_TOOLS, ask_agent, make_agent, show
from langchain_adapter.scripted_models import ScriptedModel, call_tool
from langchain_qwen3_vl.retrievers import Qwen3VLRetriever
from langchain_qwen3_vl.tools import create_multimodal_retriever_tool


def test_what_was_found_is_searched_with_by_its_id(page_store, page_questions):
    def play(messages):
        answers = [message for message in messages if isinstance(message, ToolMessage)]
        calls = [
            call_tool("search_papers", call_id="a", query=page_questions[1]),
            call_tool("search_papers", call_id="b", query="", query_image_id="page-2"),
            call_tool("search_papers", call_id="c", query="", query_image_id="paper.pdf"),
        ]
        more = calls[len(answers) : len(answers) + 1]
        return AIMessage("" if more else "done", tool_calls=more)

    agent, _ = make_agent(page_store, TAKES_IMAGES_FROM_TOOLS, script=play)
    first, second, third = (one for one in ask_agent(agent, "go")["messages"] if isinstance(one, ToolMessage))
    assert [document.id for document in first.artifact] == ["page-2"]
    assert [document.id for document in second.artifact] == ["page-2"]
    assert third.status == "error"
    assert third.content == "There is no image with the id 'paper.pdf'. Known are: page-2."


def test_ids_outlive_the_turn_where_the_conversation_is_kept(page_store, page_questions):
    def play(messages):
        if isinstance(messages[-1], ToolMessage):
            return AIMessage("done")
        if messages[-1].text == "more like it":
            return AIMessage("", tool_calls=[call_tool("search_papers", query="", query_image_id="page-1")])
        return AIMessage("", tool_calls=[call_tool("search_papers", query=messages[-1].text)])

    agent, _ = make_agent(page_store, TAKES_IMAGES_FROM_TOOLS, script=play, checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "one"}}
    for words in (page_questions[0], "more like it"):
        state = agent.invoke({"messages": [HumanMessage(words)]}, config)
        assert [document.id for document in state["messages"][-2].artifact] == ["page-1"]
    other = agent.invoke({"messages": [HumanMessage("more like it")]}, {"configurable": {"thread_id": "other"}})
    assert other["messages"][-2].status == "error"


@pytest.mark.parametrize("is_async", [False, True])
def test_the_two_stage_retriever_takes_the_queries_of_the_tool(page_store, page_documents, is_async):
    def play(messages):
        if isinstance(messages[-1], ToolMessage):
            return AIMessage("done")
        return AIMessage("", tool_calls=[call_tool("look_up", query="", query_image_id="attached-1")])

    retriever = Qwen3VLRetriever(base=page_store, reranker=None, k=2)
    tool = create_multimodal_retriever_tool(retriever, "look_up", "Searches papers.", media="image_block")
    agent = create_agent(ScriptedModel(script=play), [tool])
    attached = [{"type": "image", "base64": show(page_documents[1])[0], "mime_type": "image/jpeg"}]
    answer = ask_agent(agent, attached, is_async=is_async)["messages"][2]
    assert answer.artifact[0].id == "page-2"
    assert ", similarity 0." in answer.content[0]["text"]


@pytest.mark.parametrize("is_async", [False, True])
def test_an_image_that_the_user_attached_is_searched_with(page_store, page_documents, is_async):
    def play(messages):
        if isinstance(messages[-1], ToolMessage):
            return AIMessage("done")
        return AIMessage("", tool_calls=[call_tool("search_papers", query="", query_image_id="attached-1")])

    agent, _ = make_agent(page_store, TAKES_IMAGES_FROM_TOOLS, script=play)
    data = show(page_documents[3])[0]
    attached = [{"type": "text", "text": "Find this"}, {"type": "image", "base64": data, "mime_type": "image/jpeg"}]
    state = ask_agent(agent, attached, is_async=is_async)
    answer = next(message for message in state["messages"] if isinstance(message, ToolMessage))
    assert [document.id for document in answer.artifact] == ["page-4"]


def test_a_conversation_that_the_model_makes_up_is_not_read(page_store, tmp_path):
    def play(messages):
        if isinstance(messages[-1], ToolMessage):
            return AIMessage("done")
        made_up = [HumanMessage([{"type": "image", "base64": "QUFB", "mime_type": "image/png"}])]
        call = call_tool("search_papers", query="x", query_image_id="attached-1", messages=made_up)
        return AIMessage("", tool_calls=[call])

    agent, _ = make_agent(page_store, TAKES_IMAGES_FROM_TOOLS, script=play)
    answer = next(one for one in ask_agent(agent, "go")["messages"] if isinstance(one, ToolMessage))
    assert answer.content.endswith("None is known yet: search with words first.")
