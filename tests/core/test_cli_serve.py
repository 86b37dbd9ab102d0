"""`qwen3vl serve` says what is missing before it loads anything; test_server_limits.py runs it."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

from qwen3_vl_retrieval.cli import app


def serve(*arguments):
    return CliRunner().invoke(app, ["serve", *map(str, arguments)])


@pytest.mark.parametrize("content", ["", "\n# only a remark\n\n"])
def test_a_file_without_keys_protects_nothing_and_is_refused(tmp_path, content, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    keys = tmp_path / "keys"
    keys.write_text(content, encoding="utf-8")
    result = serve("--embedder", "pocket", "--api-key-file", keys)
    assert result.exit_code == 2
    assert "holds no key" in result.stderr


def test_an_index_is_not_searched_without_an_embedder(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    result = serve("--embedder", "none", "--reranker", "none", "--index", tmp_path)
    assert result.exit_code == 2
    assert "--index needs an embedder" in result.stderr


@pytest.mark.parametrize("name", ["fastapi", "prometheus_client", "uvicorn"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    result = serve("--embedder", "pocket")
    assert result.exit_code == 1
    assert name in result.stderr
    assert "qwen3-vl-retrieval[server]" in result.stderr.replace("\n", "")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--max-body-size", "much"), ("--max-request-time", "0s"), ("--port", "70000"), ("--max-items", 0)],
)
def test_a_limit_that_is_not_understood_is_a_usage_error(option, value):
    assert serve("--embedder", "none", option, value).exit_code == 2
