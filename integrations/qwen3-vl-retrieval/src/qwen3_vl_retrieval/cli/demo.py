"""`qwen3vl demo`: a small office is written, embedded, and asked eight questions whose answers are known."""

from __future__ import annotations

import importlib
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from qwen3_vl_retrieval.cli.options import DeviceOption, DtypeOption, LoadingOptions, MaxPixelsOption
from qwen3_vl_retrieval.documents.labels import clean_text
from qwen3_vl_retrieval.errors import ModelError, StoreError

__all__ = ["run_demo"]

_DEMO_FOLDER = Path("qwen3vl-demo")
_POCKET = "pocket"

_POCKET_NOTICE = (
    "These are tiny demonstration models, called pocket: trained from nothing on a drawn world of shapes, papers, "
    "charts and dialogs. They know that world and nothing else; they have seen none of these files. Real models take "
    "their place by --model Qwen/Qwen3-VL-Embedding-2B --reranker Qwen/Qwen3-VL-Reranker-2B."
)


def run_demo(
    folder: Annotated[
        Path, typer.Argument(file_okay=False, help="Where the office and the report are written.")
    ] = _DEMO_FOLDER,
    model: Annotated[str, typer.Option(help="Embedding model: pocket, hub id or folder.")] = _POCKET,
    reranker: Annotated[str, typer.Option(help="Reranker: pocket, hub id or folder.")] = _POCKET,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    max_pixels: MaxPixelsOption = None,
) -> None:
    """Writes a small office, embeds it, asks eight questions, and writes a report with images."""
    loading = LoadingOptions(device=device, dtype=dtype, max_pixels=max_pixels)
    try:
        _run(folder, model, reranker, loading, Console())
    except (ModelError, StoreError) as error:
        Console(stderr=True).print(Text(f"Error: {clean_text(str(error))}", style="red"), soft_wrap=True)
        raise typer.Exit(1) from None


def _run(folder: Path, model: str, reranker: str, loading: LoadingOptions, console: Console) -> None:
    write_office = _find_office()
    notice = _POCKET_NOTICE if _POCKET in (model, reranker) else None
    if notice is not None:
        console.print(Panel(Text(notice), border_style="yellow"))
    messages = Console(stderr=True)
    begun = perf_counter()
    with messages.status("drawing the office"):
        office = write_office(folder / "office")
    writing_seconds = perf_counter() - begun
    from qwen3_vl_retrieval.cli.trial import run_trial

    page = run_trial(
        office,
        folder / "index",
        loading,
        embedder=model,
        reranker=reranker,
        notice=notice,
        writing_seconds=writing_seconds,
        console=console,
        messages=messages,
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    console.print(Text.assemble("A report with images: ", (str(path), "bold")), soft_wrap=True)


def _find_office() -> Any:
    """The generator, which is part of the package with the small models."""
    try:
        return cast("Any", importlib.import_module("qwen3_vl_pocket.office")).write_office
    except ModuleNotFoundError as error:
        raise ModelError("the demo needs its own package: pip install qwen3-vl-pocket") from error
