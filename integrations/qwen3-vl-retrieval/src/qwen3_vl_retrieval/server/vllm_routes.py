"""`/score` and `/tokenize` as vLLM has them."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.options import ScoreOutput
from qwen3_vl_retrieval.server.answering import answer_request, render_json
from qwen3_vl_retrieval.server.context import ServerContext
from qwen3_vl_retrieval.server.embedding import check_count
from qwen3_vl_retrieval.server.openai_routes import EmbeddingsFields, choose_values
from qwen3_vl_retrieval.server.request_errors import RequestError
from qwen3_vl_retrieval.server.request_fields import RequestFields, list_values
from qwen3_vl_retrieval.server.request_items import RequestItems, read_items

__all__ = ["build_vllm_router"]


class ScoreFields(RequestFields):
    """The fields of `/score`: one query and documents, or as many queries as documents.

    Attributes:
        queries: A query or a list of them; also called `text_1` and `data_1`.
        documents: A document or a list of them; also called `items`, `text_2` and `data_2`.
        instruction: What makes a document relevant.
        use_activation: Whether scores are probabilities, and not log-odds.
        model: Not used: there is one reranker.
        user: Not used.
        priority: Not used.
        request_id: Not used.
    """

    queries: Any = None
    text_1: Any = None
    data_1: Any = None
    documents: Any = None
    items: Any = None
    text_2: Any = None
    data_2: Any = None
    instruction: str | None = None
    use_activation: bool | None = None
    model: str | None = None
    user: str | None = None
    priority: int | None = None
    request_id: str | None = None


class TokenizeFields(RequestFields):
    """The fields of `/tokenize`: an item as it would be embedded.

    Attributes:
        prompt: A text.
        messages: A conversation instead.
        input_type: Which instruction the prompt has.
        instruction: What the item is to be represented for.
        add_special_tokens: What an embedder's prompt always has.
        add_generation_prompt: The same.
        model: Not used: there is one embedder.
    """

    prompt: Any = None
    messages: Any = None
    input_type: Literal["document", "query"] = "document"
    instruction: str | None = None
    add_special_tokens: Literal[True] | None = None
    add_generation_prompt: Literal[True] | None = None
    model: str | None = None


def build_vllm_router(context: ServerContext) -> APIRouter:
    """Returns the routes of clients of vLLM."""
    router = APIRouter(tags=["vllm"])

    @router.post("/v1/score", response_model=None)
    @router.post("/score", response_model=None)
    async def score(request: Request) -> Response:
        """Judges documents for a query, in the order in which they were sent."""
        return await answer_request(context, request, lambda body: _respond_score(context, body))

    @router.post("/tokenize", response_model=None)
    async def tokenize(request: Request) -> Response:
        """Says of which tokens the prompt of an item consists, the template and images included."""
        return await answer_request(context, request, lambda body: _respond_tokenize(context, body))

    return router


async def _respond_score(context: ServerContext, body: dict[str, Any]) -> Response:
    model = context.require_reranker().model_id
    fields = ScoreFields.read(body)
    queries = _choose(queries=fields.queries, text_1=fields.text_1, data_1=fields.data_1)
    documents = _choose(documents=fields.documents, items=fields.items, text_2=fields.text_2, data_2=fields.data_2)
    if len(queries) not in (1, len(documents)):
        raise RequestError(
            400,
            f"got {len(queries)} queries and {len(documents)} documents; send one query, or as many as documents",
        )
    check_count(context, len(documents))
    reader = RequestItems(context.media)
    output: ScoreOutput = "margin" if fields.use_activation is False else "probability"
    async with context.admission.take_turn(items=len(documents)):
        asked = await read_items(queries, reader.read_document, role="query")
        items = await read_items(documents, reader.read_document, role="document")
        scores = await _score(context, asked, items, fields.instruction, output)
    context.metrics.count_items("judged", len(items))
    document = {
        "id": f"score-{uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": model,
        "data": [{"index": index, "object": "score", "score": score} for index, score in enumerate(scores)],
    }
    return await render_json(document)


async def _score(
    context: ServerContext, queries: list[Item], items: list[Item], instruction: str | None, output: ScoreOutput
) -> list[float]:
    reranker = context.require_reranker()
    if len(queries) == 1:
        return (await reranker.ascore(queries[0], items, instruction=instruction, output=output)).tolist()

    async def score_pair(position: int) -> float:
        try:
            found = await reranker.ascore(queries[position], [items[position]], instruction=instruction, output=output)
        except InputError as error:
            raise error.at(position, role=error.role) from error
        return float(found[0])

    return await asyncio.gather(*map(score_pair, range(len(items))))


async def _respond_tokenize(context: ServerContext, body: dict[str, Any]) -> Response:
    embedder = context.require_embedder()
    if context.tokenize is None:
        raise RequestError(404, "this server cannot tokenize: its embedder does not say how")
    given = TokenizeFields.read(body)
    values, read = choose_values(context, EmbeddingsFields(input=given.prompt, messages=given.messages))
    if len(values) != 1:
        raise RequestError(400, f"got {len(values)} items; send one prompt, or one conversation in messages")
    async with context.admission.take_turn(items=1):
        items = await read_items(values, read)
        (tokens,) = await asyncio.to_thread(
            context.tokenize, items, input_type=given.input_type, instruction=given.instruction
        )
    document = {"count": len(tokens), "max_model_len": embedder.fingerprint.max_length, "tokens": tokens}
    return await render_json(document)


def _choose(**given: Any) -> list[Any]:
    """The one of several names that was used, as a list."""
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        raise RequestError(400, f"send one of {', '.join(given)}")
    (value,) = named.values()
    return list_values(value)
