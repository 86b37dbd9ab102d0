"""The command `qwen3vl`; nothing heavier than rich is imported until a command runs."""

from __future__ import annotations

import typer

from qwen3_vl_retrieval.cli.demo import run_demo
from qwen3_vl_retrieval.cli.doctor import check_installation
from qwen3_vl_retrieval.cli.search import search_folder

__all__ = ["app"]

app = typer.Typer(
    name="qwen3vl",
    help="Find text, pictures, pages and moments of video with Qwen3-VL-Embedding and Qwen3-VL-Reranker.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command("search")(search_folder)
app.command("doctor")(check_installation)
app.command("demo")(run_demo)
