"""The chat templates of a checkpoint, which other libraries render its prompts with.

They are made from the prompts that `qwen3_vl_retrieval` renders, so that the two cannot differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from qwen3_vl_retrieval.prompting.prompts import (
    DEFAULT_INSTRUCTION,
    DEFAULT_RERANKING_INSTRUCTION,
    Element,
    SpecialToken,
    TextRun,
    render_reranking_prompt,
)

__all__ = ["build_chat_template", "build_reranking_template"]

# A turn's content is a text or a list of parts. An image or video is one placeholder, which the processor repeats.
_CONTENT_MACRO = """\
{%- macro render(content) -%}
    {%- if content is string -%}
        {{- content -}}
    {%- else -%}
        {%- for part in content -%}
            {%- if part.type == 'image' or 'image' in part or 'image_url' in part -%}
                <|vision_start|><|image_pad|><|vision_end|>
            {%- elif part.type == 'video' or 'video' in part -%}
                <|vision_start|><|video_pad|><|vision_end|>
            {%- elif 'text' in part -%}
                {{- part.text -}}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
"""

_DEFAULT_TURN = """\
{%- if messages[0].role != 'system' -%}
    {{- '<|im_start|>system\\n' -}}
    {{- INSTRUCTION -}}
    {{- '<|im_end|>\\n' -}}
{%- endif -%}
"""

_TURNS = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message.role + '\\n' -}}
    {{- render(message.content) -}}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
"""

_ANSWER_TURN = """\
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""

# Marks of what a conversation fills in. Characters of a private use area: no prompt holds them.
_INSTRUCTION, _QUERY, _DOCUMENT = "\ue000", "\ue001", "\ue002"


def build_chat_template(*, has_default_instruction: bool) -> str:
    """Returns the Jinja template of ordinary conversations: `chat_template.jinja`.

    Args:
        has_default_instruction: Whether a conversation without a system turn gets one with the default instruction, as
            the template of the published embedding models does (Qwen3-VL-Embedding-2B at 9f2f7e710d6d).
    """
    default_turn = _DEFAULT_TURN.replace("INSTRUCTION", json.dumps(DEFAULT_INSTRUCTION))
    return _CONTENT_MACRO + (default_turn if has_default_instruction else "") + _TURNS + _ANSWER_TURN


def build_reranking_template() -> str:
    """Returns the Jinja template of a pair: `additional_chat_templates/reranker.jinja`.

    The pair is two turns of the roles query and document, as sentence-transformers builds them; a system turn is the
    instruction, and there is a default one.
    """
    elements = render_reranking_prompt([_QUERY], [_DOCUMENT], instruction=_INSTRUCTION)
    prompt = _write_out(elements).removesuffix("<|im_start|>assistant\n")
    before_instruction, rest = prompt.split(_INSTRUCTION)
    before_query, rest = rest.split(_QUERY)
    before_document, after_document = rest.split(_DOCUMENT)
    return "".join(
        (
            _CONTENT_MACRO,
            _quote(before_instruction),
            _find_turn("system", default=DEFAULT_RERANKING_INSTRUCTION),
            _quote(before_query),
            _find_turn("query", default=""),
            _quote(before_document),
            _find_turn("document", default=""),
            _quote(after_document),
            _ANSWER_TURN,
        )
    )


def _write_out(elements: Iterable[Element]) -> str:
    """The prompt as the one string that a chat template renders."""
    pieces: list[str] = []
    for element in elements:
        if isinstance(element, TextRun):
            pieces.append(element.text)
        elif isinstance(element, SpecialToken):
            pieces.append(element.token)
    return "".join(pieces)


def _quote(text: str) -> str:
    """A Jinja expression: text outside of one would lose its spaces and newlines at the ends."""
    return "{{- " + json.dumps(text) + " -}}\n"


def _find_turn(role: str, *, default: str) -> str:
    turns = f"messages | selectattr('role', 'equalto', '{role}') | map(attribute='content')"
    return f"{{{{- render({turns} | first | default({json.dumps(default)})) -}}}}\n"
