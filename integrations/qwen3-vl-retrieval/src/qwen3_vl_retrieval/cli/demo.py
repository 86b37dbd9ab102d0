"""`qwen3vl demo`: a small office is written, and searched three times."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from qwen3_vl_retrieval.cli.options import DeviceOption, DtypeOption, ModelOptions
from qwen3_vl_retrieval.cli.tables import print_failures, print_results
from qwen3_vl_retrieval.errors import ModelError
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["run_demo"]

_DEMO_FOLDER = Path("qwen3vl-demo")
_RESULTS = 3

# Fewer pixels than the models can see: the office is drawn coarsely, and the demo is to be quick on a laptop.
_MAX_PIXELS = 128 * 1024

_UNTRAINED = (
    "UNTRAINED MODELS. These are random weights, built on the spot: the order of the results means nothing, "
    "only the path is real. Give --model and --reranker for real ones, "
    "for example --model Qwen/Qwen3-VL-Embedding-2B --reranker Qwen/Qwen3-VL-Reranker-2B."
)


def run_demo(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Where the office is written.")] = _DEMO_FOLDER,
    model: Annotated[str | None, typer.Option(help="Embedding model; by default the pocket model.")] = None,
    reranker: Annotated[str | None, typer.Option(help="Reranker; by default the pocket model.")] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Writes a small office of pictures, papers, clips and notes, and runs three searches in it."""
    from qwen3_vl_retrieval.cli.office import write_office

    console = Console()
    files = write_office(folder)
    console.print(Text(f"{len(files)} files written to {folder}", style="bold"))
    with TemporaryDirectory(prefix="qwen3vl-") as temporary:
        names = _choose_models(model, reranker, Path(temporary))
        is_untrained = any(Path(name).is_relative_to(temporary) for name in names)
        options = ModelOptions(embedder=names[0], reranker=names[1], device=device, dtype=dtype, max_pixels=_MAX_PIXELS)
        if is_untrained:
            console.print(Panel(Text(_UNTRAINED), border_style="bold yellow"))
        try:
            _run_searches(folder, options, console)
        except ModelError as error:
            Console(stderr=True).print(Text(f"Error: {error}", style="red"), soft_wrap=True)
            raise typer.Exit(1) from None
        if is_untrained:
            console.print(Panel(Text(_UNTRAINED), border_style="bold yellow"))


def _choose_models(model: str | None, reranker: str | None, temporary: Path) -> tuple[str, str]:
    """The names that were given; for the others the pocket models, or untrained ones where these are missing."""
    if model is not None and reranker is not None:
        return model, reranker
    if find_spec("qwen3_vl_pocket") is not None:
        return "pocket" if model is None else model, "pocket" if reranker is None else reranker
    from qwen3_vl_retrieval.cli.standin import write_standin

    return (
        str(write_standin(temporary, "embedding")) if model is None else model,
        str(write_standin(temporary, "reranker")) if reranker is None else reranker,
    )


def _run_searches(folder: Path, options: ModelOptions, console: Console) -> None:
    from qwen3_vl_retrieval.cli.session import SearchSession

    policy = MediaPolicy(allow_dirs=(folder,))
    session = SearchSession.open(folder, options, policy=policy, console=Console(stderr=True))
    searches = (
        ("A question in words", "Which invoice is due on 11 April, and how much is it?", None),
        ("A question with a picture", "Where is the price of this?", folder / "products" / "green-lamp.png"),
        ("A moment of a clip", "the moment when a red car drives into the car park", None),
    )
    for title, query, query_image in searches:
        shown = query if query_image is None else f"{query} + {query_image.name}"
        console.print()
        console.print(Text.assemble((f"{title}: ", "bold"), (shown, "italic")))
        report = session.search(query, query_image=query_image, k=_RESULTS, fetch_k=10)
        print_results(report, console)
        # Files that were in the folder before may be broken; of those written here none is.
        print_failures(report, Console(stderr=True))
