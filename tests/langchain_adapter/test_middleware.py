from __future__ import annotations

import asyncio

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from langchain_adapter.scripted_models import ScriptedModel, call_tool
from langchain_qwen3_vl.middleware import MultimodalToolImagesMiddleware
from langchain_qwen3_vl.tools import images_are_delivered

IMAGE = {"type": "image", "base64": "QUFBQQ==", "mime_type": "image/png"}
OTHER = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QkJCQg=="}}
VIDEO = {"type": "video", "base64": "Q0NDQw==", "mime_type": "video/mp4"}


def text(words):
    return {"type": "text", "text": words}


@tool
def look(query: str) -> list:
    """Looks."""
    return [text("first"), IMAGE, text("second"), OTHER]


@tool
def read(query: str) -> str:
    """Reads."""
    return "a text"


def script_two_turns(messages):
    """Calls both tools in one turn, then one of them in another, and then answers."""
    turns = sum(isinstance(message, AIMessage) for message in messages)
    if turns == 0:
        calls = [call_tool("look", query="a"), call_tool("read", call_id="call-2", query="a")]
    elif turns == 1:
        calls = [call_tool("look", call_id="call-3", query="b")]
    else:
        calls = []
    return AIMessage("" if calls else "done", tool_calls=calls)


def run_agent(model, *, is_async=False):
    agent = create_agent(model, [look, read], middleware=[MultimodalToolImagesMiddleware()])
    state = {"messages": [HumanMessage("go")]}
    return asyncio.run(agent.ainvoke(state)) if is_async else agent.invoke(state)


def script_messages(*tool_messages):
    """Messages of a turn with these answers of tools, sent to a model as the middleware sends them."""
    calls = [call_tool("look", call_id=message.tool_call_id) for message in tool_messages]
    return [HumanMessage("go"), AIMessage("", tool_calls=calls), *tool_messages]


def send(messages, profile):
    """What a model with this profile is sent for these messages."""
    model = ScriptedModel(script=lambda _messages: AIMessage("done"), profile=profile)
    create_agent(model, [look], middleware=[MultimodalToolImagesMiddleware()]).invoke({"messages": messages})
    return model.requests[-1]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("profile", [None, {"image_inputs": True}, {"image_inputs": True, "image_tool_message": False}])
def test_images_of_tools_come_in_a_user_message_after_the_last_tool_message(profile, is_async):
    model = ScriptedModel(script=script_two_turns, profile=profile)
    run_agent(model, is_async=is_async)
    _, second, third = model.requests
    assert [message.type for message in second] == ["human", "ai", "tool", "tool", "human"]
    assert second[2].content == "first\n[image 1: shown below]\nsecond\n[image 2: shown below]"
    assert second[3].content == "a text"
    shown = [text("What the tools showed:"), text("[image 1]"), IMAGE, text("[image 2]"), OTHER]
    assert second[4].content == shown
    assert [message.type for message in third] == ["human", "ai", "tool", "tool", "human", "ai", "tool", "human"]
    assert third[:5] == second
    assert third[6].content == "first\n[image 3: shown below]\nsecond\n[image 4: shown below]"
    assert third[7].content[1:3] == [text("[image 3]"), IMAGE]


def test_the_state_of_the_agent_keeps_the_tool_messages_as_they_are():
    state = run_agent(ScriptedModel(script=script_two_turns))
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool", "tool", "ai", "tool", "ai"]
    assert state["messages"][2].content == [text("first"), IMAGE, text("second"), OTHER]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_model_that_takes_images_from_tools_gets_them_there(is_async):
    model = ScriptedModel(script=script_two_turns, profile={"image_inputs": True, "image_tool_message": True})
    run_agent(model, is_async=is_async)
    assert [message.type for message in model.requests[1]] == ["human", "ai", "tool", "tool"]
    assert model.requests[1][2].content == [text("first"), IMAGE, text("second"), OTHER]


def test_a_model_that_takes_no_images_is_told_that_they_were_left_out():
    sent = send(
        script_messages(ToolMessage([text("first"), IMAGE], tool_call_id="a")),
        {"image_inputs": False, "image_tool_message": True},
    )
    assert [message.type for message in sent] == ["human", "ai", "tool"]
    assert sent[2].content == "first\n[an image is left out: the model takes none]"


def test_videos_move_too_unless_the_model_takes_none():
    messages = script_messages(ToolMessage([text("first"), VIDEO, IMAGE], tool_call_id="a"))
    moved = send(messages, {"video_inputs": True})
    assert moved[2].content == "first\n[video 1: shown below]\n[image 2: shown below]"
    assert moved[3].content[1:] == [text("[video 1]"), VIDEO, text("[image 2]"), IMAGE]
    kept = send(messages, {"video_inputs": False})
    assert kept[2].content == "first\n[a video is left out: the model takes none]\n[image 1: shown below]"
    assert kept[3].content[1:] == [text("[image 1]"), IMAGE]


def test_other_blocks_stay_in_the_tool_message():
    extra = {"type": "search_result", "source": "x"}
    sent = send(script_messages(ToolMessage(["plain", IMAGE, extra], tool_call_id="a")), None)
    assert sent[2].content == ["plain", text("[image 1: shown below]"), extra]
    assert len(sent) == 4


def test_what_tells_of_a_call_is_kept():
    message = ToolMessage([IMAGE], tool_call_id="a", name="look", id="m", artifact=[1], status="error")
    sent = send(script_messages(message), None)[2]
    assert (sent.tool_call_id, sent.name, sent.id, sent.artifact, sent.status) == ("a", "look", "m", [1], "error")
    assert message.content == [IMAGE]


def test_conversations_without_images_are_sent_as_they_are():
    messages = [
        HumanMessage([text("see"), IMAGE], id="h"),
        AIMessage("", tool_calls=[call_tool("read", call_id="a")], id="i"),
        ToolMessage("a text", tool_call_id="a", id="t"),
    ]
    assert send(messages, None) == messages


@pytest.mark.parametrize("is_async", [False, True])
def test_tools_are_told_that_images_will_be_delivered_and_others_are_not(is_async):
    told = []

    @tool
    def look(query: str) -> str:
        """Looks."""
        told.append(images_are_delivered.get())
        return "x"

    def run(middleware):
        model = ScriptedModel(script=script_look_once)
        agent = create_agent(model, [look], middleware=middleware)
        state = {"messages": [HumanMessage("go")]}
        return asyncio.run(agent.ainvoke(state)) if is_async else agent.invoke(state)

    def script_look_once(messages):
        has_answer = isinstance(messages[-1], ToolMessage)
        return AIMessage("done") if has_answer else AIMessage("", tool_calls=[call_tool("look", query="a")])

    run([MultimodalToolImagesMiddleware()])
    run([])
    assert told == [True, False]
    assert not images_are_delivered.get()
