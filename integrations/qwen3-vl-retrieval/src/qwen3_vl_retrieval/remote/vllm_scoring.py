"""Judging with vLLM: texts as token ids, images through `/score`, videos as the messages that it cannot show."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.engine.requests.builder import Contents, Request
from qwen3_vl_retrieval.errors import InputError, InputTooLongError, RemoteError, quote
from qwen3_vl_retrieval.items import TextPart
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer
from qwen3_vl_retrieval.remote.connection import Connection
from qwen3_vl_retrieval.remote.engine import plan_batches
from qwen3_vl_retrieval.remote.vllm_prompts import (
    PairPrompt,
    build_pair_prompt,
    describe_video_settings,
    list_parts,
)

__all__ = ["VllmScoring"]

_MAX_TOKENS = 16_384
_MAX_PAIRS = 64
"""Sent together; vLLM batches what it is sent by itself."""


class VllmScoring:
    """`/score` and `/classify` of a vLLM that serves a reranker.

    Args:
        name: Name of the model on the server.
        tokenizer: The model's tokenizer.
        max_length: Tokens that the server takes of a pair.
        video_refusal: Why the server cannot be sent videos; `None` if it can.
    """

    width = 1

    def __init__(self, *, name: str, tokenizer: PromptTokenizer, max_length: int, video_refusal: str | None) -> None:
        self.name = name
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._video_refusal = video_refusal

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Returns the positions of the requests, by what is sent together: texts with texts, all others alone."""
        return plan_batches(
            requests, max_tokens=_MAX_TOKENS, max_requests=_MAX_PAIRS, separate=lambda request: bool(request.media)
        )

    async def compute(self, connection: Connection, requests: Sequence[Request]) -> npt.NDArray[np.float32]:
        """Returns the log-odds that the server computes of pairs that `plan` puts together, one row each."""
        path, body = await asyncio.to_thread(self._build_request, requests)
        answer = await connection.post(path, {"model": self.name, "use_activation": False, **body})
        return self._read(answer, requests, connection)

    def build_conversation(self, request: Request) -> dict[str, Any]:
        """Returns the fields of `/classify` and `/tokenize` that show a pair as messages."""
        prompt = build_pair_prompt(request, self._tokenizer)
        return {
            "messages": [
                {"role": "query", "content": list_parts(prompt.query)},
                {"role": "document", "content": list_parts(prompt.document)},
            ],
            "chat_template_kwargs": {"instruction": request.instruction},
            **describe_video_settings(request.media),
        }

    def build_pair(self, request: Request, prompt: PairPrompt) -> dict[str, Any]:
        """Returns the fields of `/score` that show a pair."""
        return {
            "queries": {"content": list_parts(prompt.query)},
            "documents": [{"content": list_parts(prompt.document)}],
            "instruction": request.instruction,
        }

    def _build_request(self, requests: Sequence[Request]) -> tuple[str, dict[str, Any]]:
        for request in requests:
            if len(request) > self._max_length:
                raise InputTooLongError(
                    f"{len(request)} tokens, and the server takes {self._max_length}; pass max_length="
                    f"{self._max_length - 5} to have pairs shortened, or start vLLM with a larger --max-model-len"
                )
        first = requests[0]
        if not first.media:
            return "/classify", {"input": [request.tokens.token_ids.tolist() for request in requests]}
        if any(media.slot.timestamps is not None for media in first.media):
            if self._video_refusal is not None:
                raise InputError(self._video_refusal)
            return "/classify", self.build_conversation(first)
        prompt = build_pair_prompt(first, self._tokenizer)
        if _is_media_first(prompt.query) and _is_media_first(prompt.document):
            return "/score", self.build_pair(first, prompt)
        return "/classify", self.build_conversation(first)

    def _read(self, answer: Any, requests: Sequence[Request], connection: Connection) -> npt.NDArray[np.float32]:
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            margins = [float(row["score"]) if "score" in row else _read_single(row["probs"]) for row in rows]
            token_count = int(answer["usage"]["prompt_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise RemoteError(f"{connection.base_url} answers with no scores: {quote(answer)}") from error
        if len(margins) != len(requests):
            raise RemoteError(f"{connection.base_url} answers with {len(margins)} scores for {len(requests)} pairs")
        expected = sum(len(request) for request in requests)
        if token_count != expected:
            raise RemoteError(
                f"{connection.base_url} made {token_count} tokens of prompts of {expected}: its settings are not those "
                "of the self-test any more; connect again with verify=True to learn which"
            )
        return np.array(margins, dtype=np.float32)[:, None]


def _is_media_first(contents: Contents) -> bool:
    """Whether `/score` shows contents in their order: it puts images before the text, and newlines between texts."""
    texts = [place for place, part in enumerate(contents.parts) if isinstance(part, TextPart)]
    return len(texts) <= 1 and (not texts or texts[0] == len(contents.parts) - 1)


def _read_single(values: Sequence[float]) -> float:
    if len(values) != 1:
        raise ValueError(f"{len(values)} classes; one was expected")
    return float(values[0])
