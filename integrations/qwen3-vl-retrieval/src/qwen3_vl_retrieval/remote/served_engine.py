"""The server of this package as an engine: it is sent prompts and pixels as they enter the model."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.engine.requests.builder import PromptPrefix, Request
from qwen3_vl_retrieval.engine.requests.media_reader import PreparedMedia
from qwen3_vl_retrieval.errors import InputError, RemoteError, quote
from qwen3_vl_retrieval.media.budgets import TOKEN_SIDE_PIXELS
from qwen3_vl_retrieval.prompting.prompts import MediaSlot, Role, VisualRun
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer, TokenSequence
from qwen3_vl_retrieval.remote.connection import Connection
from qwen3_vl_retrieval.remote.engine import plan_batches
from qwen3_vl_retrieval.remote.png import decode_png, encode_png

__all__ = ["ServedEngine", "ServedRole", "read_request", "write_request"]

ServedRole: TypeAlias = Literal["embedder", "reranker"]

_MAX_TOKENS = 16_384
_MAX_REQUESTS = 64


class ServedEngine:
    """`/v1/engine` of `qwen3vl serve`.

    Args:
        role: Which of the server's models computes.
        width: Numbers that it computes of each request.
    """

    def __init__(self, *, role: ServedRole, width: int) -> None:
        self.width = width
        self._path = f"/v1/engine/{role}"

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Returns the positions of the requests, by what is sent together."""
        return plan_batches(
            requests,
            max_tokens=_MAX_TOKENS,
            max_requests=_MAX_REQUESTS,
            separate=lambda request: len(request.media) > 8,
        )

    async def compute(self, connection: Connection, requests: Sequence[Request]) -> npt.NDArray[np.float32]:
        """Returns what the server computes of requests that `plan` puts together, one row each."""
        written = await asyncio.to_thread(lambda: [write_request(request) for request in requests])
        answer = await connection.post(self._path, {"requests": written})
        try:
            rows = np.frombuffer(base64.b64decode(answer["rows"]), dtype="<f4")
            return rows.reshape(len(requests), self.width)
        except (KeyError, TypeError, ValueError) as error:
            raise RemoteError(f"{connection.base_url} answers with no rows: {quote(answer)}") from error


def write_request(request: Request) -> dict[str, Any]:
    """Returns a request as JSON, its pixels as PNG.

    Raises:
        MediaError: A file was changed since it was read.
    """
    prefix = request.prefix
    return {
        "token_ids": base64.b64encode(request.tokens.token_ids.astype("<i4").tobytes()).decode("ascii"),
        "prefix": None if prefix is None else [prefix.length, prefix.media_count, prefix.is_lasting],
        "media": [
            {"timestamps": media.slot.timestamps, "frames": [encode_png(frame) for frame in media.load()]}
            for media in request.media
        ],
    }


def read_request(
    written: Mapping[str, Any], tokenizer: PromptTokenizer, *, max_length: int, max_pixels: int
) -> Request:
    """Returns the request that `write_request` wrote.

    Args:
        written: The JSON.
        tokenizer: The tokenizer of the model that is to compute it.
        max_length: Tokens of it at most.
        max_pixels: Pixels of one of its frames at most.

    Raises:
        InputError: It is no request that the model could compute.
    """
    try:
        token_ids = np.frombuffer(base64.b64decode(written["token_ids"], validate=True), dtype="<i4").astype(np.int32)
        given = written["prefix"]
        prefix = None if given is None else PromptPrefix(int(given[0]), int(given[1]), is_lasting=bool(given[2]))
        shown = [_read_media(media, max_pixels) for media in written["media"]]
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"it is no request of an engine: {quote(written)}") from error
    if not 1 <= len(token_ids) <= max_length + 5:
        raise InputError(f"{len(token_ids)} tokens, allowed are 1 to {max_length}")
    visuals = tuple(
        VisualRun(media.slot.height, media.slot.width, is_video=media.slot.timestamps is not None)
        for media in shown
        for _ in range(media.pair_count)
    )
    is_visual = _check_visuals(token_ids, visuals, tokenizer)
    if prefix is not None and not (0 <= prefix.length < len(token_ids) and 0 <= prefix.media_count <= len(shown)):
        raise InputError(f"a prefix of {prefix.length} tokens and {prefix.media_count} images is none of this request")
    roles = np.where(is_visual, Role.VISUAL, Role.TEMPLATE).astype(np.uint8)
    return Request(TokenSequence(token_ids, roles, visuals), tuple(shown), prefix=prefix)


def _read_media(written: Mapping[str, Any], max_pixels: int) -> PreparedMedia:
    frames = [decode_png(frame, max_pixels=max_pixels) for frame in cast("list[str]", written["frames"])]
    pixels = np.stack(frames)
    stated = written["timestamps"]
    timestamps = None if stated is None else tuple(float(time) for time in stated)
    expected = 1 if timestamps is None else 2 * len(timestamps)
    if len(pixels) != expected or expected == 0:
        raise InputError(f"{len(pixels)} frames were sent for {expected}")
    _, height, width, _ = pixels.shape
    if height % TOKEN_SIDE_PIXELS or width % TOKEN_SIDE_PIXELS:
        raise InputError(f"{width}×{height} pixels; both must be multiples of {TOKEN_SIDE_PIXELS}")
    return PreparedMedia.from_pixels(
        MediaSlot(height // TOKEN_SIDE_PIXELS, width // TOKEN_SIDE_PIXELS, timestamps), pixels
    )


def _check_visuals(
    token_ids: npt.NDArray[np.int32], visuals: tuple[VisualRun, ...], tokenizer: PromptTokenizer
) -> npt.NDArray[np.bool_]:
    """Which tokens are placeholders; they must be those of the images and pairs of frames, one run each."""
    if token_ids.min() < 0 or token_ids.max() >= tokenizer.vocabulary_size:
        raise InputError(f"a token id is outside the vocabulary of {tokenizer.vocabulary_size}")
    image_id, video_id = tokenizer.placeholder_ids
    is_visual = (token_ids == image_id) | (token_ids == video_id)
    starts = np.flatnonzero(is_visual & ~np.concatenate(([False], is_visual[:-1])))
    ends = np.flatnonzero(is_visual & ~np.concatenate((is_visual[1:], [False]))) + 1
    found = [(int(end - start), int(token_ids[start]) == video_id) for start, end in zip(starts, ends, strict=True)]
    if found != [(visual.height * visual.width, visual.is_video) for visual in visuals]:
        raise InputError(f"the prompt has places for {len(found)} images and frames that are not those that were sent")
    return is_visual
