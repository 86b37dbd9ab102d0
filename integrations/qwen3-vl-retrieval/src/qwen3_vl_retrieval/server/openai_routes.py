"""`/v1/embeddings` and `/v1/models` as clients of OpenAI have them; images come in `messages`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response

from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.server.answering import answer_request, render_numbers
from qwen3_vl_retrieval.server.context import ServerContext
from qwen3_vl_retrieval.server.embedding import embed_values, encode_base64
from qwen3_vl_retrieval.server.request_errors import RequestError
from qwen3_vl_retrieval.server.request_fields import RequestFields, list_values
from qwen3_vl_retrieval.server.request_items import RequestItems

__all__ = ["EmbeddingsFields", "build_openai_router", "choose_values"]


class EmbeddingsFields(RequestFields):
    """The fields of `/v1/embeddings`.

    Attributes:
        input: A text or a list of texts.
        messages: A conversation or a list of conversations instead.
        encoding_format: How vectors are written: numbers, or base64 of float32.
        dimensions: Length of a vector.
        input_type: Whether the vectors are to be found, or find others. An extension.
        instruction: What the items are to be represented for. An extension.
        model: Not used: there is one embedder, and the answer names it.
        user: Not used.
    """

    input: Any = None
    messages: Any = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    input_type: Literal["document", "query"] = "document"
    instruction: str | None = None
    model: str | None = None
    user: str | None = None


def build_openai_router(context: ServerContext) -> APIRouter:
    """Returns the routes of clients of OpenAI."""
    router = APIRouter(tags=["openai"])
    started = int(time.time())

    @router.post("/v1/embeddings", response_model=None)
    async def create_embeddings(request: Request) -> Response:
        """Embeds texts, or conversations with images."""

        async def respond(body: dict[str, Any]) -> Response:
            fields = EmbeddingsFields.read(body)
            embedder = context.require_embedder()
            counted = await embed_values(
                context,
                *choose_values(context, fields),
                input_type=fields.input_type,
                instruction=fields.instruction,
                dimensions=fields.dimensions,
            )
            is_base64 = fields.encoding_format == "base64"

            def build() -> dict[str, Any]:
                vectors: list[Any] = encode_base64(counted.vectors) if is_base64 else counted.vectors.tolist()
                rows = [
                    {"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)
                ]
                document: dict[str, Any] = {"object": "list", "data": rows, "model": embedder.fingerprint.model}
                # An embedder that cannot say how many tokens it read is not given a number.
                if counted.token_counts is not None:
                    total = sum(counted.token_counts)
                    document["usage"] = {"prompt_tokens": total, "total_tokens": total}
                return document

            return await render_numbers(build, count=counted.vectors.size)

        return await answer_request(context, request, respond)

    def list_models() -> list[dict[str, Any]]:
        names = [] if context.embedder is None else [context.embedder.fingerprint.model]
        names += [] if context.reranker is None else [context.reranker.model_id]
        return [
            {"id": name, "object": "model", "created": started, "owned_by": "qwen3-vl-retrieval"}
            for name in dict.fromkeys(names)
        ]

    @router.get("/v1/models")
    async def show_models() -> dict[str, Any]:
        """Lists the models."""
        return {"object": "list", "data": list_models()}

    @router.get("/v1/models/{name:path}")
    async def show_model(name: str) -> dict[str, Any]:
        """Shows one model."""
        for model in list_models():
            if model["id"] == name:
                return model
        raise RequestError(404, f"there is no model {quote(name)} here; GET /v1/models lists what there is")

    return router


def choose_values(context: ServerContext, fields: EmbeddingsFields) -> tuple[list[Any], Callable[[object], Item]]:
    """Returns the values of `input` or `messages`, and what makes items of them.

    Raises:
        RequestError: There are none, or both.
    """
    if (fields.input is None) == (fields.messages is None):
        raise RequestError(400, "send either input (a string or a list of strings) or messages", parameter="input")
    reader = RequestItems(context.media)
    if fields.messages is None:
        return list_values(fields.input), reader.read_text
    # A list of messages is one conversation, a list of lists of them several.
    given = list_values(fields.messages)
    conversations = given if given and all(isinstance(one, list) for one in given) else [fields.messages]
    return conversations, reader.read_conversation
