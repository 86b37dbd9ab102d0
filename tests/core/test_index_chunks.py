"""Texts cut into chunks: the splitter's own on all of the text, in linear time."""

from __future__ import annotations

import base64
import json
import random
import re

import pytest
import semantic_text_splitter
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_vl_retrieval.documents.chunks import split_text

LONGEST = 1500


def draw_words(count, *, seed=0):
    generator = random.Random(seed)
    return " ".join(generator.choice(["alpha", "beta", "gamma.", "delta,", "epsilon"]) for _ in range(count))


def make_kinds(characters):
    """Texts that are long without the breaks that ordinary ones have."""
    generator = random.Random(1)
    rows = [{"id": number, "name": generator.choice("abcdef")} for number in range(characters // 22)]
    return {
        "a word": "a" * characters,
        "no spaces": "".join(chr(0x4E00 + generator.randrange(5000)) for _ in range(characters)),
        "base64": base64.b64encode(generator.randbytes(characters * 3 // 4)).decode(),
        "one line": draw_words(characters // 6),
        "one line of sentences": "Some words are here. " * (characters // 21),
        "no-break spaces": ("a" * 30 + "\u00a0") * (characters // 31),
        "minified": json.dumps(rows, separators=(",", ":")),
        "pretty": json.dumps(rows, indent=1),
        "one row": ",".join(str(number) for number in range(characters // 6)),
        "short lines": "ab\n" * (characters // 3),
        "empty lines": "a" + "\n" * characters + "b",
        "spaces": "a" + " " * characters + "b",
        "headings": "# a\n" * (characters // 4),
        "deep list": "".join(" " * (number % 80) + "- x y\n" for number in range(characters // 46)),
        "table": "|a|b|\n|-|-|\n" + "|one two|three|\n" * (characters // 16),
        "open fence": "```\n" + "code = 1\n" * (characters // 9),
        "tags": "<div>" * (characters // 5),
        "links": "[a](b) " * (characters // 7),
    }


@pytest.fixture
def handed(monkeypatch):
    """Lengths of what is handed to the splitters."""
    lengths = []
    for name in ("TextSplitter", "MarkdownSplitter"):
        real = getattr(semantic_text_splitter, name)

        class Counting:
            def __init__(self, capacity, real=real):
                self._splitter = real(capacity)

            def chunks(self, text):
                lengths.append(len(text))
                return self._splitter.chunks(text)

            def chunk_indices(self, text):
                lengths.append(len(text))
                return self._splitter.chunk_indices(text)

        monkeypatch.setattr(semantic_text_splitter, name, Counting)
    return lengths


def drop_spaces(text):
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("kind", make_kinds(100))
@pytest.mark.parametrize("is_markdown", [False, True])
def test_no_kind_of_text_takes_more_than_linear_time_or_loses_anything(handed, kind, is_markdown):
    characters = 150_000 if kind not in ("no spaces", "tags", "no-break spaces") else 40_000
    text = make_kinds(characters)[kind]
    chunks = split_text(text, is_markdown=is_markdown)
    assert drop_spaces("".join(chunks)) == drop_spaces(text)
    assert max(map(len, chunks)) <= LONGEST
    assert max(handed) <= (64_000 if is_markdown else 8_000)
    # Nothing is handed over much more than once.
    assert sum(handed) <= 2 * len(text) + 64_000


BLOCKS = st.one_of(
    st.integers(1, 60).map(lambda count: draw_words(count, seed=count)),
    st.integers(1, 30).map(lambda count: "\n".join(draw_words(6, seed=count + line) for line in range(count))),
    st.integers(1, 400).map(lambda count: draw_words(count, seed=count).replace(" ", "\n")),
    st.integers(1, 40).map(lambda count: "\n".join(f"{'  ' * (line % 3)}- item {line}" for line in range(count))),
    st.integers(1, 4).map(lambda level: "#" * level + " A heading"),
    st.integers(1, 30).map(lambda count: "```py\n" + "\n\n".join(f"a = {line}" for line in range(count)) + "\n```"),
    st.integers(1, 30).map(lambda count: "|a|b|\n|-|-|\n" + "\n".join(f"|{line}|x y|" for line in range(count))),
    st.sampled_from(["> quoted\n> twice", "<!--\n\n# no heading\n\n-->", "    code = 1\n\n    more = 2", "été 中文。"]),
)
TEXTS = st.lists(
    st.tuples(BLOCKS, st.sampled_from(["\n", "\n\n", "\n\n\n", "\r\n\r\n", " "])), min_size=1, max_size=120
)


@settings(max_examples=60, deadline=None)
@given(blocks=TEXTS)
def test_plain_text_has_the_chunks_that_the_splitter_finds_in_all_of_it(blocks):
    text = "".join(block + break_ for block, break_ in blocks) * 3
    whole = semantic_text_splitter.TextSplitter((500, LONGEST)).chunks(text)
    assert split_text(text) == whole


@settings(max_examples=15, deadline=None)
@given(blocks=st.lists(BLOCKS, min_size=20, max_size=80))
def test_markdown_has_the_chunks_that_the_splitter_finds_in_all_of_it(blocks):
    text = "\n\n".join(blocks)
    repeats = 150_000 // len(text) + 1
    text = "\n\n".join(f"A paragraph of its own, number {repeat}.\n\n{text}" for repeat in range(repeats))
    whole = semantic_text_splitter.MarkdownSplitter((500, LONGEST)).chunks(text)
    assert split_text(text, is_markdown=True) == whole


def test_a_long_line_in_markdown_leaves_what_is_around_it_as_it_was():
    before, after = (f"# Part {part}\n\n" + "\n\n".join([draw_words(100, seed=part)] * 5) for part in (1, 2))
    line = "x" * 30_000
    chunks = split_text(f"{before}\n\n{line}\n\n{after}", is_markdown=True)
    splitter = semantic_text_splitter.MarkdownSplitter((500, LONGEST))
    around = len(splitter.chunks(before))
    assert chunks[:around] == splitter.chunks(before)
    assert chunks[-len(splitter.chunks(after)) :] == splitter.chunks(after)
    assert "".join(chunks[around : -len(splitter.chunks(after))]) == line


@pytest.mark.parametrize("text", ["", " \n\t", "\n" * 20_000])
def test_white_space_has_no_chunks(text):
    assert split_text(text) == split_text(text, is_markdown=True) == []
