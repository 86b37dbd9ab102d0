"""From an item's parts to what one row of a forward pass needs: tokens within the length, and pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index
from typing import TypeAlias, get_args

import numpy as np

from qwen3_vl_retrieval.engine.requests.media_reader import MediaReader, PreparedMedia
from qwen3_vl_retrieval.errors import InputTooLongError, quote
from qwen3_vl_retrieval.items import Part, TextPart
from qwen3_vl_retrieval.options import OnOverflow, PairTruncation
from qwen3_vl_retrieval.prompting.prompts import (
    Content,
    Element,
    Role,
    render_embedding_prompt,
    render_reranking_prompt,
)
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer, TokenSequence
from qwen3_vl_retrieval.prompting.truncation import (
    count_required_tokens,
    truncate_item,
    truncate_pair,
    truncate_pair_as_reference,
)

__all__ = ["MAX_SUPPORTED_LENGTH", "Contents", "PrefixKey", "PromptPrefix", "Request", "RequestBuilder"]

MAX_SUPPORTED_LENGTH = 32_768
"""Context of the published models (model cards, technical report arXiv 2601.04720)."""


_FIT_ATTEMPTS = 6
_SUFFIX_TOKENS = 5
"""Tokens of `<|im_end|>\\n<|im_start|>assistant\\n`."""


PrefixKey: TypeAlias = tuple[bytes, tuple[bytes, ...]]
"""Tokens and content keys of the media among them: equal for equal beginnings, whatever follows."""

_MIN_TOKENS = 4
"""Shorter beginnings are computed with their rows."""


@dataclass(frozen=True, slots=True)
class PromptPrefix:
    """The beginning of a prompt that others may share.

    Attributes:
        length: Tokens of it.
        media_count: How many of the prompt's images and videos are among them.
        is_lasting: Whether later calls will begin alike: an instruction does, a query does not.
    """

    length: int
    media_count: int
    is_lasting: bool


@dataclass(frozen=True, slots=True)
class Contents:
    """Parts with their media read.

    Attributes:
        parts: The parts in order.
        media: The images and videos among them, in order.
    """

    parts: tuple[Part, ...]
    media: tuple[PreparedMedia, ...]

    def render(self) -> list[Content]:
        """Returns the parts as the prompt renderers take them."""
        slots = iter(self.media)
        return [part.text if isinstance(part, TextPart) else next(slots).slot for part in self.parts]


@dataclass(frozen=True, slots=True)
class Request:
    """One row of a forward pass.

    Attributes:
        tokens: The prompt, within the model's length.
        media: Its images and videos, in the order of their placeholders.
        fitted: What was reduced to make it fit, for a warning; `None` if nothing was.
        prefix: The beginning that others may share, if there is any.
        instruction: The instruction of the prompt, for engines that build prompts of their own.
        groups: The contents of the item, or of query and document, with the media at the size that fits.
    """

    tokens: TokenSequence
    media: tuple[PreparedMedia, ...]
    fitted: str | None = None
    prefix: PromptPrefix | None = None
    instruction: str = ""
    groups: tuple[Contents, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens)


class RequestBuilder:
    """Builds requests within a length; safe to share between threads.

    Args:
        tokenizer: The model's tokenizer.
        reader: Reads images and videos.
        max_length: Tokens of an item at most.
        on_overflow: What happens to an item beyond that.
        pair_truncation: Which side of a long pair is cut.

    Attributes:
        tokenizer: The model's tokenizer.

    Raises:
        ValueError: An option is out of range.
    """

    def __init__(
        self,
        tokenizer: PromptTokenizer,
        reader: MediaReader,
        *,
        max_length: int,
        on_overflow: OnOverflow,
        pair_truncation: PairTruncation = "longest_first",
    ) -> None:
        if not 1 <= index(max_length) <= MAX_SUPPORTED_LENGTH:
            raise ValueError(f"max_length={max_length} must be between 1 and {MAX_SUPPORTED_LENGTH}")
        if on_overflow not in get_args(OnOverflow):
            raise ValueError(f'on_overflow={quote(on_overflow)} is unknown; allowed are "fit" and "error"')
        if pair_truncation not in get_args(PairTruncation):
            raise ValueError(
                f'truncation={quote(pair_truncation)} is unknown; allowed are "longest_first" and "reference"'
            )
        self.tokenizer = tokenizer
        self._reader = reader
        self._max_length = max_length
        self._on_overflow: OnOverflow = on_overflow
        self._pair_truncation: PairTruncation = pair_truncation

    def read_contents(self, parts: Sequence[Part]) -> Contents:
        """Returns the parts with every image and video among them read.

        Raises:
            MediaError: One of them cannot be read, or may not be.
        """
        media = tuple(self._reader.read(part) for part in parts if not isinstance(part, TextPart))
        return Contents(tuple(parts), media)

    def build_item(self, contents: Contents, *, instruction: str) -> Request:
        """Returns the request that embeds one item.

        Raises:
            InputTooLongError: It does not fit, and may not or cannot be shortened.
        """

        def tokenize(groups: Sequence[Contents]) -> TokenSequence:
            return self.tokenizer.tokenize(render_embedding_prompt(groups[0].render(), instruction=instruction))

        tokens, groups, fitted = self._fit((contents,), tokenize, is_pair=False)
        cut = tokens if len(tokens) <= self._max_length else truncate_item(tokens, max_length=self._max_length)
        prefix = _find_prefix(cut, query_media=0, query_visuals=0, is_pair=False)
        fitted = _describe_cut(tokens, cut) if fitted is None else fitted
        return Request(cut, _join_media(groups), fitted, prefix, instruction, groups)

    def build_pair(self, query: Contents, document: Contents, *, instruction: str) -> Request:
        """Returns the request that judges one document for one query.

        Raises:
            InputTooLongError: The pair does not fit, and may not or cannot be shortened.
        """

        def tokenize(groups: Sequence[Contents]) -> TokenSequence:
            elements: Sequence[Element] = render_reranking_prompt(
                groups[0].render(), groups[1].render(), instruction=instruction
            )
            return self.tokenizer.tokenize(elements)

        tokens, groups, fitted = self._fit((query, document), tokenize, is_pair=True)
        cut = tokens if len(tokens) <= self._max_length else self._truncate_pair(tokens)
        visuals = sum(item.pair_count for item in groups[0].media)
        prefix = _find_prefix(cut, query_media=len(query.media), query_visuals=visuals, is_pair=True)
        fitted = _describe_cut(tokens, cut) if fitted is None else fitted
        return Request(cut, _join_media(groups), fitted, prefix, instruction, groups)

    def _fit(
        self,
        groups: tuple[Contents, ...],
        tokenize: Callable[[Sequence[Contents]], TokenSequence],
        *,
        is_pair: bool,
    ) -> tuple[TokenSequence, tuple[Contents, ...], str | None]:
        """Tokens whose text may still be too long, but whose media fits; the contents, and what was done to them."""
        tokens = tokenize(groups)
        if len(tokens) <= self._max_length:
            return tokens, groups, None
        body_length = len(tokens) - (np.count_nonzero(tokens.roles == Role.SUFFIX) if is_pair else 0)
        if body_length > self._max_length and self._on_overflow == "error":
            raise InputTooLongError(
                f"{body_length} tokens, allowed are {self._max_length}; shorten the item, raise max_length "
                'or let it be fitted with on_overflow="fit"'
            )
        required = count_required_tokens(tokens, is_pair=is_pair)
        if required <= self._max_length:
            return tokens, groups, None
        first_required = required
        share = self._compute_share(tokens, required)
        for _ in range(_FIT_ATTEMPTS):
            smaller = tuple(
                Contents(group.parts, tuple(self._reader.read_smaller(media, share) for media in group.media))
                for group in groups
            )
            tokens = tokenize(smaller)
            if count_required_tokens(tokens, is_pair=is_pair) <= self._max_length:
                before, after = (_describe_media(_join_media(contents)) for contents in (groups, smaller))
                fitted = f"{first_required} tokens exceed {self._max_length}: {before} reduced to {after}"
                return tokens, smaller, fitted
            share *= 0.8
        raise InputTooLongError(
            f"{first_required} tokens of images, videos and instruction cannot be reduced to {self._max_length}; "
            "give fewer of them or raise max_length"
        )

    def _truncate_pair(self, tokens: TokenSequence) -> TokenSequence:
        if self._pair_truncation == "reference":
            special = self.tokenizer.find_special_tokens(tokens)
            return truncate_pair_as_reference(tokens, special, max_length=self._max_length)
        return truncate_pair(tokens, max_length=self._max_length)

    def _compute_share(self, tokens: TokenSequence, required: int) -> float:
        """Share of the media's tokens that fits beside the prompt and up to a quarter of text."""
        text = np.count_nonzero(tokens.mark_roles(Role.QUERY, Role.DOCUMENT))
        timestamps = np.count_nonzero(tokens.roles == Role.TIMESTAMP)
        media = np.count_nonzero(tokens.roles == Role.VISUAL) + timestamps + 2 * len(tokens.visuals)
        reserved = (required - media) + _SUFFIX_TOKENS + min(int(text), self._max_length // 4)
        available = self._max_length - reserved
        if media == 0 or available <= 0:
            raise InputTooLongError(
                f"instruction and prompt alone take {required - media} of {self._max_length} tokens; "
                "shorten the instruction or raise max_length"
            )
        return min(available / media, 1.0)


def _find_prefix(tokens: TokenSequence, *, query_media: int, query_visuals: int, is_pair: bool) -> PromptPrefix | None:
    """Returns what comes before the item of an embedding, or before the document of a pair; `None` if it is too short.

    Args:
        tokens: The prompt.
        query_media: Images and videos of a pair's query.
        query_visuals: Images and pairs of frames of a pair's query.
        is_pair: Whether it is a pair.
    """
    own_role = Role.DOCUMENT if is_pair else Role.QUERY
    candidates = [len(tokens) - 1, *np.flatnonzero(tokens.mark_roles(own_role, Role.SUFFIX))[:1].tolist()]
    if len(tokens.visuals) > query_visuals:
        start = _find_visual(tokens, query_visuals) - 1
        # The mark before an image, and the time before the mark, belong to the image.
        while tokens.roles[start - 1] == Role.TIMESTAMP:
            start -= 1
        candidates.append(start)
    length = min(candidates)
    if length < _MIN_TOKENS:
        return None
    return PromptPrefix(length, query_media, is_lasting=not is_pair)


def _find_visual(tokens: TokenSequence, number: int) -> int:
    """The place of the first token of an image or pair of frames."""
    is_visual = tokens.roles == Role.VISUAL
    starts = np.flatnonzero(is_visual & ~np.concatenate(([False], is_visual[:-1])))
    return int(starts[number])


def _describe_cut(whole: TokenSequence, cut: TokenSequence) -> str | None:
    return f"text cut from {len(whole)} to {len(cut)} tokens" if len(cut) < len(whole) else None


def _join_media(groups: Sequence[Contents]) -> tuple[PreparedMedia, ...]:
    return tuple(media for group in groups for media in group.media)


def _describe_media(media: Sequence[PreparedMedia]) -> str:
    images = sum(item.slot.timestamps is None for item in media)
    frames = sum(2 * item.pair_count for item in media if item.slot.timestamps is not None)
    named = [(images, "image(s)"), (frames, "frame(s)")]
    listed = " and ".join(f"{count} {name}" for count, name in named if count)
    return f"{listed} of {sum(item.token_count for item in media)} tokens"
