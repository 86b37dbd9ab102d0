"""Language models of LlamaIndex that write the questions an index is measured with."""

from __future__ import annotations

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock

from qwen3_vl_retrieval.evaluation import DraftPrompt, QuestionWriter

__all__ = ["adapt_llm", "find_question_writer"]


def adapt_llm(llm: BaseLLM, *, name: str | None = None) -> QuestionWriter:
    """Returns a language model as `draft_questions` asks it, which is given the index, this, and a file.

    Args:
        llm: The language model, which should see the images in blocks of a message.
        name: What is kept with each question; `None` is the name of the model, as its metadata have it.
    """
    return _ChatWriter(llm, llm.metadata.model_name if name is None else name)


def find_question_writer(model: object) -> QuestionWriter | None:
    """Returns a language model as a question writer; `None` for anything else."""
    return adapt_llm(model) if isinstance(model, BaseLLM) else None


class _ChatWriter(QuestionWriter):
    def __init__(self, llm: BaseLLM, name: str) -> None:
        self._llm = llm
        self._name = name

    @property
    def name(self) -> str:
        """What the model is called."""
        return self._name

    def write_question(self, prompt: DraftPrompt) -> str:
        """Returns the text of the model's answer."""
        asked = ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text=prompt.text), *_show_images(prompt)])
        messages = [ChatMessage(role=MessageRole.SYSTEM, content=prompt.instructions), asked]
        return self._llm.chat(messages).message.content or ""


def _show_images(prompt: DraftPrompt) -> list[ImageBlock]:
    return [ImageBlock(image=image, image_mimetype="image/jpeg") for image in prompt.images]
