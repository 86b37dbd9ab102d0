"""The words of a question in the text layer of a page: the same ones, their inflections, and what OCR made of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from qwen3_vl_retrieval.explanations.boxes import Box
from qwen3_vl_retrieval.media.text_layer import TextLayer

__all__ = ["FoundWord", "find_text_words", "find_words", "split_words"]

_LEAST_SIMILARITY = 0.8
"""Similarity of two words, as of `difflib`, from which on one is taken for the other: one letter of five may differ."""

_LEAST_INEXACT_LETTERS = 4
"""Shorter words must be the same, and so must numbers: one digit more or less is another number."""

_SAME_SIMILARITY = 0.95
"""Similarity of a number to one in which OCR took digits for letters."""

_TIED_SIMILARITY = 0.05
"""Less similar words than the best for a word of the question, by more than this, are other words."""

_SHARED_BEGINNING = 0.6
"""Share of the longer of two words that an inflection leaves as it is, at the beginning."""

_WORD = re.compile(
    # Scripts without spaces: each character by itself, joined again where they stand together in the question.
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1780-\u17ff]+"
    r"|[^\W_]+(?:[.,'’\u2010-][^\W_]+)*"
)

_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1780-\u17ff]")

_STOP_WORDS = (
    "a about al all als am an and any are as at au auf aus aux avec be bei by can ce ces cette como con cual cuando "
    "dans das de del dem den der des did die do document does donde du ein eine einem einen einer eines el elle en "
    "er es est esta este et find for from fur get give had has hat have hay how i ich ihr il im image in is ist it "
    "its je la las le les lo los ma me mes mi mit my nach nicht no o oder of on or ou our page par para pas picture "
    "por pour que qui quien sa se ses show sie sind son sont su sur sus that the their there these this those to un "
    "una und une video von war was we wer were what when where which who why wie will with wo y you your zu zum zur "
)
"""Words that say nothing about a page, in English, Spanish, French and German, as they are compared."""

_MISREAD_DIGITS = str.maketrans({"o": "0", "l": "1", "i": "1", "z": "2", "s": "5", "b": "8"})

_COMBINING = re.compile(r"[\u0300-\u036f]")


@dataclass(frozen=True, slots=True)
class FoundWord:
    """Words of a question that stand side by side on a page.

    Attributes:
        text: As they stand on the page.
        box: Around them, in shares of the page; `None` in a text without places.
        weight: How much of the question they are, as the sum over its words: 1 for a word that stands there once, less
            for one that stands there often or is not quite the same.
    """

    text: str
    box: Box | None
    weight: float


@dataclass(frozen=True, slots=True)
class _Token:
    """A word of the page: which characters it is, and how it is compared."""

    first: int
    end: int
    key: str


def find_text_words(query: str, text: str) -> list[FoundWord]:
    """Returns the words of a question that stand in a text without places, as `find_words` does."""
    tokens = _list_tokens(text)
    similarities = _match_words(query, text, tokens)
    runs = _list_runs(
        similarities,
        lambda first, second: "\n" not in text[tokens[first].end : tokens[second].first],
        joined_by=_find_empty_words(query, tokens),
    )
    found = [FoundWord(_cut_text(text, tokens, run), None, sum(similarities[place] for place in run)) for run in runs]
    return sorted(found, key=lambda one: -one.weight)


def find_words(query: str, layer: TextLayer) -> list[FoundWord]:
    """Returns where the words of a question stand on a page, weightiest first; empty if none of them does.

    Words without content ("where", "the") are looked for only if the question has no others. A word that does not stand
    there is looked for in other inflections and as OCR may have read it.
    """
    tokens = _list_tokens(layer.text)
    similarities = _match_words(query, layer.text, tokens)
    found: list[FoundWord] = []
    runs = _list_runs(
        similarities,
        lambda first, second: _is_same_line(layer, tokens[first], tokens[second]),
        joined_by=_find_empty_words(query, tokens),
    )
    for run in runs:
        box = _find_box(layer, tokens[run[0]].first, tokens[run[-1]].end)
        if box is not None:
            weight = sum(similarities[place] for place in run)
            found.append(FoundWord(_cut_text(layer.text, tokens, run), box, weight))
    return sorted(found, key=lambda one: -one.weight)


def split_words(text: str) -> list[str]:
    """Returns the words of a question as they are compared, each once: without case, accents and empty words."""
    words = list(dict.fromkeys(_normalize(match.group()) for match in _WORD.finditer(text)))
    empty = frozenset(_STOP_WORDS.split())
    telling = [word for word in words if word not in empty]
    return telling if telling else words


def _normalize(word: str) -> str:
    """A word without what makes no difference to a reader: case, accents, width, and the separators of a number."""
    key = _COMBINING.sub("", unicodedata.normalize("NFKD", word)).casefold()
    key = key.replace("’", "'")
    bare = re.sub(r"[.,'\u2010-]", "", key)
    return bare if bare.isdecimal() else key


def _list_tokens(text: str) -> list[_Token]:
    """The words of a page; of scripts without spaces, the characters."""
    tokens: list[_Token] = []
    for match in _WORD.finditer(text):
        first, end = match.span()
        if _UNSPACED.match(text, first):
            tokens += [_Token(place, place + 1, _normalize(text[place])) for place in range(first, end)]
        else:
            tokens.append(_Token(first, end, _normalize(match.group())))
    return tokens


def _match_run(word: str, text: str, tokens: Sequence[_Token]) -> dict[int, float]:
    """Characters of a script without spaces that stand together on the page as they do in `word`, two or more."""
    places = {token.first: place for place, token in enumerate(tokens)}
    found: dict[int, float] = {}
    taken: set[int] = set()
    for length in range(len(word), min(len(word), 2) - 1, -1):
        for start in range(len(word) - length + 1):
            inside = range(start, start + length)
            if taken.issuperset(inside):
                continue
            matches = [match.start() for match in re.finditer(re.escape(word[start : start + length]), text)]
            if matches:
                taken.update(inside)
            for first in matches:
                share = length / len(word) / length
                found |= {places[first + step]: share for step in range(length) if first + step in places}
    return found


def _match_word(word: str, tokens: Sequence[_Token]) -> dict[int, float]:
    """The places of a word among those of the page, each with its similarity."""
    similarities = {key: _compare_words(word, key) for key in {token.key for token in tokens}}
    best = max(similarities.values(), default=0.0)
    if best < _LEAST_SIMILARITY:
        return {}
    return {
        place: similarities[token.key]
        for place, token in enumerate(tokens)
        if similarities[token.key] >= best - (0.0 if best == 1.0 else _TIED_SIMILARITY)
    }


def _compare_words(word: str, other: str) -> float:
    """Similarity of a word of the question with one of the page: 1 if they are the same, 0 if they are others."""
    if word == other:
        return 1.0
    if any(letter.isdecimal() for letter in word):
        return _SAME_SIMILARITY if other.translate(_MISREAD_DIGITS) == word and _has_digit(other) else 0.0
    if min(len(word), len(other)) < _LEAST_INEXACT_LETTERS or _has_digit(other):
        return 0.0
    shared = next(
        (place for place, (own, its) in enumerate(zip(word, other, strict=False)) if own != its),
        min(len(word), len(other)),
    )
    if shared >= max(_LEAST_INEXACT_LETTERS, _SHARED_BEGINNING * max(len(word), len(other))):
        return max(_LEAST_SIMILARITY, 2 * shared / (len(word) + len(other)))
    matcher = SequenceMatcher(None, word, other, autojunk=False)
    if matcher.real_quick_ratio() < _LEAST_SIMILARITY or matcher.quick_ratio() < _LEAST_SIMILARITY:
        return 0.0
    ratio = matcher.ratio()
    return ratio if ratio >= _LEAST_SIMILARITY else 0.0


def _has_digit(word: str) -> bool:
    return any(letter.isdecimal() for letter in word)


def _match_words(query: str, text: str, tokens: Sequence[_Token]) -> dict[int, float]:
    """The words of the page that are words of the question, by place: how similar, over how many there are."""
    similarities: dict[int, float] = {}
    for word in split_words(query):
        found = _match_run(word, text, tokens) if _UNSPACED.search(word) else _match_word(word, tokens)
        for place, similarity in found.items():
            similarities[place] = similarities.get(place, 0.0) + similarity / len(found)
    return similarities


def _find_empty_words(query: str, tokens: Sequence[_Token]) -> frozenset[int]:
    """Places of the words without content that the question has, too: the "of" in "term of notice"."""
    asked = {_normalize(match.group()) for match in _WORD.finditer(query)} & frozenset(_STOP_WORDS.split())
    return frozenset(place for place, token in enumerate(tokens) if token.key in asked)


def _list_runs(
    places: Iterable[int], is_together: Callable[[int, int], bool], *, joined_by: Container[int]
) -> list[list[int]]:
    """Places that stand together and follow each other, but for places that join them."""
    runs: list[list[int]] = []
    for place in sorted(places):
        last = runs[-1][-1] if runs else place
        is_joined = all(between in joined_by for between in range(last + 1, place))
        if runs and is_joined and all(is_together(first, first + 1) for first in range(last, place)):
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _cut_text(text: str, tokens: Sequence[_Token], run: Sequence[int]) -> str:
    return " ".join(text[tokens[run[0]].first : tokens[run[-1]].end].split())


def _is_same_line(layer: TextLayer, first: _Token, second: _Token) -> bool:
    boxes = [_find_box(layer, token.first, token.end) for token in (first, second)]
    if boxes[0] is None or boxes[1] is None or "\n" in layer.text[first.end : second.first]:
        return False
    middle = (boxes[1].top + boxes[1].bottom) / 2
    return boxes[0].top <= middle <= boxes[0].bottom


def _find_box(layer: TextLayer, first: int, end: int) -> Box | None:
    """Around the ink of characters; `None` if they have none."""
    boxes = layer.boxes[first:end]
    inked = boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
    if not len(inked):
        return None
    left, top = inked[:, :2].min(axis=0).tolist()
    right, bottom = inked[:, 2:].max(axis=0).tolist()
    return Box(max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0))
