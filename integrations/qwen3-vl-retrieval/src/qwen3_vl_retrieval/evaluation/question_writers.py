"""What a language model looks like to whoever drafts questions, and how models of frameworks come to look like that.

The packages for LangChain and LlamaIndex announce how their models are adapted as entry points, so that the core knows
neither framework: `qwen3vl eval draft` asks whatever one of them adapts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Protocol, TypeAlias, runtime_checkable

from qwen3_vl_retrieval.errors import ModelError, quote

__all__ = ["DraftPrompt", "QuestionWriter", "adapt_question_writer"]

_GROUP = "qwen3_vl_retrieval.question_writers"


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftPrompt:
    """What a language model is asked to write one question.

    Attributes:
        instructions: What it is to do, and the form of its answer: the system turn.
        text: What it is to ask about, in words: the user's turn.
        images: What belongs to it, as JPEG, in their order.
    """

    instructions: str
    text: str
    images: tuple[bytes, ...] = field(default=(), repr=False)


@runtime_checkable
class QuestionWriter(Protocol):
    """A language model that sees images."""

    @property
    def name(self) -> str:
        """What the model is called; it is kept with each question."""
        ...

    def write_question(self, prompt: DraftPrompt) -> str:
        """Returns the model's answer, as it is.

        Whatever it raises costs this question, and is named; the model is asked for the next one.
        """
        ...


_Adapt: TypeAlias = Callable[[object], "QuestionWriter | None"]
"""What an entry point names: returns the writer of a model of its framework, and `None` for anything else."""


def adapt_question_writer(model: object) -> QuestionWriter:
    """Returns a question writer for a model.

    Args:
        model: A question writer; a chat model of LangChain or a language model of LlamaIndex, if the package for that
            framework is installed; or, with that for LangChain, a name as `init_chat_model` takes it: `openai:gpt-4o`.

    Raises:
        ModelError: It is none of these, or the model with this name cannot be made.
    """
    if isinstance(model, QuestionWriter):
        return model
    for entry_point in entry_points(group=_GROUP):
        adapt: _Adapt = entry_point.load()
        writer = adapt(model)
        if writer is not None:
            return writer
    raise ModelError(
        f"{quote(model, with_type=True)} cannot be asked for questions: give a name such as openai:gpt-4o or a chat "
        'model of LangChain (pip install "langchain-qwen3-vl[agents]"), a language model of LlamaIndex (pip install '
        "llama-index-qwen3-vl), or an object with `name` and `write_question`"
    )
