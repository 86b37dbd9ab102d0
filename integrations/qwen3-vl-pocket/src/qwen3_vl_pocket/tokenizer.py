"""The tokenizer of the pocket models: built as the published ones, with the words of the small world as its vocabulary.

A published vocabulary has 151,669 entries, which at the width of the pocket models would be six times the model itself.
This one has the 256 bytes, so that nothing is unknown, and one token for each word that the world and the prompts use.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Literal, TypeAlias

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from qwen3_vl_retrieval.prompting.prompts import (
    DEFAULT_INSTRUCTION,
    DEFAULT_QUERY_INSTRUCTION,
    DEFAULT_RERANKING_INSTRUCTION,
    MediaSlot,
    TextRun,
    render_embedding_prompt,
    render_reranking_prompt,
)

__all__ = ["END_OF_TEXT", "SPECIAL_TOKENS", "ModelKind", "build_tokenizer", "count_vocabulary_rows"]

ModelKind: TypeAlias = Literal["embedding", "reranker"]
"""What a model is for; the two tokenizers differ in what ends a text."""

_Pair: TypeAlias = tuple[str, str]

END_OF_TEXT = "<|endoftext|>"
"""The token whose state is an item's vector; also used as padding."""

SPECIAL_TOKENS = (
    END_OF_TEXT,
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""The special tokens of the published tokenizers, in their order: `tokenizer_config.json` of Qwen3-VL-Embedding-2B."""

_ANSWERS = ("yes", "no")

# How the family's tokenizer splits text before merging: `tokenizer.json` of Qwen3-VL-Embedding-2B.
_SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# From here on (Unicode block "CJK Radicals Supplement") scripts are written without spaces between words.
_FIRST_UNSPACED = "\u2e80"

# Matrices whose rows are a multiple of 64 are multiplied faster; published vocabularies are padded too, to 151,936.
_ROWS_MULTIPLE = 64


def build_tokenizer(kind: ModelKind, *, words: Iterable[str]) -> Tokenizer:
    """Returns a byte-level tokenizer in which each word is one token, alone and after a space.

    The words and punctuation of the published prompts and the answers yes and no are one token each as well. Digits
    stay single. In scripts without spaces a run of characters is split into the given words, two-character words
    first, wherever they do not overlap. Equal words in equal or other order give equal tokenizers, and both kinds
    number their tokens alike.

    Args:
        kind: The embedding kind ends each text with `<|endoftext|>`, whose state is the vector; the reranker kind
            does not.
        words: Letters, or punctuation, without digits or spaces inside.

    Raises:
        ValueError: A word is empty, or holds something at which the published pattern splits, such as a space or a
            digit; the message names it.
    """
    pre_tokenizer = _build_pre_tokenizer()
    plain = sorted({unicodedata.normalize("NFC", word) for word in (*words, *_ANSWERS)})
    for word in plain:
        if len(pre_tokenizer.pre_tokenize_str(word)) != 1:
            raise ValueError(f"{word!r} cannot be one token: the family's pattern splits it; give its parts as words")
    # "a" and " a" are two entries, as in the published vocabulary. A space before a digit always stands alone.
    spaced = [piece for piece in (f" {word}" for word in plain) if len(pre_tokenizer.pre_tokenize_str(piece)) == 1]
    merges = _construct_merges(tuple(plain), (*spaced, *_list_prompt_pieces(pre_tokenizer)))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate(alphabet)}
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
    if kind == "embedding":
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {END_OF_TEXT}",
            pair=f"$A $B {END_OF_TEXT}",
            special_tokens=[(END_OF_TEXT, tokenizer.token_to_id(END_OF_TEXT))],
        )
    return tokenizer


def count_vocabulary_rows(tokenizer: Tokenizer) -> int:
    """Returns `vocab_size` of the model's configuration: the size of the vocabulary, rounded up to 64."""
    return -(-tokenizer.get_vocab_size() // _ROWS_MULTIPLE) * _ROWS_MULTIPLE


def _build_pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(_SPLIT_PATTERN), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, byte_level])


def _list_prompt_pieces(pre_tokenizer: pre_tokenizers.PreTokenizer) -> list[str]:
    """Everything between two splits of the published prompts, digits of the sample timestamp left aside."""
    contents = [MediaSlot(2, 2, timestamps=(0.0,))]
    prompts = (
        render_embedding_prompt(contents, instruction=DEFAULT_INSTRUCTION),
        render_embedding_prompt(contents, instruction=DEFAULT_QUERY_INSTRUCTION),
        render_reranking_prompt(contents, contents, instruction=DEFAULT_RERANKING_INSTRUCTION),
    )
    pieces: set[str] = set()
    for prompt in prompts:
        for element in prompt:
            if isinstance(element, TextRun):
                places = [place for _, place in pre_tokenizer.pre_tokenize_str(element.text)]
                pieces.update(element.text[start:end] for start, end in places)
    return sorted(pieces)


@lru_cache(maxsize=4)  # a run of the recipe writes five checkpoints with one list of words, two seconds each
def _construct_merges(words: tuple[str, ...], pieces: tuple[str, ...]) -> tuple[_Pair, ...]:
    """Merges that make each word, then each piece, one token, in the order in which they are applied.

    A merge takes nothing from those before it: what they make one token stays so, whatever is added behind them.
    """
    ranks: dict[_Pair, int] = {}
    # A first byte tells how many follow, so these merges never join bytes of two characters.
    for character in sorted({character for text in (*words, *pieces) for character in text}):
        _add_merges(ranks, list(_spell_bytes(character)))
    spaced = [word for word in words if word[0] < _FIRST_UNSPACED]
    for pair in _learn_merges([_spell(word) for word in spaced]):
        ranks.setdefault(pair, len(ranks))
    unspaced = sorted((word for word in words if word[0] >= _FIRST_UNSPACED), key=len)
    for text in (*spaced, *unspaced, *pieces):
        _add_merges(ranks, _spell(text))
    return tuple(ranks)


def _add_merges(ranks: dict[_Pair, int], symbols: list[str]) -> None:
    symbols = _apply_merges(symbols, ranks)
    while len(symbols) > 1:
        ranks[symbols[0], symbols[1]] = len(ranks)
        symbols = _apply_merges(symbols, ranks)


def _apply_merges(symbols: list[str], ranks: dict[_Pair, int]) -> list[str]:
    """What is left when no two neighbours can be merged; merges of low rank go first."""
    while True:
        known = [pair for pair in pairwise(symbols) if pair in ranks]
        if not known:
            return symbols
        symbols = _join(symbols, min(known, key=ranks.__getitem__))


def _learn_merges(words: list[list[str]]) -> list[_Pair]:
    """Byte-pair encoding on a list of words, until each word is one token; the most frequent pair goes first.

    Words that begin, end or are built alike share their pieces, which saves a tenth of the vocabulary.
    """
    merges: list[_Pair] = []
    while words := [word for word in words if len(word) > 1]:
        counts = Counter(pair for word in words for pair in pairwise(word))
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        words = [_join(word, best) for word in words]
    return merges


def _join(symbols: list[str], pair: _Pair) -> list[str]:
    joined: list[str] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def _spell(text: str) -> list[str]:
    """The characters of a text, each in the byte-level alphabet."""
    return [_spell_bytes(character) for character in text]


def _spell_bytes(text: str) -> str:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return byte_level.pre_tokenize_str(text)[0][0]
