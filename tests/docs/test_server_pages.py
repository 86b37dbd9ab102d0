"""The configurations and the JSON that the pages about the server show are those that it takes and gives."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from markdown_pages import list_blocks, read_page
from qwen3_vl_retrieval.cli import app
from qwen3_vl_retrieval.server.search_routes import FoundHit, SearchRequest


def test_the_configuration_of_an_mcp_client_starts_a_command_that_there_is(example_index):
    started, listening = (json.loads(block.content) for block in list_blocks(read_page(Path("docs/mcp.md")), "json"))
    (server,) = started["mcpServers"].values()
    assert server["command"] == "qwen3vl"
    name, store, *options = server["args"]
    assert store.endswith("/my-index")
    command = typer.main.get_command(app).commands[name]
    # Reads the arguments as the command does, and does not run it.
    assert command.make_context(name, [str(example_index), *options]).params["http"] is False
    (server,) = listening["mcpServers"].values()
    (shown,) = (
        line
        for block in list_blocks(read_page(Path("docs/mcp.md")), "bash")
        for line in [block.content]
        if "--http" in line
    )
    assert server["url"] == f"http://127.0.0.1:{shown.split('--port ')[1].split()[0]}/mcp"


def test_the_request_and_the_hit_that_are_shown_have_the_fields_of_the_real_ones():
    request, hit = (json.loads(block.content) for block in list_blocks(read_page(Path("docs/search-page.md")), "json"))
    SearchRequest.model_validate(request)
    assert list(request) == list(SearchRequest.model_fields)
    FoundHit.model_validate(hit)
    assert list(hit) == list(FoundHit.model_fields)
