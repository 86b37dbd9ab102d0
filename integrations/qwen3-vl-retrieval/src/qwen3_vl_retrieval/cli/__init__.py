"""The command `qwen3vl`; nothing heavier than rich is imported until a command runs."""

from __future__ import annotations

import typer

from qwen3_vl_retrieval.cli.demo import run_demo
from qwen3_vl_retrieval.cli.doctor import check_installation
from qwen3_vl_retrieval.cli.embed import embed_files
from qwen3_vl_retrieval.cli.evaluation_commands import evaluation_app
from qwen3_vl_retrieval.cli.load import load_units
from qwen3_vl_retrieval.cli.mcp import serve_tools
from qwen3_vl_retrieval.cli.remote import print_vllm_command, save_golden_figures
from qwen3_vl_retrieval.cli.search import search_folder
from qwen3_vl_retrieval.cli.serve import serve_models
from qwen3_vl_retrieval.cli.stores import (
    compact_index,
    delete_units,
    export_units,
    index_folder,
    repair_index,
    show_statistics,
)

__all__ = ["app"]

app = typer.Typer(
    name="qwen3vl",
    help="Find text, images, pages and moments of video with Qwen3-VL-Embedding and Qwen3-VL-Reranker.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command("index")(index_folder)
app.command("search")(search_folder)
app.command("stats")(show_statistics)
app.command("delete")(delete_units)
app.command("repair")(repair_index)
app.command("compact")(compact_index)
app.command("export")(export_units)
app.command("embed")(embed_files)
app.command("load")(load_units)
app.add_typer(evaluation_app, name="eval")
app.command("vllm-command")(print_vllm_command)
app.command("golden")(save_golden_figures)
app.command("serve")(serve_models)
app.command("mcp")(serve_tools)
app.command("doctor")(check_installation)
app.command("demo")(run_demo)
