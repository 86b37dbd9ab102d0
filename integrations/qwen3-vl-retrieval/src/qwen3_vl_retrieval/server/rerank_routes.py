"""`/v2/rerank`, `/v1/rerank` and `/rerank` as clients of Cohere, Jina and TEI have them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.judging import Ranking, arank_documents
from qwen3_vl_retrieval.server.answering import answer_request, render_json
from qwen3_vl_retrieval.server.context import ServerContext
from qwen3_vl_retrieval.server.embedding import check_count
from qwen3_vl_retrieval.server.request_errors import RequestError
from qwen3_vl_retrieval.server.request_fields import RequestFields
from qwen3_vl_retrieval.server.request_items import RequestItems, read_items

__all__ = ["build_rerank_router"]


class RerankFields(RequestFields):
    """The fields of the clients of Cohere and Jina.

    Attributes:
        query: A text, or an object with text and image.
        documents: Texts, and objects with text and image.
        top_n: How many are answered at most.
        return_documents: Whether the texts of documents are in the answer; images never are.
        instruction: What makes a document relevant. An extension.
        model: Not used: there is one reranker.
        max_tokens_per_doc: Not used: a pair is shortened only if it does not fit the model.
        max_chunks_per_doc: Not used, for the same reason.
        priority: Not used.
    """

    query: Any
    documents: list[Any]
    top_n: int | None = None
    return_documents: bool | None = None
    instruction: str | None = None
    model: str | None = None
    max_tokens_per_doc: int | None = None
    max_chunks_per_doc: int | None = None
    priority: int | None = None


class TeiRerankFields(RequestFields):
    """The fields of the clients of TEI.

    Attributes:
        query: A text.
        texts: Texts.
        raw_scores: Whether scores are log-odds.
        return_text: Whether the texts are in the answer.
        truncate: Not used: a pair is shortened if it does not fit the model.
        truncation_direction: Not used, for the same reason.
    """

    query: Any
    texts: list[Any]
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool | None = None
    truncation_direction: str | None = None


def build_rerank_router(context: ServerContext) -> APIRouter:
    """Returns the routes that order documents for a query."""
    router = APIRouter(tags=["rerank"])

    async def respond(body: dict[str, Any]) -> Response:
        context.require_reranker()
        return await (_respond_tei(context, body) if "texts" in body else _respond(context, body))

    @router.post("/v2/rerank", response_model=None)
    @router.post("/v1/rerank", response_model=None)
    @router.post("/rerank", response_model=None)
    async def rerank(request: Request) -> Response:
        """Orders documents by how well they answer a query."""
        return await answer_request(context, request, respond)

    return router


async def _read_query(reader: RequestItems, value: object) -> Item:
    """The query, a text or an object with text and image; what is wrong with it is said of the query."""
    try:
        return (await read_items([value], reader.read_document))[0]
    except InputError as error:
        raise error.at(None, role="query") from error


async def _respond(context: ServerContext, body: dict[str, Any]) -> Response:
    fields = RerankFields.read(body)
    if fields.top_n is not None and fields.top_n < 1:
        raise RequestError(400, f"top_n={fields.top_n} must be at least 1", parameter="top_n")
    ranking = await _rank(context, fields.query, fields.documents, fields.top_n, fields.instruction)
    results = [
        {"index": place.index, "relevance_score": place.score}
        | (_echo(fields.documents[place.index]) if fields.return_documents else {})
        for place in ranking.ranked
    ]
    document = {
        "id": str(uuid4()),
        "object": "list",
        "model": context.require_reranker().model_id,
        "results": results,
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
    }
    return await render_json(document)


async def _respond_tei(context: ServerContext, body: dict[str, Any]) -> Response:
    fields = TeiRerankFields.read(body)
    ranking = await _rank(context, fields.query, fields.texts, None, None)
    results = [
        {"index": place.index, "score": place.margin if fields.raw_scores else place.score}
        | ({"text": fields.texts[place.index]} if fields.return_text else {})
        for place in ranking.ranked
    ]
    return await render_json(results)


async def _rank(
    context: ServerContext, query: object, documents: list[Any], top_n: int | None, instruction: str | None
) -> Ranking:
    check_count(context, len(documents))
    reader = RequestItems(context.media)
    async with context.admission.take_turn(items=len(documents)):
        asked = await _read_query(reader, query)
        items = await read_items(documents, reader.read_document, role="document")
        ranking = await arank_documents(context.require_reranker(), asked, items, top_n=top_n, instruction=instruction)
    context.metrics.count_items("judged", len(items))
    return ranking


def _echo(document: Any) -> dict[str, Any]:
    text = document if isinstance(document, str) else document.get("text")
    return {"document": {"text": text}} if isinstance(text, str) else {}
