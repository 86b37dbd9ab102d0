"""Chat models of LangChain that write the questions an index is measured with."""

from __future__ import annotations

import base64
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.messages.content import create_image_block, create_text_block

from qwen3_vl_retrieval import ModelError
from qwen3_vl_retrieval.errors import explain, quote
from qwen3_vl_retrieval.evaluation import DraftPrompt, QuestionWriter

__all__ = ["adapt_chat_model", "find_question_writer"]

_NAME_FIELDS = ("model_name", "model", "model_id")
"""What chat models call the name of their model."""


def adapt_chat_model(model: BaseChatModel | str, *, name: str | None = None) -> QuestionWriter:
    """Returns a chat model as `draft_questions` asks it, which is given the index, this, and a file.

    Args:
        model: The chat model, which should see images; or its name, as `init_chat_model` takes it: `openai:gpt-4o`.
        name: What is kept with each question; `None` is the name of the model, as far as it says it.

    Raises:
        ModelError: There is no chat model with this name, or its package is not installed.
    """
    if isinstance(model, str):
        return _ChatModelWriter(_make_chat_model(model), model if name is None else name)
    return _ChatModelWriter(model, _find_name(model) if name is None else name)


def find_question_writer(model: object) -> QuestionWriter | None:
    """Returns a chat model, or that with a name, as a question writer; `None` for anything else.

    Raises:
        ModelError: As `adapt_chat_model`.
    """
    return adapt_chat_model(model) if isinstance(model, (BaseChatModel, str)) else None


class _ChatModelWriter(QuestionWriter):
    def __init__(self, model: BaseChatModel, name: str) -> None:
        self._model = model
        self._name = name

    @property
    def name(self) -> str:
        """What the model is called."""
        return self._name

    def write_question(self, prompt: DraftPrompt) -> str:
        """Returns the text of the model's answer."""
        images = [base64.b64encode(image).decode("ascii") for image in prompt.images]
        shown = [create_image_block(base64=image, mime_type="image/jpeg") for image in images]
        asked = HumanMessage(content_blocks=[create_text_block(prompt.text), *shown])
        return str(self._model.invoke([SystemMessage(prompt.instructions), asked]).text)


def _make_chat_model(name: str) -> BaseChatModel:
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise ModelError(
            f'the chat model {quote(name)} needs langchain: pip install "langchain-qwen3-vl[agents]"'
        ) from error
    try:
        return init_chat_model(name)
    # What is missing is a package, a key, or a name that any provider knows.
    except Exception as error:
        raise ModelError(f"the chat model {quote(name)} cannot be made: {explain(error)}") from error


def _find_name(model: BaseChatModel) -> str:
    said: dict[str, Any] = model.model_dump(include=set(_NAME_FIELDS))
    named = [said[field] for field in _NAME_FIELDS if isinstance(said.get(field), str) and said[field]]
    return named[0] if named else model.get_name()
