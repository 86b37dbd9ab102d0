"""The page that questions are labelled on, as an ASGI application for the browser of the person who started it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.labelling.candidate_pool import CandidatePool
from qwen3_vl_retrieval.labelling.label_routes import build_label_router
from qwen3_vl_retrieval.labelling.question_desk import QuestionDesk
from qwen3_vl_retrieval.labelling.same_origin import SameOriginMiddleware
from qwen3_vl_retrieval.server import create_app
from qwen3_vl_retrieval.server.page_routes import build_files_router
from qwen3_vl_retrieval.server.request_errors import RequestError, build_error_response

__all__ = ["LABEL_PATH", "create_label_app"]

LABEL_PATH = "/label"

_HOSTS = ("127.0.0.1", "localhost")
"""Names of this machine: a name of another that leads here is not taken for ours."""

_FILES = {
    LABEL_PATH: ("index.html", "text/html; charset=utf-8"),
    f"{LABEL_PATH}/style.css": ("style.css", "text/css; charset=utf-8"),
    f"{LABEL_PATH}/script.js": ("script.js", "text/javascript; charset=utf-8"),
}


def create_label_app(index: MultimodalIndex, questions: Path, *, instruction: str | None = None) -> FastAPI:
    """Returns the server of the page, with the search of the index beside it.

    It is for this machine alone: whoever may ask it may change the questions. Other names of hosts and requests of
    other sites are refused.

    Args:
        index: What the questions are asked of.
        questions: Their file; there need be none yet.
        instruction: What makes a document relevant; `None` is the models' own.

    Raises:
        InputError: The file is not understood.
    """
    desk = QuestionDesk(questions, index.store)
    # What is wrong with the file is said at once, and not on the page.
    desk.read()
    app = create_app(embedder=None, reranker=None, index=index)
    app.include_router(build_label_router(index, desk, CandidatePool(index, instruction=instruction)))
    app.include_router(build_files_router(files("qwen3_vl_retrieval.labelling").joinpath("page"), _FILES))
    app.add_middleware(SameOriginMiddleware)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(_HOSTS), www_redirect=False)

    @app.exception_handler(StoreError)
    async def answer_not_saved(request: Request, error: StoreError) -> JSONResponse:
        return build_error_response(request.url.path, RequestError(503, str(error)))

    return app
