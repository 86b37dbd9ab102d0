"""The server as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from qwen3_vl_retrieval.embedder import Qwen3VLEmbedder
from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.protocols import Embedder, Reranker
from qwen3_vl_retrieval.reranker import Qwen3VLReranker
from qwen3_vl_retrieval.server.admission import Admission
from qwen3_vl_retrieval.server.authorization import ApiKeys, AuthorizationMiddleware
from qwen3_vl_retrieval.server.cohere_routes import build_cohere_router
from qwen3_vl_retrieval.server.context import ServerContext, Tokenize
from qwen3_vl_retrieval.server.engine_routes import build_engine_router
from qwen3_vl_retrieval.server.health_routes import build_health_router
from qwen3_vl_retrieval.server.limits import ServerLimits
from qwen3_vl_retrieval.server.media_of_requests import MediaOfRequests
from qwen3_vl_retrieval.server.metrics import MetricsMiddleware, ReadStatistics, ServerMetrics
from qwen3_vl_retrieval.server.openai_routes import build_openai_router
from qwen3_vl_retrieval.server.page_routes import PAGE_PATHS, build_page_router
from qwen3_vl_retrieval.server.request_errors import RequestError, build_error_response
from qwen3_vl_retrieval.server.rerank_routes import build_rerank_router
from qwen3_vl_retrieval.server.search_routes import build_search_router
from qwen3_vl_retrieval.server.vllm_routes import build_vllm_router

__all__ = ["create_app"]

_OPEN_PATHS = frozenset({"/health", "/ready"}) | PAGE_PATHS
"""Paths that need no API key."""


def create_app(
    *,
    embedder: Embedder | None,
    reranker: Reranker | None,
    index: MultimodalIndex | None = None,
    api_keys: Iterable[str] = (),
    limits: ServerLimits | None = None,
    media_policy: MediaPolicy | None = None,
    tokenize: Tokenize | None = None,
    statistics: Mapping[str, ReadStatistics] | None = None,
) -> FastAPI:
    """Returns the server: the routes of OpenAI, Cohere, Jina, TEI and vLLM over one embedder and one reranker.

    Callers share forward passes. Routes that need a model which is not there answer 404.

    Args:
        embedder: Makes the vectors; `None` if there are to be none.
        reranker: Judges documents; `None` if nobody is to.
        index: What is searched; `None` if nothing is. It has models of its own.
        api_keys: Keys of which each request must bring one; by default everybody may ask.
        limits: How much is done for one request, and for all; `None` is the default of each.
        media_policy: What may be opened for a client, and how large it may be; by default nothing but what the request
            itself holds.
        tokenize: Says of which tokens prompts consist, for `/tokenize` and `max_tokens` of the limits.
        statistics: What models in this process have computed, by role, for `/metrics`.

    Raises:
        ValueError: A key is blank.
    """
    chosen = ServerLimits() if limits is None else limits
    admission = Admission(chosen)
    metrics = ServerMetrics(admission, {} if statistics is None else statistics)
    context = ServerContext(
        embedder=embedder,
        reranker=reranker,
        index=index,
        limits=chosen,
        admission=admission,
        media=MediaOfRequests(MediaPolicy(allow_dirs=()) if media_policy is None else media_policy, chosen),
        metrics=metrics,
        tokenize=tokenize,
    )

    @asynccontextmanager
    async def close_at_the_end(_: FastAPI) -> AsyncGenerator[None, None]:
        yield
        admission.close()

    # The pages of documentation would load scripts from elsewhere.
    app = FastAPI(title="Qwen3-VL retrieval", docs_url=None, redoc_url=None, lifespan=close_at_the_end)
    for build_router in (
        build_health_router,
        build_openai_router,
        build_cohere_router,
        build_rerank_router,
        build_vllm_router,
    ):
        app.include_router(build_router(context))
    if index is not None:
        app.include_router(build_search_router(context, index))
        app.include_router(build_page_router())
    # Prompts that were prepared elsewhere are computed by the models of this package alone.
    own_embedder = embedder if isinstance(embedder, Qwen3VLEmbedder) else None
    own_reranker = reranker if isinstance(reranker, Qwen3VLReranker) else None
    app.include_router(build_engine_router(context, embedder=own_embedder, reranker=own_reranker))
    _add_error_handlers(app)
    # The last one added is the first to see a request.
    app.add_middleware(AuthorizationMiddleware, keys=ApiKeys(api_keys), open_paths=_OPEN_PATHS)
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    return app


def _add_error_handlers(app: FastAPI) -> None:
    """Answers every error in the shape of its route; what nobody expected is for the log alone."""

    @app.exception_handler(RequestError)
    async def answer_refused(request: Request, error: RequestError) -> JSONResponse:
        return build_error_response(request.url.path, error)

    @app.exception_handler(InputError)
    async def answer_bad_item(request: Request, error: InputError) -> JSONResponse:
        return build_error_response(request.url.path, RequestError(400, str(error)))

    @app.exception_handler(HTTPException)
    async def answer_unknown(request: Request, error: HTTPException) -> JSONResponse:
        method, path = request.method, request.url.path
        message = {
            404: f"there is no {quote(path)} here; GET /openapi.json lists what there is",
            405: f"{quote(path)} does not take {quote(method)}",
        }.get(error.status_code, str(error.detail))
        response = build_error_response(path, RequestError(error.status_code, message, closes_connection=True))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def answer_failure(request: Request, _: Exception) -> JSONResponse:
        message = "something went wrong in the server, and its log says what; the request may be sent again"
        return build_error_response(request.url.path, RequestError(500, message, closes_connection=True))
