"""What an answer costs a caller that counts tokens, and how it is made to fit: images first, then texts.

Nobody here knows the tokenizer of the caller. Texts count a token for four characters. Images count as their base64
does, because that is what clients count that do not look at them; a client that shows them to its model pays less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ImageShare", "count_text_tokens", "fit_texts", "share_image_tokens"]

_CHARACTERS_PER_TOKEN = 4

_BYTES_PER_TOKEN = 3
"""Three bytes are four characters of base64."""

_LEAST_IMAGE_TOKENS = 1_000
"""An image of fewer, which are 3,000 bytes, shows nothing that can be told apart."""

_LEAST_TEXT_CHARACTERS = 80
"""A text is not cut to less: that is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageShare:
    """How many images fit, and how large.

    Attributes:
        count: Images that fit.
        max_bytes: Most bytes of each.
    """

    count: int
    max_bytes: int


def count_text_tokens(text: str) -> int:
    """Returns what a text counts: a token for four characters, rounded up."""
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def fit_texts(texts: Sequence[str], tokens: int) -> list[str]:
    """Returns the texts, the longest of them cut to one length with an ellipsis, so that together they fit.

    Args:
        texts: The texts.
        tokens: What they may count together; with too few for all of them, all are `""`.
    """
    if sum(map(count_text_tokens, texts)) <= tokens:
        return list(texts)
    # The largest length to which cutting all makes them fit. Of a whole number of tokens, so that no rounding is lost.
    left, waiting = tokens, sorted(map(count_text_tokens, texts))
    each = 0
    while waiting:
        each = left // len(waiting)
        if waiting[0] > each:
            break
        left -= waiting.pop(0)
    most_characters = max(each, 0) * _CHARACTERS_PER_TOKEN
    if most_characters < _LEAST_TEXT_CHARACTERS:
        return ["" if len(text) > most_characters else text for text in texts]
    return [text if len(text) <= most_characters else text[: most_characters - 1].rstrip() + "…" for text in texts]


def share_image_tokens(wanted: int, tokens: int, *, most_bytes: int) -> ImageShare:
    """Returns how many of `wanted` images fit into `tokens`, and how large each may be.

    Args:
        wanted: Images there are.
        tokens: What they may count together.
        most_bytes: Most bytes of an image, however many tokens there are.
    """
    count = min(wanted, max(tokens, 0) // _LEAST_IMAGE_TOKENS)
    if count == 0:
        return ImageShare(count=0, max_bytes=0)
    return ImageShare(count=count, max_bytes=min(most_bytes, tokens // count * _BYTES_PER_TOKEN))
