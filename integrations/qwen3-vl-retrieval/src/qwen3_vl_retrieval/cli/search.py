"""`qwen3vl search`: the best files, pages and moments of an index, or of a folder, for a question."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from qwen3_vl_retrieval.cli.limits import Limits
from qwen3_vl_retrieval.cli.noise import keep_noise_out
from qwen3_vl_retrieval.cli.options import ExcludeOption, JsonOption, LoadingOptions, SearchRequest, expand_options
from qwen3_vl_retrieval.cli.stores import explain_errors
from qwen3_vl_retrieval.index.store.layout import StoreLayout

if TYPE_CHECKING:
    from qwen3_vl_retrieval.cli.store_session import Search

__all__ = ["search_folder"]


@expand_options
def search_folder(
    folder: Annotated[
        Path,
        typer.Argument(exists=True, file_okay=False, help="Index (see qwen3vl index), or folder to read and search."),
    ],
    *,
    request: SearchRequest,
    json: JsonOption = False,
    html: Annotated[Path | None, typer.Option(dir_okay=False, help="Write a page with images here.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Rank nothing if a file cannot be read.")] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Say why each result was found, in --json and --html; takes as long as a dozen more each."
        ),
    ] = False,
    exclude: ExcludeOption = None,
    loading: LoadingOptions,
    limits: Limits,
) -> None:
    """Searches an index, or a folder of images, PDFs, videos and texts that is read and embedded for this once."""
    is_index = StoreLayout(folder).exists()
    if explain and not json and html is None:
        raise typer.BadParameter("--explain has no effect without --json or --html; give one of them")
    if is_index and exclude:
        raise typer.BadParameter("--exclude has no effect on an index; give it to qwen3vl index, or use --where")
    with keep_noise_out() as messages:
        with explain_errors(messages):
            from qwen3_vl_retrieval.cli.store_session import search_files, search_store

            if is_index:
                search = search_store(folder, request, loading, messages, limits=limits)
            else:
                patterns = [] if exclude is None else exclude
                search = search_files(
                    folder, request, loading, messages, limits=limits, exclude=patterns, strict=strict
                )
            is_refused = strict and bool(search.results.failures)
            if is_refused:
                search = replace(search, results=replace(search.results, hits=()), ranked_files=0)
            explanations = search.results.explain() if explain else None
            if html is not None:
                search.results.to_html(html, explain=explanations)
        from qwen3_vl_retrieval.cli.tables import encode_search, print_profile

        if json:
            # As bytes: JSON is UTF-8 whatever the terminal's encoding.
            typer.echo(encode_search(search, request, explanations).encode("utf-8", "replace"))
        else:
            _print_search(search, messages, is_refused=is_refused)
            if html is not None:
                messages.print(Text(f"A page with images: {html}"), soft_wrap=True)
        if loading.profile:
            print_profile(search.models, messages)
    if is_refused:
        raise typer.Exit(1)


def _print_search(search: Search, messages: Console, *, is_refused: bool) -> None:
    from qwen3_vl_retrieval.cli.tables import print_failures, print_results, print_skipped
    from qwen3_vl_retrieval.index.ingest.progress import describe_failure

    if not is_refused:
        print_results(search, Console())
    failures = [describe_failure(failure) for failure in search.results.failures]
    print_failures(failures, Console() if is_refused else messages, folder=search.folder)
    if search.folder is not None:
        print_skipped(search.skipped, search.hidden, search.folder, messages)
