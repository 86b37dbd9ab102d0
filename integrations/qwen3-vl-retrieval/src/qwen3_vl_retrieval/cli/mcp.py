"""`qwen3vl mcp`: an index as tools for assistants and agents, by the Model Context Protocol."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from qwen3_vl_retrieval.cli.limits import Limits
from qwen3_vl_retrieval.cli.listening import Listening
from qwen3_vl_retrieval.cli.noise import keep_noise_out
from qwen3_vl_retrieval.cli.options import (
    DEFAULT_RERANKER,
    NO_RERANKER,
    LoadingOptions,
    StoreArgument,
    expand_options,
)
from qwen3_vl_retrieval.cli.stores import explain_errors
from qwen3_vl_retrieval.errors import ModelError

__all__ = ["serve_tools"]

_SECONDS_TO_END = 5
"""For open streams, which last as long as their clients."""


@expand_options
def serve_tools(
    store: StoreArgument,
    *,
    model: Annotated[
        str | None, typer.Option(help="Embedding model: hub id, folder or pocket.  [default: the one of the index]")
    ] = None,
    reranker: Annotated[str, typer.Option(help="Reranker: hub id, folder, pocket, or none.")] = DEFAULT_RERANKER,
    http: Annotated[
        bool, typer.Option("--http", help="Listen for clients over HTTP, at /mcp, instead of standard input.")
    ] = False,
    listening: Listening,
    loading: LoadingOptions,
    limits: Limits,
) -> None:
    """Serves the search in an index to MCP clients: over standard input and output, or over HTTP with --http."""
    with keep_noise_out() as messages, explain_errors(messages):
        if find_spec("mcp") is None:
            raise ModelError("this command needs mcp, which is not installed: pip install 'qwen3-vl-retrieval[mcp]'")
        from qwen3_vl_retrieval.cli.store_session import load_index

        keys = listening.read_keys(messages) if http else []
        judge = None if reranker == NO_RERANKER else reranker
        messages.print("qwen3vl mcp: loading the models …", highlight=False)
        index, _ = load_index(store, model, judge, loading, limits.build_policy())
        from qwen3_vl_retrieval.server.mcp import build_mcp_server

        server = build_mcp_server(index)
        messages.print(f"qwen3vl mcp: ready, with {len(index):,} units", highlight=False)
    # Outside of the block: what libraries say from now on belongs to the log, which is standard error.
    with index:
        if not http:
            server.run("stdio")
            return
        from qwen3_vl_retrieval.server.listening import listen
        from qwen3_vl_retrieval.server.mcp import build_http_app

        listen(
            build_http_app(server, host=listening.host, api_keys=keys),
            host=listening.host,
            port=listening.port,
            max_request_seconds=_SECONDS_TO_END,
        )
