"""Middleware of `langchain.agents` that brings images of tools to models which take none from tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage
from langgraph.types import Command

from langchain_qwen3_vl.tools import images_are_delivered

__all__ = ["MultimodalToolImagesMiddleware"]

_INPUTS = {"image": "image_inputs", "image_url": "image_inputs", "video": "video_inputs"}
"""What the profile of a model says about each type of block."""


class MultimodalToolImagesMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Moves images and videos of tool messages into a user message that follows, for models that need it there.

    Many chat APIs take images from users and none from tools. Before each call of a model whose profile does not say
    `image_tool_message`, every image in a tool message is replaced by its number, and a user message after the last
    tool message of the turn shows the images with their numbers. A model whose profile says that it takes no
    images, or no videos, at all is told that they were left out. The state of the agent is not changed: only what the
    model is sent.

    With it, tools of `create_multimodal_retriever_tool` that are left at `media="auto"` return images, whatever the
    model: what reaches the model is settled here.

    ```python
    agent = create_agent(model, [tool], middleware=[MultimodalToolImagesMiddleware()])
    ```
    """

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Returns the model's answer to the messages with their images where it takes them."""
        return handler(_deliver_images(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Returns the same as `wrap_model_call`."""
        return await handler(_deliver_images(request))

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Returns the tool's message; tools are told that images will be delivered."""
        token = images_are_delivered.set(True)
        try:
            return handler(request)
        finally:
            images_are_delivered.reset(token)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Returns the same as `wrap_tool_call`."""
        token = images_are_delivered.set(True)
        try:
            return await handler(request)
        finally:
            images_are_delivered.reset(token)


def _deliver_images(request: ModelRequest[Any]) -> ModelRequest[Any]:
    profile: Mapping[str, Any] = getattr(request.model, "profile", None) or {}
    if profile.get("image_tool_message") is True and profile.get("image_inputs") is not False:
        return request
    return request.override(messages=_move_images(request.messages, profile))


def _move_images(messages: Sequence[AnyMessage], profile: Mapping[str, Any]) -> list[AnyMessage]:
    """The messages of a conversation, with a user message after each run of tool messages that had images."""
    sent: list[AnyMessage] = []
    moved: list[Any] = []
    count = 0
    for message in messages:
        # APIs want the answers to the calls of a turn one after the other: the images come after the last.
        if not isinstance(message, ToolMessage):
            _append_images(sent, moved)
            moved = []
            sent.append(message)
            continue
        text, blocks = _split_message(message, profile, count)
        count += sum(block["type"] != "text" for block in blocks)
        moved += blocks
        sent.append(text)
    _append_images(sent, moved)
    return sent


def _append_images(sent: list[AnyMessage], moved: list[Any]) -> None:
    if moved:
        sent.append(HumanMessage(content=[{"type": "text", "text": "What the tools showed:"}, *moved]))


def _split_message(message: ToolMessage, profile: Mapping[str, Any], count: int) -> tuple[ToolMessage, list[Any]]:
    """The message with numbers in place of images, from `count + 1` on, and the images, each after its number."""
    if isinstance(message.content, str):
        return message, []
    kept: list[Any] = []
    moved: list[Any] = []
    for block in cast("list[Any]", message.content):
        kind = str(cast("Mapping[str, Any]", block).get("type")) if isinstance(block, Mapping) else ""
        if kind not in _INPUTS:
            kept.append(block)
            continue
        article, name = ("a", "video") if kind == "video" else ("an", "image")
        if profile.get(_INPUTS[kind]) is False:
            kept.append({"type": "text", "text": f"[{article} {name} is left out: the model takes none]"})
        else:
            count += 1
            kept.append({"type": "text", "text": f"[{name} {count}: shown below]"})
            moved += [{"type": "text", "text": f"[{name} {count}]"}, block]
    return message.model_copy(update={"content": _flatten_texts(kept)}), moved


def _flatten_texts(blocks: Sequence[Any]) -> str | list[Any]:
    """One text if there is nothing else: some APIs take no list from a tool."""
    texts: list[str] = []
    for block in blocks:
        if isinstance(block, str):
            texts.append(block)
        elif isinstance(block, Mapping) and cast("Mapping[str, Any]", block).get("type") == "text":
            texts.append(str(cast("Mapping[str, Any]", block)["text"]))
        else:
            return list(blocks)
    return "\n".join(texts)
