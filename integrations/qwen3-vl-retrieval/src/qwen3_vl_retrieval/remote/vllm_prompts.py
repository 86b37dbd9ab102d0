"""Prompts as vLLM takes them: token ids for texts, messages for what has images or videos.

vLLM puts the pixels of a message where its chat template says, and the tokens of that are ours: what was cut off a long
item is cut off here, and what would become other tokens there is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.engine.requests.builder import Contents, Request
from qwen3_vl_retrieval.engine.requests.media_reader import PreparedMedia
from qwen3_vl_retrieval.errors import InputError, InputTooLongError, quote
from qwen3_vl_retrieval.items import TextPart
from qwen3_vl_retrieval.prompting.prompts import Role, render_embedding_prompt, render_reranking_prompt
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer
from qwen3_vl_retrieval.remote.png import encode_png

__all__ = [
    "ItemPrompt",
    "PairPrompt",
    "build_item_prompt",
    "build_pair_prompt",
    "describe_video_settings",
    "list_parts",
]

T = TypeVar("T")

_TENTHS = 10.0
"""Frames a second that vLLM is told, with frames numbered so that each stands at the tenth of a second that the prompt
shows of it."""

_TRIED_CHARACTERS = 8
"""How far the end of a cut text may lie from where its tokens seem to end, which may be inside a character."""

_UNLIMITED_PIXELS = 1 << 40


@dataclass(frozen=True, slots=True)
class ItemPrompt:
    """An item as a conversation.

    Attributes:
        contents: What is shown, its texts as far as they fit.
        is_open: Whether the turn has no end: what was too long was cut off the prompt's end, as the official script
            cuts it.
    """

    contents: Contents
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class PairPrompt:
    """A pair as two contents, their texts as far as they fit."""

    query: Contents
    document: Contents


def build_item_prompt(request: Request, tokenizer: PromptTokenizer) -> ItemPrompt:
    """Returns the conversation whose tokens are those of a request that embeds an item.

    Raises:
        InputError: A text has special tokens, which vLLM would take for control tokens.
        InputTooLongError: No conversation has these tokens.
    """
    (contents,) = request.groups
    _refuse_special_tokens(contents, tokenizer)
    whole = tokenizer.tokenize(render_embedding_prompt(contents.render(), instruction=request.instruction))
    if np.array_equal(whole.token_ids, request.tokens.token_ids):
        return ItemPrompt(contents)
    # What is left of the end of the turn is written into the text: vLLM reads it as the tokens that it is.
    ending = tokenizer.decode(request.tokens.token_ids[request.tokens.roles == Role.SUFFIX])
    removed = int(np.count_nonzero(whole.roles == Role.SUFFIX) - np.count_nonzero(request.tokens.roles == Role.SUFFIX))
    kept = _count_characters(request, tokenizer, Role.QUERY)

    def cut(fewer: int) -> tuple[Contents, npt.NDArray[np.int32]]:
        shorter = _keep_characters(contents, kept - fewer)
        tokens = tokenizer.tokenize(render_embedding_prompt(shorter.render(), instruction=request.instruction))
        end = len(tokens) - 1
        return shorter, np.delete(tokens.token_ids, np.s_[end - removed : end])

    shorter = _find_cut(request, cut)
    return ItemPrompt(_append_text(shorter, ending), is_open=True)


def build_pair_prompt(request: Request, tokenizer: PromptTokenizer) -> PairPrompt:
    """Returns the contents whose prompt has the tokens of a request for a pair; raises as `build_item_prompt`."""
    query, document = request.groups
    for contents in request.groups:
        _refuse_special_tokens(contents, tokenizer)

    def tokenize(asked: Contents, shown: Contents) -> npt.NDArray[np.int32]:
        elements = render_reranking_prompt(asked.render(), shown.render(), instruction=request.instruction)
        return tokenizer.tokenize(elements).token_ids

    if np.array_equal(tokenize(query, document), request.tokens.token_ids):
        return PairPrompt(query, document)
    kept = [_count_characters(request, tokenizer, role) for role in (Role.QUERY, Role.DOCUMENT)]

    def cut(fewer: int) -> tuple[PairPrompt, npt.NDArray[np.int32]]:
        # What was not cut is not touched: it may end in a character that its tokens do not show.
        asked, shown = (
            contents if _count_text(contents) <= count else _keep_characters(contents, count - fewer)
            for contents, count in zip(request.groups, kept, strict=True)
        )
        return PairPrompt(asked, shown), tokenize(asked, shown)

    return _find_cut(request, cut)


def _find_cut(request: Request, cut: Callable[[int], tuple[T, npt.NDArray[np.int32]]]) -> T:
    """The contents with the tokens of the request; where a token ends inside a character, those with fewer tokens.

    Args:
        request: The request.
        cut: Returns contents with so many characters fewer than its tokens seem to have, and their tokens.
    """
    candidates = [cut(fewer) for fewer in range(-_TRIED_CHARACTERS, _TRIED_CHARACTERS)]
    for contents, token_ids in candidates:
        if np.array_equal(token_ids, request.tokens.token_ids):
            return contents
    for contents, token_ids in candidates:
        if len(token_ids) < len(request.tokens):
            return contents
    raise InputTooLongError("it cannot be cut as vLLM would have to show it; shorten its text")


def list_parts(contents: Contents) -> list[dict[str, Any]]:
    """Returns contents as the parts of a message, their pixels as PNG at the size that the model sees.

    Raises:
        MediaError: A file was changed since it was read.
    """
    slots = iter(contents.media)
    return [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else _show_media(next(slots))
        for part in contents.parts
    ]


def describe_video_settings(media: Sequence[PreparedMedia]) -> dict[str, Any]:
    """Returns the settings of a request with which vLLM takes each frame as it is, at the time that the prompt says.

    Raises:
        InputError: There are several videos whose frames stand at other times: the settings are those of all.
    """
    videos = [item for item in media if item.slot.timestamps is not None]
    if not videos:
        return {}
    # The mean of a pair of frames is shown: both stand at it.
    times = {tuple(round(_TENTHS * float(f"{time:.1f}")) for time in item.slot.timestamps or ()) for item in videos}
    if len(times) > 1:
        raise InputError(
            f"{len(videos)} videos are in one item, and vLLM takes several only if their frames have the same times; "
            "give each video an item of its own"
        )
    numbers = [number for number in next(iter(times)) for _ in range(2)]
    return {
        "media_io_kwargs": {
            "video": {
                "num_frames": -1,
                "frames_indices": numbers,
                "total_num_frames": max(numbers) + 1,
                "fps": _TENTHS,
                "do_sample_frames": False,
            }
        },
        "mm_processor_kwargs": {
            "videos_kwargs": {"size": {"shortest_edge": 1, "longest_edge": _UNLIMITED_PIXELS}},
        },
    }


def _show_media(media: PreparedMedia) -> dict[str, Any]:
    frames = [encode_png(frame) for frame in media.load()]
    if media.slot.timestamps is None:
        return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{frames[0]}"}}
    # The name is vLLM's for a list of frames, whatever their format.
    return {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{','.join(frames)}"}}


def _refuse_special_tokens(contents: Contents, tokenizer: PromptTokenizer) -> None:
    for part in contents.parts:
        if not isinstance(part, TextPart):
            continue
        found = tokenizer.list_special_texts(part.text)
        if found:
            raise InputError(
                f"the text {quote(part.text)} holds {', '.join(found)}, which vLLM takes for control tokens beside an "
                "image or a video; embed the text alone, remove them, or use `qwen3vl serve`"
            )


def _count_characters(request: Request, tokenizer: PromptTokenizer, role: Role) -> int:
    return len(tokenizer.decode(request.tokens.token_ids[request.tokens.roles == role]))


def _count_text(contents: Contents) -> int:
    return sum(len(part.text) for part in contents.parts if isinstance(part, TextPart))


def _keep_characters(contents: Contents, length: int) -> Contents:
    """The contents with so many characters of their texts at most, from the first on."""
    parts: list[Any] = []
    for part in contents.parts:
        if isinstance(part, TextPart):
            kept = part.text[: max(length, 0)]
            length -= len(part.text)
            parts.append(replace(part, text=kept))
        else:
            parts.append(part)
    return Contents(tuple(parts), contents.media)


def _append_text(contents: Contents, text: str) -> Contents:
    return Contents((*contents.parts, TextPart(text)), contents.media) if text else contents
