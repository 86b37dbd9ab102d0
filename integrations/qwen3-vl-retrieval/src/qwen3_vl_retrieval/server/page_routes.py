"""The page at `/`, and files of pages in general: they fetch nothing but this server's answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request, Response

__all__ = ["PAGE_PATHS", "build_files_router", "build_page_router"]

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        # Images that need the key of the server are fetched by the script.
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)

_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # A shared address holds the question: no other site is told.
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page/elements.js": ("elements.js", "text/javascript; charset=utf-8"),
    "/page/script.js": ("script.js", "text/javascript; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}

PAGE_PATHS = frozenset(_FILES)
"""Paths that need no API key: they hold nothing of the index."""


def build_page_router() -> APIRouter:
    """Returns the route of the page and those of its files."""
    return build_files_router(files("qwen3_vl_retrieval.server").joinpath("page"), _FILES)


def build_files_router(folder: Traversable, names: Mapping[str, tuple[str, str]]) -> APIRouter:
    """Returns the routes of the files of a page, which may fetch and run nothing from elsewhere.

    Args:
        folder: Where the files are.
        names: Name and media type of the file at each path.
    """
    router = APIRouter(include_in_schema=False)
    for path, (name, media_type) in names.items():
        _add_file(router, path, folder.joinpath(name).read_bytes(), media_type)
    return router


def _add_file(router: APIRouter, path: str, content: bytes, media_type: str) -> None:
    headers = _HEADERS | {"ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}

    async def show(request: Request) -> Response:
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    router.get(path)(show)
