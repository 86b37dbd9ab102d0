"""`/v2/embed` and `/v1/embed` as clients of Cohere have them, and `/embed` as those of TEI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response

from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.options import InputType, Precision
from qwen3_vl_retrieval.outputs.vectors import quantize_embeddings
from qwen3_vl_retrieval.protocols import CountedVectors
from qwen3_vl_retrieval.server.answering import answer_request, render_numbers
from qwen3_vl_retrieval.server.context import ServerContext
from qwen3_vl_retrieval.server.embedding import embed_values, encode_base64
from qwen3_vl_retrieval.server.request_errors import RequestError
from qwen3_vl_retrieval.server.request_fields import RequestFields, list_values
from qwen3_vl_retrieval.server.request_items import RequestItems

__all__ = ["build_cohere_router"]

_PRECISIONS: dict[str, Precision] = {
    "float": "float32",
    "base64": "float32",
    "int8": "int8",
    "uint8": "uint8",
    "binary": "binary",
    "ubinary": "ubinary",
}


class EmbedFields(RequestFields):
    """The fields of `/v2/embed` and `/v1/embed`.

    Attributes:
        texts: Texts.
        images: Images as `data:` URIs.
        inputs: Objects with `content`, a list of parts; only in version 2.
        input_type: `search_query` makes vectors that find others; all else makes vectors that are to be found.
        embedding_types: Number formats.
        output_dimension: Length of a vector.
        truncate: Which end of a long text is cut; the server cuts the end.
        instruction: What the items are to be represented for. An extension.
        model: Not used: there is one embedder.
        priority: Not used.
    """

    texts: list[Any] | None = None
    images: list[Any] | None = None
    inputs: list[Any] | None = None
    input_type: Literal["search_query", "search_document", "classification", "clustering", "image"] | None = None
    embedding_types: list[Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]] | None = None
    output_dimension: int | None = None
    truncate: Literal["END", "NONE", "START"] | None = None
    instruction: str | None = None
    model: str | None = None
    priority: int | None = None


class TeiFields(RequestFields):
    """The fields of `/embed`.

    Attributes:
        inputs: A text or a list of texts.
        truncate: Whether long texts are cut; the server cuts them.
        dimensions: Length of a vector.
        normalize: Whether vectors have unit length; they have.
        prompt_name: `query` makes vectors that find others.
    """

    inputs: Any
    truncate: bool = True
    dimensions: int | None = None
    normalize: bool = True
    prompt_name: Literal["query", "document"] | None = None


def build_cohere_router(context: ServerContext) -> APIRouter:
    """Returns the routes that embed for clients of Cohere and of TEI."""
    router = APIRouter(tags=["cohere"])

    async def respond(body: dict[str, Any], *, version: str) -> Response:
        fields = EmbedFields.read(body)
        _check_truncate(is_end=fields.truncate in (None, "END"))
        types = ["float"] if fields.embedding_types is None else list(dict.fromkeys(fields.embedding_types))
        counted = await embed_values(
            context,
            *_choose_values(context, fields),
            input_type=_name_input_type(fields.input_type),
            instruction=fields.instruction,
            dimensions=fields.output_dimension,
            precisions=[_PRECISIONS[name] for name in types],
        )
        # Version 1 answers with plain vectors unless formats were asked for.
        is_plain = version == "1" and fields.embedding_types is None

        def build() -> dict[str, Any]:
            by_type = {name: _encode(counted, name) for name in types}
            return {
                "id": str(uuid4()),
                "response_type": "embeddings_floats" if is_plain else "embeddings_by_type",
                "embeddings": by_type["float"] if is_plain else by_type,
                "texts": [] if fields.texts is None else fields.texts,
                "meta": _describe(counted, version=version, images=0 if fields.images is None else len(fields.images)),
            }

        return await render_numbers(build, count=len(types) * counted.vectors.size)

    @router.post("/v2/embed", response_model=None)
    async def embed_v2(request: Request) -> Response:
        """Embeds texts, images, and mixtures of them."""
        return await answer_request(context, request, lambda body: respond(body, version="2"))

    @router.post("/v1/embed", response_model=None)
    async def embed_v1(request: Request) -> Response:
        """Embeds texts or images."""
        return await answer_request(context, request, lambda body: respond(body, version="1"))

    @router.post("/embed", response_model=None)
    async def embed_tei(request: Request) -> Response:
        """Embeds texts."""

        async def respond_tei(body: dict[str, Any]) -> Response:
            fields = TeiFields.read(body)
            _check_truncate(is_end=fields.truncate)
            if not fields.normalize:
                raise RequestError(400, "normalize=false is not available; vectors have unit length")
            counted = await embed_values(
                context,
                list_values(fields.inputs),
                RequestItems(context.media).read_text,
                input_type="query" if fields.prompt_name == "query" else "document",
                dimensions=fields.dimensions,
            )
            return await render_numbers(counted.vectors.tolist, count=counted.vectors.size)

        return await answer_request(context, request, respond_tei)

    return router


def _check_truncate(*, is_end: bool) -> None:
    if not is_end:
        raise RequestError(
            400,
            "this server shortens long texts at their end, or refuses them, as whoever runs it has chosen; leave "
            "truncate out",
            parameter="truncate",
        )


def _name_input_type(name: str | None) -> InputType:
    return "query" if name == "search_query" else "document"


def _choose_values(context: ServerContext, fields: EmbedFields) -> tuple[list[Any], Callable[[object], Item]]:
    reader = RequestItems(context.media)
    given = [
        (values, read)
        for values, read in (
            (fields.texts, reader.read_text),
            (fields.images, reader.read_image),
            (fields.inputs, reader.read_input),
        )
        if values is not None
    ]
    if len(given) != 1:
        raise RequestError(400, "send one of texts, images and inputs")
    return given[0]


def _encode(counted: CountedVectors, name: str) -> list[Any]:
    if name == "base64":
        return encode_base64(counted.vectors)
    return quantize_embeddings(counted.vectors, _PRECISIONS[name]).tolist()


def _describe(counted: CountedVectors, *, version: str, images: int) -> dict[str, Any]:
    units: dict[str, int] = {"images": images} if images else {}
    if counted.token_counts is not None:
        units["input_tokens"] = sum(counted.token_counts)
    return {"api_version": {"version": version}, "billed_units": units}
