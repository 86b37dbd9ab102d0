"""The configurations and the JSON that the pages about the server show are those that it takes and gives."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

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


def test_the_services_that_are_shown_start_a_command_that_there_is(tmp_path):
    page = read_page(Path("docs/one-gpu-many-workers.md"))
    (unit,), (image,) = list_blocks(page, "ini"), list_blocks(page, "dockerfile")
    (started,) = re.findall(r"^ExecStart=(.+)$", unit.content, re.MULTILINE)
    (listed,) = re.findall(r"^CMD (\[.+\])$", image.content, re.MULTILINE)
    keys = tmp_path / "keys.txt"
    keys.write_text("a key")
    for words in (shlex.split(started), json.loads(listed)):
        program, name, *options = (str(keys) if word.endswith("/keys.txt") else word for word in words)
        assert Path(program).name == "qwen3vl"
        context = typer.main.get_command(app).commands[name].make_context(name, options)
        assert (context.params["listening_port"], context.params["listening_api_key_file"]) == (8080, keys)
    assert re.findall(r"http://127\.0\.0\.1:\d+/\w+", image.content) == ["http://127.0.0.1:8080/health"]


@pytest.mark.parametrize("number", [0, 1])
def test_the_command_for_vllm_that_is_shown_is_the_one_that_is_printed(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = read_page(Path("docs/vllm.md"))
    asked = list_blocks(page, "bash")[number].content.split()
    result = CliRunner().invoke(app, asked[1:], catch_exceptions=False)
    assert result.stdout == list_blocks(page, "text")[number].content
    assert [path.suffix for path in tmp_path.iterdir()] == [".jinja"]


def test_the_request_and_the_hit_that_are_shown_have_the_fields_of_the_real_ones():
    request, hit = (json.loads(block.content) for block in list_blocks(read_page(Path("docs/search-page.md")), "json"))
    SearchRequest.model_validate(request)
    assert list(request) == list(SearchRequest.model_fields)
    FoundHit.model_validate(hit)
    assert list(hit) == list(FoundHit.model_fields)
