"""`qwen3vl serve`: the models for others, by the HTTP routes that their clients know."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qwen3_vl_retrieval.cli.limits import Limits, parse_bytes, parse_pixels, parse_seconds
from qwen3_vl_retrieval.cli.listening import Listening
from qwen3_vl_retrieval.cli.noise import keep_noise_out
from qwen3_vl_retrieval.cli.options import (
    DEFAULT_EMBEDDER,
    DEFAULT_RERANKER,
    NO_RERANKER,
    LoadingOptions,
    expand_options,
)
from qwen3_vl_retrieval.cli.stores import explain_errors
from qwen3_vl_retrieval.errors import ModelError

if TYPE_CHECKING:
    from qwen3_vl_retrieval.server import ServerLimits

__all__ = ["serve_models"]

_EXTRA = ("fastapi", "prometheus_client", "uvicorn")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """How much is done for one request, and for all of them, by the names of `ServerLimits`."""

    max_body_bytes: Annotated[
        int | None,
        typer.Option(
            "--max-body-size", parser=parse_bytes, metavar="SIZE", help="Largest body: 256MiB.  [default: 64MiB]"
        ),
    ] = None
    max_items: Annotated[
        int | None,
        typer.Option("--max-items", min=1, help="Most items of a request.  [default: 2048]", show_default=False),
    ] = None
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-request-tokens",
            min=1,
            help="Most tokens of the texts of a request.  [default: 1000000]",
            show_default=False,
        ),
    ] = None
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max-request-pixels",
            parser=parse_pixels,
            metavar="PIXELS",
            help="Most pixels of the images of a request: 500MP.  [default: 1000MP]",
        ),
    ] = None
    max_request_seconds: Annotated[
        int | None,
        typer.Option(
            "--max-request-time",
            parser=parse_seconds,
            metavar="DURATION",
            help="Longest time for an answer: 10min.  [default: 5min]",
        ),
    ] = None
    max_running_requests: Annotated[
        int | None,
        typer.Option("--max-running", min=1, help="Requests computed at one time.  [default: 64]", show_default=False),
    ] = None
    max_waiting_requests: Annotated[
        int | None,
        typer.Option(
            "--max-waiting", min=1, help="Requests that wait; others get 429.  [default: 512]", show_default=False
        ),
    ] = None

    def build_limits(self) -> ServerLimits:
        """Returns the limits of the server."""
        from qwen3_vl_retrieval.server import ServerLimits

        given: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        return ServerLimits(**{name: value for name, value in given.items() if value is not None})


@expand_options
def serve_models(
    *,
    embedder: Annotated[
        str | None,
        typer.Option(
            help="Embedding model: hub id, folder, pocket, or none.  [default: the one of the index, or "
            f"{DEFAULT_EMBEDDER}]"
        ),
    ] = None,
    reranker: Annotated[str, typer.Option(help="Reranker: hub id, folder, pocket, or none.")] = DEFAULT_RERANKER,
    index: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Index to search (see qwen3vl index).")
    ] = None,
    listening: Listening,
    allow_hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="HOST",
            help="Host whose images clients may name by URL: example.org, .example.org. Repeat it for more.",
        ),
    ] = None,
    allow_dirs: Annotated[
        list[Path] | None,
        typer.Option(
            "--allow-dir",
            exists=True,
            file_okay=False,
            help="Folder whose files clients may name as file: URIs. Repeat it for more.",
        ),
    ] = None,
    requests: RequestLimits,
    loading: LoadingOptions,
    limits: Limits,
) -> None:
    """Serves embeddings, reranking and search over HTTP, as clients of OpenAI, Cohere, Jina, TEI and vLLM know it."""
    with keep_noise_out() as messages, explain_errors(messages):
        _require_extra()
        from qwen3_vl_retrieval.cli.served_models import load_served_models
        from qwen3_vl_retrieval.server.listening import listen

        hosts = tuple(allow_hosts or ())
        opened = limits.build_policy(allow_dirs=tuple(allow_dirs or ()))
        opened = replace(opened, allow_urls=bool(hosts), allow_hosts=hosts)
        keys = listening.read_keys(messages)
        with messages.status("loading the models"):
            judge = None if reranker == NO_RERANKER else reranker
            models = load_served_models(embedder, judge, index, loading, limits.build_policy())
            asyncio.run(models.warm_up())
        chosen = requests.build_limits()
        app = models.create_app(api_keys=keys, limits=chosen, media_policy=opened)
    # Outside of the block: what libraries say while requests are answered belongs to the log.
    listen(app, host=listening.host, port=listening.port, max_request_seconds=chosen.max_request_seconds)


def _require_extra() -> None:
    for name in _EXTRA:
        if find_spec(name) is None:
            raise ModelError(f"a server needs {name}, which is not installed: pip install 'qwen3-vl-retrieval[server]'")
