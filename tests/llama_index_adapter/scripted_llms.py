"""A multimodal language model that says what a test tells it to, keeps what it was sent, and calls tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    ImageBlock,
    LLMMetadata,
    MessageRole,
    TextBlock,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from PIL import Image
from pydantic import Field

__all__ = ["ScriptedLLM", "call_tool", "join_text", "open_images"]

_CALLS = "scripted_calls"


def call_tool(name: str, *, call_id: str = "call-1", **arguments: Any) -> ChatMessage:
    """A message that calls a tool."""
    call = {"tool_id": call_id, "tool_name": name, "tool_kwargs": arguments}
    return ChatMessage(role="assistant", content="", additional_kwargs={_CALLS: [call]})


def open_images(blocks: Sequence[ContentBlock]) -> list[Image.Image]:
    """The images among the blocks, as a provider would send them."""
    found = [block for block in blocks if isinstance(block, ImageBlock)]
    return [Image.open(BytesIO(block.resolve_image().read())).convert("RGB") for block in found]


def join_text(blocks: Sequence[ContentBlock]) -> str:
    return "\n".join(block.text for block in blocks if isinstance(block, TextBlock))


def _answer(_messages: list[ChatMessage]) -> ChatMessage:
    return ChatMessage(role="assistant", content="an answer")


class ScriptedLLM(FunctionCallingLLM):
    """Plays a script: from the messages to the answer.

    Attributes:
        script: What to answer.
        requests: The messages of each call.
        tool_schemas: What it was told about the tools.
        context_window: In tokens, as LlamaIndex counts them.
    """

    script: Callable[[list[ChatMessage]], ChatMessage] = _answer
    requests: list[list[ChatMessage]] = Field(default_factory=list)
    tool_schemas: list[dict[str, Any]] = Field(default_factory=list)
    context_window: int = 100_000

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            is_chat_model=True, is_function_calling_model=True, context_window=self.context_window, num_output=256
        )

    def chat(self, messages, **_options):
        self.requests.append(list(messages))
        message = self.script(list(messages))
        return ChatResponse(message=message, delta=message.content)

    async def achat(self, messages, **options):
        return self.chat(messages, **options)

    def stream_chat(self, messages, **options):
        response = self.chat(messages, **options)

        def stream():
            yield response

        return stream()

    async def astream_chat(self, messages, **options):
        response = self.chat(messages, **options)

        async def stream():
            yield response

        return stream()

    def complete(self, prompt, formatted=False, **_options):
        raise AssertionError("a chat model was asked to complete a text")

    async def acomplete(self, prompt, formatted=False, **_options):
        raise AssertionError("a chat model was asked to complete a text")

    def stream_complete(self, prompt, formatted=False, **_options):
        raise AssertionError("a chat model was asked to complete a text")

    async def astream_complete(self, prompt, formatted=False, **_options) -> CompletionResponse:
        raise AssertionError("a chat model was asked to complete a text")

    def _prepare_chat_with_tools(self, tools, user_msg=None, chat_history=None, **_options):
        self.tool_schemas[:] = [tool.metadata.to_openai_tool()["function"] for tool in tools]
        messages = list(chat_history or [])
        if user_msg is not None:
            messages.append(
                ChatMessage(role=MessageRole.USER, content=user_msg) if isinstance(user_msg, str) else user_msg
            )
        return {"messages": messages}

    def get_tool_calls_from_response(self, response, error_on_no_tool_call=False, **_options):
        return [ToolSelection(**call) for call in response.message.additional_kwargs.get(_CALLS, [])]
