"""Each word of the small world is one token, and nothing is unknown."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer
from transformers import Qwen3VLProcessor

from qwen3_vl_pocket.tokenizer import SPECIAL_TOKENS, build_tokenizer, count_vocabulary_rows
from qwen3_vl_retrieval.prompting.prompts import (
    DEFAULT_INSTRUCTION,
    DEFAULT_RERANKING_INSTRUCTION,
    render_embedding_prompt,
    render_reranking_prompt,
)
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer
from random_checkpoints import WORDS


@pytest.fixture(scope="module")
def embedding() -> Tokenizer:
    return build_tokenizer("embedding", words=WORDS)


@pytest.fixture(scope="module")
def reranker() -> Tokenizer:
    return build_tokenizer("reranker", words=WORDS)


def split(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.decode([token]) for token in tokenizer.encode(text, add_special_tokens=False).ids]


@pytest.mark.parametrize("word", [*WORDS, "yes", "no"])
def test_a_word_is_one_token_alone_and_after_a_space(reranker, word):
    assert split(reranker, word) == [word]
    assert split(reranker, f" {word}") == [f" {word}"]


def test_words_that_repeat_themselves_are_one_token():
    words = ["aa", "aaa", "abab", "ababab", "baba", "aabaab", "mississippi", "issi"]
    tokenizer = build_tokenizer("reranker", words=words)
    assert all(split(tokenizer, text) == [text] for word in words for text in (word, f" {word}"))


def test_a_run_without_spaces_is_split_into_its_words(reranker):
    assert split(reranker, "红色的圆形在蓝色三角形的左边，方形。") == [
        *("红色", "的", "圆形", "在", "蓝色", "三角形", "的", "左边", "，", "方形", "。"),
    ]


def test_digits_stay_single_as_in_the_published_vocabulary(reranker):
    assert split(reranker, "number 42") == ["number", " ", "4", "2"]


@pytest.mark.parametrize("text", ["zebra", "naïve 東京 🙂", "tab\tand\nnewline"])
def test_what_is_no_word_is_spelled_and_comes_back(reranker, text):
    tokens = reranker.encode(text).ids
    assert reranker.decode(tokens) == text


def test_text_is_normalised_as_the_published_tokenizers_do(reranker):
    assert reranker.encode("Gro\u0308ße").ids == reranker.encode("Größe").ids
    assert split(build_tokenizer("reranker", words=["Gro\u0308ße"]), "Größe") == ["Größe"]


def test_only_the_embedding_kind_ends_a_text_with_the_pooled_token(embedding, reranker):
    assert embedding.encode("red").tokens == ["red", "<|endoftext|>"]
    assert reranker.encode("red").tokens == ["red"]


def test_both_kinds_number_their_tokens_alike_in_any_order_of_words(embedding):
    shuffled = build_tokenizer("reranker", words=[*reversed(WORDS), *WORDS])
    assert shuffled.get_vocab() == embedding.get_vocab()
    assert json.loads(shuffled.to_str())["model"] == json.loads(embedding.to_str())["model"]


def test_special_tokens_stand_behind_the_words_in_the_published_order(embedding):
    first = embedding.get_vocab_size() - len(SPECIAL_TOKENS)
    assert [embedding.id_to_token(first + place) for place in range(len(SPECIAL_TOKENS))] == list(SPECIAL_TOKENS)


def test_the_prompts_spend_one_token_on_a_word(reranker):
    tokenize = PromptTokenizer(reranker).tokenize
    pair = tokenize(render_reranking_prompt(["red"], ["blue"], instruction=DEFAULT_RERANKING_INSTRUCTION))
    item = tokenize(render_embedding_prompt(["red"], instruction=DEFAULT_INSTRUCTION))
    pieces = [reranker.decode([token], skip_special_tokens=False) for token in pair.token_ids]
    assert pieces[-5:] == ["<|im_end|>", "\n", "<|im_start|>", "assistant", "\n"]
    assert pieces[-11:-5] == [">:", "red", "\n", "<Document", ">:", "blue"]
    assert (len(pair), len(item)) == (65, 21)


def test_a_timestamp_spends_one_token_a_character_and_one_on_its_word(reranker):
    assert split(reranker, "<12.5 seconds>") == ["<", "1", "2", ".", "5", " seconds", ">"]


@pytest.mark.parametrize("word", ["", "two words", "x1", "a-b", "don't"])
def test_a_word_that_the_published_pattern_splits_is_refused_by_name(word):
    with pytest.raises(ValueError, match="cannot be one token") as caught:
        build_tokenizer("embedding", words=["red", word])
    assert repr(word) in str(caught.value)


def test_the_vocabulary_is_counted_in_rows_of_64(embedding):
    rows = count_vocabulary_rows(embedding)
    assert rows % 64 == 0
    assert 0 <= rows - embedding.get_vocab_size() < 64


@pytest.mark.parametrize("kind", ["embedding", "reranker"])
def test_transformers_tokenises_as_we_do(random_checkpoints, kind):
    ours = build_tokenizer(kind, words=WORDS)
    theirs = Qwen3VLProcessor.from_pretrained(random_checkpoints / kind).tokenizer
    for text in ("a red circle, Größe 42?", "红色的圆形 zebra", "<|im_start|>user\nred<|im_end|>", "Gro\u0308ße"):
        assert theirs(text)["input_ids"] == ours.encode(text).ids
