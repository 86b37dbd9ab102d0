"""`qwen3vl doctor`: what is installed, what was chosen and why, and whether models load."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qwen3_vl_retrieval.cli.options import DeviceOption, DtypeOption
from qwen3_vl_retrieval.documents.labels import clean_text

__all__ = ["check_installation"]

_STYLES = {"ok": "green", "missing": "dim", "failed": "bold red"}


def check_installation(
    model: Annotated[str | None, typer.Option(help="Embedding model to load and run.")] = None,
    reranker: Annotated[str | None, typer.Option(help="Reranker to load and run.")] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Shows versions, device, precision and decoders; status 1 if something that is needed is missing."""
    from qwen3_vl_retrieval.cli.checks import check_hardware, check_models, check_packages, check_video

    console = Console()
    with Console(stderr=True).status("looking"):
        sections = {
            "Packages": list(check_packages()),
            "Hardware": list(check_hardware(device, dtype)),
            "Video": list(check_video()),
            "Models": list(check_models(model, reranker, device=device, dtype=dtype)),
        }
    table = Table(header_style="bold", border_style="dim")
    table.add_column("Looked at", overflow="fold")
    table.add_column("Found", overflow="fold")
    table.add_column("Note", overflow="fold")
    for checks in sections.values():
        for check in checks:
            finding = Text(clean_text(check.finding), style=_STYLES[check.state])
            table.add_row(Text(clean_text(check.subject)), finding, Text(clean_text(check.note)))
        table.add_section()
    console.print(table)
    failed = [check.subject for checks in sections.values() for check in checks if check.state == "failed"]
    if failed:
        console.print(Text(f"Not in order: {clean_text(', '.join(failed))}", style="bold red"))
        raise typer.Exit(1)
    console.print(Text("Everything that is needed is in order.", style="bold green"))
    if model is None and reranker is None:
        console.print(Text("To try models too: qwen3vl doctor --model NAME --reranker NAME", style="dim"))
