"""A chat model that says what a test tells it to, and keeps what it was sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

__all__ = ["ScriptedModel", "ask_once", "call_tool"]


def call_tool(name: str, *, call_id: str = "call-1", **arguments: Any) -> dict[str, Any]:
    """A call of a tool, for `AIMessage(tool_calls=…)`."""
    return {"name": name, "args": arguments, "id": call_id, "type": "tool_call"}


def ask_once(tool_name: str) -> Callable[[list[BaseMessage]], AIMessage]:
    """A script that asks the tool for the user's words, and then answers."""

    def play(messages: list[BaseMessage]) -> AIMessage:
        if any(isinstance(message, ToolMessage) for message in messages):
            return AIMessage("found")
        asked = next(message for message in messages if isinstance(message, HumanMessage))
        return AIMessage("", tool_calls=[call_tool(tool_name, query=asked.text)])

    return play


class ScriptedModel(BaseChatModel):
    """Plays a script: from the messages to the answer.

    Attributes:
        script: What to answer.
        requests: The messages of each call.
        tool_schemas: What it was told about the tools.
    """

    script: Callable[[list[BaseMessage]], AIMessage]
    requests: list[list[BaseMessage]] = Field(default_factory=list)
    tool_schemas: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools, **_options):
        self.tool_schemas[:] = [convert_to_openai_tool(tool) for tool in tools]
        return self

    def _generate(self, messages, stop=None, run_manager=None, **_options):
        self.requests.append(list(messages))
        return ChatResult(generations=[ChatGeneration(message=self.script(messages))])
