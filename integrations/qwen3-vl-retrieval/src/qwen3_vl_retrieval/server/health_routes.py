"""`/health`, `/ready`, `/version` and `/metrics`: for those who run the server."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from qwen3_vl_retrieval.server.context import ServerContext

__all__ = ["build_health_router"]


def build_health_router(context: ServerContext) -> APIRouter:
    """Returns the routes about the server itself."""
    router = APIRouter(tags=["server"])

    @router.get("/health")
    async def check_health() -> dict[str, str]:
        """Says that the process answers."""
        return {"status": "ok"}

    @router.get("/ready")
    async def check_readiness() -> JSONResponse:
        """Says whether another request would be let in; 503 if not."""
        is_ready = context.admission.is_accepting
        return JSONResponse({"status": "ready" if is_ready else "busy"}, status_code=200 if is_ready else 503)

    @router.get("/version")
    async def show_version() -> dict[str, object]:
        """Names the package and the models: vectors of equal fingerprints may be compared."""
        embedder, reranker = context.embedder, context.reranker
        return {
            "version": version("qwen3-vl-retrieval"),
            "embedder": None if embedder is None else embedder.fingerprint.to_dict(),
            "reranker": None if reranker is None else reranker.model_id,
        }

    @router.get("/metrics")
    async def show_metrics() -> Response:
        """Returns the counters in the text format of Prometheus."""
        return Response(context.metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router
