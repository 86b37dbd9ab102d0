"""`qwen3vl search`: the best files, pages and moments of an index, or of a folder, for a question."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from qwen3_vl_retrieval.cli.hit_tables import encode_hits, print_hits
from qwen3_vl_retrieval.cli.options import (
    DEFAULT_EMBEDDER,
    DEFAULT_RERANKER,
    NO_RERANKER,
    DeviceOption,
    DimensionsOption,
    DtypeOption,
    KOption,
    MaxPixelsOption,
    ModelOptions,
    ProfileOption,
)
from qwen3_vl_retrieval.cli.profiles import Profile
from qwen3_vl_retrieval.cli.report import SearchReport, encode_report
from qwen3_vl_retrieval.cli.stores import explain_errors
from qwen3_vl_retrieval.cli.tables import print_failures, print_results
from qwen3_vl_retrieval.errors import InputError, ModelError
from qwen3_vl_retrieval.index.layout import StoreLayout
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["search_folder"]

_FETCH_K = 50


def search_folder(
    folder: Annotated[
        Path,
        typer.Argument(exists=True, file_okay=False, help="Index (see qwen3vl index), or folder to read and search."),
    ],
    query: Annotated[str, typer.Argument(help="What to look for, in any language.")],
    query_image: Annotated[
        Path | None,
        typer.Option(
            "--image", "--query-image", exists=True, dir_okay=False, help="A picture that belongs to the query."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help=f"Embedding model: hub id, folder or pocket.  [default: the one of the index, or {DEFAULT_EMBEDDER}]"
        ),
    ] = None,
    reranker: Annotated[str, typer.Option(help="Reranker: hub id, folder, pocket, or none.")] = DEFAULT_RERANKER,
    k: KOption = 10,
    fetch_k: Annotated[
        int | None, typer.Option(min=1, help=f"Units that the reranker judges.  [default: {_FETCH_K}, or k if larger]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
    html: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write a page with pictures here; of an index only.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Rank nothing if a file cannot be read.")] = False,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    dimensions: DimensionsOption = None,
    max_pixels: MaxPixelsOption = None,
    image_reading: Annotated[
        str | None,
        typer.Option(help="viewer or reference, as for qwen3vl index.  [default: the one of the index, or viewer]"),
    ] = None,
    instruction: Annotated[str | None, typer.Option(help="What makes a file relevant, in a sentence.")] = None,
    profile: ProfileOption = False,
) -> None:
    """Searches an index, or a folder of pictures, PDFs, clips and texts that is read and embedded for this once."""
    if not query.strip() and query_image is None:
        raise typer.BadParameter("the query is empty; give a text, or a picture with --query-image")
    wanted = max(k, _FETCH_K) if fetch_k is None else fetch_k
    if wanted < k:
        raise typer.BadParameter(f"--fetch-k {wanted} is below --k {k}; judge at least as many as are shown")
    options = ModelOptions(
        embedder=DEFAULT_EMBEDDER if model is None else model,
        reranker=None if reranker == NO_RERANKER else reranker,
        device=device,
        dtype=dtype,
        dimensions=dimensions,
        max_pixels=max_pixels,
        image_reading="viewer" if image_reading is None else image_reading,
        profile=Profile() if profile else None,
    )
    if StoreLayout(folder).exists():
        _search_index(
            folder, query, query_image, options, model, image_reading, k, wanted, instruction, as_json=json, html=html
        )
        return
    if html is not None:
        raise typer.BadParameter("--html needs an index; make one with qwen3vl index FOLDER --to STORE")
    report = _run(folder, query, query_image, options, k=k, fetch_k=wanted, strict=strict, instruction=instruction)
    _print_report(report, as_json=json, strict=strict)
    _print_profile(options)
    if strict and report.failures:
        raise typer.Exit(1)


def _run(
    folder: Path,
    query: str,
    query_image: Path | None,
    options: ModelOptions,
    *,
    k: int,
    fetch_k: int,
    strict: bool,
    instruction: str | None,
) -> SearchReport:
    """The search with its errors said in one line: status 1 for models, 2 for what was asked."""
    messages = Console(stderr=True)
    try:
        from qwen3_vl_retrieval.cli.session import SearchSession

        session = SearchSession.open(folder, options, policy=MediaPolicy(allow_dirs=(folder,)), console=messages)
        return session.search(
            query, query_image=query_image, k=k, fetch_k=fetch_k, strict=strict, instruction=instruction
        )
    except ModelError as error:
        messages.print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except (InputError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None


def _search_index(
    store: Path,
    query: str,
    query_image: Path | None,
    options: ModelOptions,
    model: str | None,
    image_reading: str | None,
    k: int,
    fetch_k: int,
    instruction: str | None,
    *,
    as_json: bool,
    html: Path | None,
) -> None:
    messages = Console(stderr=True)
    with explain_errors(messages):
        from qwen3_vl_retrieval.cli.queries import join_query
        from qwen3_vl_retrieval.cli.store_session import search_store

        asked = join_query(query, query_image)
        results = search_store(
            store,
            asked,
            options,
            messages,
            embedder_name=model,
            image_reading=image_reading,
            k=k,
            fetch_k=fetch_k,
            instruction=instruction,
        )
        if html is not None:
            results.to_html(html)
    if as_json:
        typer.echo(encode_hits(results).encode("utf-8", "replace"))
    else:
        print_hits(results, Console())
        if html is not None:
            messages.print(Text(f"A page with pictures: {html}"), soft_wrap=True)
    _print_profile(options)


def _print_profile(options: ModelOptions) -> None:
    if options.profile is not None:
        options.profile.print(Console(stderr=True))


def _print_report(report: SearchReport, *, as_json: bool, strict: bool) -> None:
    if as_json:
        # As bytes: JSON is UTF-8 whatever the terminal's encoding.
        typer.echo(encode_report(report).encode("utf-8", "replace"))
        return
    is_refused = strict and bool(report.failures)
    if not is_refused:
        print_results(report, Console())
    print_failures(report, Console() if is_refused else Console(stderr=True))
