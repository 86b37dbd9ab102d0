"""Prompts that hold what a query comes with besides its words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage, ContentBlock, ImageBlock, MessageRole, TextBlock, VideoBlock
from llama_index.core.prompts.base import BasePromptTemplate
from pydantic import PrivateAttr

__all__ = ["QueryMediaPrompt"]

_BEFORE = "The query comes with the following, which belongs to the query and is no context:"
_AFTER = "End of what the query comes with."


class QueryMediaPrompt(BasePromptTemplate):
    """Any prompt, with pictures and clips at the beginning of its last user message.

    It wraps the prompts of a synthesizer for one query, whatever their words and variables are, so that every call of
    the language model, refinements included, sees what the query asks about, and room for it is counted.
    """

    _prompt: BasePromptTemplate = PrivateAttr()
    _blocks: tuple[ImageBlock | VideoBlock, ...] = PrivateAttr(default=())

    @classmethod
    def wrap(cls, prompt: BasePromptTemplate, blocks: Sequence[ImageBlock | VideoBlock]) -> Self:
        """Returns a prompt that is `prompt` with `blocks`; `prompt` is left alone."""
        wrapped = cls(
            metadata=prompt.metadata, template_vars=prompt.template_vars, kwargs={}, output_parser=prompt.output_parser
        )
        # Past validation: values of variables need not be texts here.
        wrapped.kwargs = prompt.kwargs
        wrapped._prompt = prompt
        wrapped._blocks = tuple(blocks)
        return wrapped

    def partial_format(self, **kwargs: Any) -> QueryMediaPrompt:
        """Returns the prompt with some of its variables filled in."""
        return type(self).wrap(self._prompt.partial_format(**kwargs), self._blocks)

    def format(self, llm: BaseLLM | None = None, **kwargs: Any) -> str:
        """Returns the words of the prompt, for models that take no pictures."""
        return self._prompt.format(llm=llm, **kwargs)

    def format_messages(self, llm: BaseLLM | None = None, **kwargs: Any) -> list[ChatMessage]:
        """Returns the messages of the prompt, the last of the user with the pictures and clips before its words."""
        messages = list(self._prompt.format_messages(llm=llm, **kwargs))
        asked = [place for place, message in enumerate(messages) if message.role == MessageRole.USER]
        place = asked[-1] if asked else len(messages) - 1
        message = messages[place]
        blocks: list[ContentBlock] = [TextBlock(text=_BEFORE), *self._blocks, TextBlock(text=_AFTER), *message.blocks]
        messages[place] = message.model_copy(update={"blocks": blocks})
        return messages

    def get_template(self, llm: BaseLLM | None = None) -> str:
        """Returns the template of the prompt itself."""
        return self._prompt.get_template(llm=llm)
