"""The published prompts, rendered as elements: template text, the caller's text, special tokens, visual tokens.

Rendering to elements rather than to one string keeps the caller's text apart from the template: a document that
contains `<|im_end|>` is text about a token, not a token, and cannot forge the end of its own turn.

Wording and order: `src/models/qwen3_vl_embedding.py` (`format_model_input`) and `qwen3_vl_reranker.py`
(`format_mm_instruction`, `format_mm_content`) of QwenLM/Qwen3-VL-Embedding at commit 8ce3aab, with the chat
template of the checkpoints.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

__all__ = [
    "DEFAULT_INSTRUCTION",
    "DEFAULT_QUERY_INSTRUCTION",
    "DEFAULT_RERANKING_INSTRUCTION",
    "END_OF_TEXT",
    "PROMPT_VERSION",
    "Content",
    "Element",
    "MediaSlot",
    "Role",
    "SpecialToken",
    "TextRun",
    "VisualRun",
    "normalize_instruction",
    "render_embedding_prompt",
    "render_reranking_prompt",
]

PROMPT_VERSION = "8ce3aab"
"""Commit of QwenLM/Qwen3-VL-Embedding whose prompts these are."""

DEFAULT_INSTRUCTION = "Represent the user's input."
"""`default_instruction` of the official embedder."""

DEFAULT_QUERY_INSTRUCTION = "Retrieve images or text relevant to the user's query."
"""The query instruction of the official README's retrieval examples, with its full stop."""

DEFAULT_RERANKING_INSTRUCTION = "Given a search query, retrieve relevant candidates that answer the query."
"""`default_instruction` of the official reranker."""

_RERANKING_SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
END_OF_TEXT = "<|endoftext|>"
VISION_START = "<|vision_start|>"
VISION_END = "<|vision_end|>"


class Role(IntEnum):
    """What a token is there for; decides what may be cut when an item is too long."""

    TEMPLATE = 0
    """Wording and special tokens of the prompt before the caller's content."""
    SUFFIX = 1
    """End of the user turn and header of the assistant's."""
    QUERY = 2
    """The caller's text: the item of an embedding, the query of a pair."""
    DOCUMENT = 3
    """The caller's text: the document of a pair."""
    TIMESTAMP = 4
    """Time of a pair of frames."""
    VISUAL = 5
    """Placeholder of a visual feature."""


@dataclass(frozen=True, slots=True)
class TextRun:
    """Plain text; adjacent runs are tokenised together, special tokens in it are not recognised."""

    text: str
    role: Role


@dataclass(frozen=True, slots=True)
class SpecialToken:
    """One special token of the vocabulary."""

    token: str
    role: Role = Role.TEMPLATE


@dataclass(frozen=True, slots=True)
class MediaSlot:
    """Place that an image or video takes in a prompt.

    Attributes:
        height: Rows of visual tokens of the image, or of each pair of frames.
        width: Columns of visual tokens.
        timestamps: Seconds of each pair of frames; `None` for an image.
    """

    height: int
    width: int
    timestamps: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class VisualRun:
    """The visual tokens of one image or one pair of frames."""

    height: int
    width: int
    is_video: bool


Content: TypeAlias = "str | MediaSlot"
Element: TypeAlias = "TextRun | SpecialToken | VisualRun"


def normalize_instruction(instruction: str | None, *, default: str) -> str:
    """Returns the instruction stripped and ending in punctuation; `default` if it is missing or blank."""
    stripped = "" if instruction is None else instruction.strip()
    if not stripped:
        return default
    return stripped if unicodedata.category(stripped[-1]).startswith("P") else stripped + "."


def render_embedding_prompt(contents: Sequence[Content], *, instruction: str) -> tuple[Element, ...]:
    """Returns the embedding prompt of one item, ending in the end-of-text token whose state is its vector."""
    return (
        *_render_turn_start("system"),
        TextRun(instruction, Role.TEMPLATE),
        *_render_turn_end(Role.TEMPLATE),
        *_render_turn_start("user"),
        *_render_contents(contents, role=Role.QUERY),
        *_render_turn_end(Role.SUFFIX),
        *_render_turn_start("assistant", role=Role.SUFFIX),
        SpecialToken(END_OF_TEXT),
    )


def render_reranking_prompt(
    query: Sequence[Content], document: Sequence[Content], *, instruction: str
) -> tuple[Element, ...]:
    """Returns the prompt that asks whether `document` meets `query`; its last token predicts yes or no."""
    return (
        *_render_turn_start("system"),
        TextRun(_RERANKING_SYSTEM, Role.TEMPLATE),
        *_render_turn_end(Role.TEMPLATE),
        *_render_turn_start("user"),
        TextRun(f"<Instruct>: {instruction}<Query>:", Role.TEMPLATE),
        *_render_contents(query, role=Role.QUERY),
        TextRun("\n<Document>:", Role.TEMPLATE),
        *_render_contents(document, role=Role.DOCUMENT),
        *_render_turn_end(Role.SUFFIX),
        *_render_turn_start("assistant", role=Role.SUFFIX),
    )


def _render_turn_start(speaker: str, *, role: Role = Role.TEMPLATE) -> Iterable[Element]:
    yield SpecialToken(IM_START, role)
    yield TextRun(f"{speaker}\n", role)


def _render_turn_end(role: Role) -> Iterable[Element]:
    yield SpecialToken(IM_END, role)
    # The newline after the last turn of the template; it joins no other text because a special token follows.
    yield TextRun("\n", role)


def _render_contents(contents: Sequence[Content], *, role: Role) -> Iterable[Element]:
    for content in contents:
        if isinstance(content, str):
            yield TextRun(content, role)
        elif content.timestamps is None:
            yield from _render_visual(VisualRun(content.height, content.width, is_video=False))
        else:
            for timestamp in content.timestamps:
                yield TextRun(f"<{timestamp:.1f} seconds>", Role.TIMESTAMP)
                yield from _render_visual(VisualRun(content.height, content.width, is_video=True))


def _render_visual(visual: VisualRun) -> Iterable[Element]:
    yield SpecialToken(VISION_START)
    yield visual
    yield SpecialToken(VISION_END)
