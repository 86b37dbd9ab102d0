"""`/v1/engine`: prompts and pixels that `remote.RemoteEmbedder` and its like have prepared, computed here."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Request
from fastapi.responses import Response

from qwen3_vl_retrieval._model import ModelInProcess
from qwen3_vl_retrieval.embedder import Qwen3VLEmbedder
from qwen3_vl_retrieval.engine.requests.builder import Request as EngineRequest
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.prompting.prompts import PROMPT_VERSION
from qwen3_vl_retrieval.remote.served_engine import ServedRole, read_request
from qwen3_vl_retrieval.reranker import Qwen3VLReranker
from qwen3_vl_retrieval.server.answering import answer_request, render_json, render_numbers
from qwen3_vl_retrieval.server.context import ServerContext
from qwen3_vl_retrieval.server.embedding import check_count
from qwen3_vl_retrieval.server.request_errors import RequestError
from qwen3_vl_retrieval.server.request_fields import RequestFields

__all__ = ["build_engine_router"]


class EngineFields(RequestFields):
    """The fields of `/v1/engine/embedder` and `/v1/engine/reranker`.

    Attributes:
        requests: What `remote.served_engine.write_request` wrote.
    """

    requests: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """A model, and what it makes of requests.

    Attributes:
        model: The model.
        revision: Commit, or hash of its weights.
        compute: Returns one row per request.
    """

    model: ModelInProcess
    revision: str
    compute: Callable[[Sequence[EngineRequest]], Awaitable[npt.NDArray[np.float32]]]


def build_engine_router(
    context: ServerContext, *, embedder: Qwen3VLEmbedder | None, reranker: Qwen3VLReranker | None
) -> APIRouter:
    """Returns the routes of engines elsewhere.

    Args:
        context: The server.
        embedder: The embedder; `None` if there is none in this process.
        reranker: The reranker; `None` if there is none in this process.
    """
    served: dict[ServedRole, _Served] = {}
    if embedder is not None:
        served["embedder"] = _Served(
            model=embedder, revision=embedder.fingerprint.revision, compute=embedder.acompute_states
        )
    if reranker is not None:
        served["reranker"] = _Served(model=reranker, revision=reranker.revision, compute=reranker.acompute_margins)
    router = APIRouter(tags=["engine"])

    @router.get("/v1/engine", response_model=None)
    async def describe() -> Response:
        """Says which models compute here, and what their prompts and pixels must be."""
        roles: tuple[ServedRole, ...] = ("embedder", "reranker")
        described = {role: _describe(served[role]) if role in served else None for role in roles}
        return await render_json(
            {"version": version("qwen3-vl-retrieval"), "prompt_version": PROMPT_VERSION, **described}
        )

    @router.get("/v1/engine/{role}/tokenizer", response_model=None)
    async def show_tokenizer(role: ServedRole) -> Response:
        """Returns the `tokenizer.json` of a model."""
        model = _find(served, role).model
        content = await asyncio.to_thread(model.tokenizer.to_json)
        return Response(content, media_type="application/json")

    @router.post("/v1/engine/{role}", response_model=None)
    async def compute(role: ServedRole, request: Request) -> Response:
        """Computes prepared requests: the states of an embedder, or the log-odds of a reranker."""
        return await answer_request(context, request, lambda body: _respond(context, _find(served, role), body))

    return router


async def _respond(context: ServerContext, served: _Served, body: dict[str, Any]) -> Response:
    written = EngineFields.read(body).requests
    check_count(context, len(written))
    async with context.admission.take_turn(items=len(written)):
        requests = await asyncio.to_thread(_read_all, context, served.model, written)
        rows = await served.compute(requests)
    context.metrics.count_items("embedded" if rows.ndim == 2 else "judged", len(written))
    encoded = await asyncio.to_thread(lambda: base64.b64encode(rows.astype("<f4").tobytes()).decode("ascii"))
    return await render_numbers(lambda: {"rows": encoded}, count=rows.size)


def _read_all(context: ServerContext, model: ModelInProcess, written: Sequence[dict[str, Any]]) -> list[EngineRequest]:
    most = context.limits.max_pixels
    requests: list[EngineRequest] = []
    for position, one in enumerate(written):
        try:
            request = read_request(one, model.tokenizer, max_length=model.max_length, max_pixels=most)
        except InputError as error:
            raise error.at(position, role="item") from error
        most -= sum(media.held_bytes // 3 for media in request.media)
        requests.append(request)
    return requests


def _find(served: dict[ServedRole, _Served], role: ServedRole) -> _Served:
    if role not in served:
        raise RequestError(404, f"this server has no {role}; ask one that was started with --{role}")
    return served[role]


def _describe(served: _Served) -> dict[str, Any]:
    model = served.model
    return {
        "model": model.model_id,
        "revision": served.revision,
        "hidden_size": model.hidden_size,
        "max_length": model.max_length,
        "pixel_budget": asdict(model.pixel_budget),
        "frame_sampling": asdict(model.frame_sampling),
    }
