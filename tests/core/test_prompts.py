"""The published prompts, to the character."""

from __future__ import annotations

import pytest

from qwen3_vl_retrieval.prompting.prompts import (
    DEFAULT_INSTRUCTION,
    MediaSlot,
    SpecialToken,
    TextRun,
    normalize_instruction,
    render_embedding_prompt,
    render_reranking_prompt,
)


def write(elements) -> str:
    """The prompt as one string, visual tokens as their grid."""

    def write_one(element) -> str:
        if isinstance(element, TextRun):
            return element.text
        if isinstance(element, SpecialToken):
            return element.token
        return f"[{'video' if element.is_video else 'image'} {element.height}x{element.width}]"

    return "".join(write_one(element) for element in elements)


def test_the_embedding_prompt():
    contents = [MediaSlot(2, 3, timestamps=(0.25, 2.0)), MediaSlot(4, 5), "hello", " world"]
    assert write(render_embedding_prompt(contents, instruction="Find it.")) == (
        "<|im_start|>system\nFind it.<|im_end|>\n<|im_start|>user\n"
        "<0.2 seconds><|vision_start|>[video 2x3]<|vision_end|><2.0 seconds><|vision_start|>[video 2x3]<|vision_end|>"
        "<|vision_start|>[image 4x5]<|vision_end|>hello world<|im_end|>\n<|im_start|>assistant\n<|endoftext|>"
    )


def test_the_reranking_prompt():
    prompt = render_reranking_prompt(["q"], [MediaSlot(1, 1), "d"], instruction="Judge")
    assert write(prompt) == (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
        "<Instruct>: Judge<Query>:q\n<Document>:<|vision_start|>[image 1x1]<|vision_end|>d<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("given", "used"),
    [
        (None, DEFAULT_INSTRUCTION),
        ("   ", DEFAULT_INSTRUCTION),
        (" Find it ", "Find it."),
        ("Find it!", "Find it!"),
        ("请检索相关图片。", "请检索相关图片。"),
        ("cost < 3 €", "cost < 3 €."),
        ("1 + 1 =", "1 + 1 =."),
    ],
)
def test_an_instruction_ends_in_punctuation_and_a_blank_one_is_the_default(given, used):
    assert normalize_instruction(given, default=DEFAULT_INSTRUCTION) == used
