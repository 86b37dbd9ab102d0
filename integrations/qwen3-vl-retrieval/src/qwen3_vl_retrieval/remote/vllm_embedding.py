"""Embedding with vLLM: texts as token ids, images and videos as the messages whose prompt is the official one."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.engine.requests.builder import Request
from qwen3_vl_retrieval.errors import InputError, InputTooLongError, RemoteError, quote
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer
from qwen3_vl_retrieval.remote.connection import Connection
from qwen3_vl_retrieval.remote.engine import plan_batches
from qwen3_vl_retrieval.remote.vllm_prompts import build_item_prompt, describe_video_settings, list_parts

__all__ = ["VllmEmbedding"]

_MAX_TEXT_TOKENS = 16_384
_MAX_TEXTS = 64
_MAX_MEDIA_TOKENS = 8_192
"""Tokens sent together: vLLM batches what it is sent by itself, and a failed request is cheap to send again."""


class VllmEmbedding:
    """`/v1/embeddings` of a vLLM that serves an embedding model.

    Args:
        name: Name of the model on the server.
        width: Length of the model's states.
        tokenizer: The model's tokenizer.
        max_length: Tokens that the server takes of an item.
        video_refusal: Why the server cannot be sent videos; `None` if it can.
    """

    def __init__(
        self, *, name: str, width: int, tokenizer: PromptTokenizer, max_length: int, video_refusal: str | None
    ) -> None:
        self.width = width
        self.name = name
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._video_refusal = video_refusal

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Returns the positions of the requests, by what is sent together: texts with texts, videos alone."""
        with_media = [place for place, request in enumerate(requests) if request.media]
        texts = [place for place, request in enumerate(requests) if not request.media]
        planned: list[list[int]] = []
        for places, max_tokens in ((with_media, _MAX_MEDIA_TOKENS), (texts, _MAX_TEXT_TOKENS)):
            batches = plan_batches(
                [requests[place] for place in places],
                max_tokens=max_tokens,
                max_requests=_MAX_TEXTS,
                separate=_has_video,
            )
            planned += [[places[at] for at in batch] for batch in batches]
        return planned

    async def compute(self, connection: Connection, requests: Sequence[Request]) -> npt.NDArray[np.float32]:
        """Returns the states that the server computes of requests that `plan` puts together, one row each."""
        body = await asyncio.to_thread(self._build_body, requests)
        answer = await connection.post("/v1/embeddings", body)
        return self._read(answer, requests, connection)

    def build_conversations(self, requests: Sequence[Request]) -> dict[str, Any]:
        """Returns the fields of `/v1/embeddings` and `/tokenize` that show items with images or videos.

        Raises:
            InputError: An item cannot be shown to the server.
        """
        prompts = [build_item_prompt(request, self._tokenizer) for request in requests]
        # Prompts without an end are sent alone: the setting is that of all.
        is_open = any(prompt.is_open for prompt in prompts)
        if is_open and len(prompts) > 1:
            raise InputError("an item that was cut is sent alone")
        conversations = [
            [
                {"role": "system", "content": request.instruction},
                {"role": "user", "content": list_parts(prompt.contents)},
            ]
            for request, prompt in zip(requests, prompts, strict=True)
        ]
        return {
            "messages": conversations[0] if len(conversations) == 1 else conversations,
            "add_generation_prompt": not is_open,
            "continue_final_message": is_open,
            # The tokenizer of the checkpoint ends each prompt with the token whose state is the vector.
            "add_special_tokens": True,
            **describe_video_settings(requests[0].media),
        }

    def _build_body(self, requests: Sequence[Request]) -> dict[str, Any]:
        for request in requests:
            if len(request) > self._max_length:
                raise InputTooLongError(
                    f"{len(request)} tokens, and the server takes {self._max_length}; pass "
                    f"max_length={self._max_length} to have items shortened, or start vLLM with a larger "
                    "--max-model-len"
                )
            if self._video_refusal is not None and _has_video(request):
                raise InputError(self._video_refusal)
        shown = (
            self.build_conversations(requests)
            if requests[0].media
            else {"input": [request.tokens.token_ids.tolist() for request in requests]}
        )
        # The state itself: it is cut and scaled here, as in process.
        return {"model": self.name, "encoding_format": "base64", "use_activation": False, **shown}

    def _read(self, answer: Any, requests: Sequence[Request], connection: Connection) -> npt.NDArray[np.float32]:
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            states = [np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f4") for row in rows]
            token_count = int(answer["usage"]["prompt_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise RemoteError(f"{connection.base_url} answers with no embeddings: {quote(answer)}") from error
        if [len(state) for state in states] != [self.width] * len(requests):
            raise RemoteError(
                f"{connection.base_url} answers with {len(states)} vectors of {len(states[0]) if states else 0} "
                f"numbers, and {len(requests)} of {self.width} were expected; see whether it serves this model"
            )
        expected = sum(len(request) for request in requests)
        if token_count != expected:
            raise RemoteError(
                f"{connection.base_url} made {token_count} tokens of a prompt of {expected}: its settings are not "
                "those of the self-test any more; connect again with verify=True to learn which"
            )
        return np.stack(states)


def _has_video(request: Request) -> bool:
    return any(media.slot.timestamps is not None for media in request.media)
