"""Options that commands share: the annotated fields of a dataclass become options of each command that takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from qwen3_vl_retrieval.cli.options import SearchRequest, expand_options


@dataclass(frozen=True, kw_only=True)
class Size:
    name: Annotated[str, typer.Argument(metavar="NAME")]
    most: Annotated[int, typer.Option("--most-size", min=1)] = 7


@dataclass(frozen=True, kw_only=True)
class Count:
    most: Annotated[int | None, typer.Option("--most-count")] = None


def run(*arguments):
    app = typer.Typer()
    received = []

    @app.command()
    @expand_options
    def command(
        folder: Annotated[str, typer.Argument()],
        *,
        size: Size,
        flag: Annotated[bool, typer.Option()] = False,
        count: Count,
    ) -> None:
        """Does nothing."""
        received.extend([folder, size, flag, count])

    return CliRunner().invoke(app, arguments), received


def test_groups_are_given_to_the_command_whole_with_fields_of_the_same_name_apart():
    result, received = run("f", "n", "--most-count", "3", "--flag")
    assert result.exit_code == 0, result.output
    assert received == ["f", Size(name="n", most=7), True, Count(most=3)]
    assert run("f", "n", "--most-size", "2")[1][1:] == [Size(name="n", most=2), False, Count()]


def test_what_a_field_does_not_allow_is_a_usage_error():
    result, received = run("f", "n", "--most-size", "0")
    assert (result.exit_code, received) == (2, [])
    assert run("f")[0].exit_code == 2


def test_a_request_is_checked_and_says_what_is_judged():
    assert SearchRequest(query="q").judged_units == 50
    assert SearchRequest(query="q", k=60).judged_units == 60
    assert SearchRequest(query="q", reranker="none").reranker_name is None
    for options, message in (({"query": " "}, "query is empty"), ({"query": "q", "k": 9, "fetch_k": 8}, "below --k 9")):
        with pytest.raises(typer.BadParameter, match=message):
            SearchRequest(**options)
