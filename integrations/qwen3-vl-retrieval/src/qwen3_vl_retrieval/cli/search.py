"""`qwen3vl search`: the best files, pages and moments of an index, or of a folder, for a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from rich.console import Console
from rich.text import Text

from qwen3_vl_retrieval.cli.hit_tables import encode_hits, print_hits
from qwen3_vl_retrieval.cli.limits import (
    Limits,
    MaxDurationOption,
    MaxFileSizeOption,
    MaxFramesOption,
    MaxImagePixelsOption,
    MaxPagesOption,
    MaxReadMemoryOption,
    MaxReadTimeOption,
)
from qwen3_vl_retrieval.cli.noise import keep_noise_out
from qwen3_vl_retrieval.cli.options import (
    DEFAULT_EMBEDDER,
    DEFAULT_RERANKER,
    NO_RERANKER,
    DeviceOption,
    DimensionsOption,
    DtypeOption,
    ExcludeOption,
    KOption,
    MaxPixelsOption,
    ModelOptions,
    ProfileOption,
)
from qwen3_vl_retrieval.cli.profiles import Profile
from qwen3_vl_retrieval.cli.report import encode_report
from qwen3_vl_retrieval.cli.stores import explain_errors, parse_filter
from qwen3_vl_retrieval.cli.tables import print_failures, print_results, print_skipped
from qwen3_vl_retrieval.documents.units import MediaType
from qwen3_vl_retrieval.index.store.layout import StoreLayout

__all__ = ["search_folder"]

_FETCH_K = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What is looked for, among what, and how many are wanted."""

    query: str
    query_image: Path | None
    k: int
    fetch_k: int
    instruction: str | None
    where: Mapping[str, Any] | None
    media_types: Sequence[MediaType] | None
    exclude: Sequence[str]
    limits: Limits


def _parse_media_type(text: str) -> str:
    allowed = get_args(MediaType)
    if text not in allowed:
        raise typer.BadParameter(f"{text!r} is no kind of unit; give one of {', '.join(allowed)}")
    return text


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
    where: Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help='What hits must meet, of an index only: {"page": {"$lte": 3}}, {"source": "/docs/a.pdf"}.',
        ),
    ] = None,
    media_type: Annotated[
        list[str] | None,
        typer.Option(
            parser=_parse_media_type,
            metavar="TYPE",
            help=f"Find only units of this kind: {', '.join(get_args(MediaType))}. Repeat it for more.",
        ),
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
    exclude: ExcludeOption = None,
    max_file_size: MaxFileSizeOption = None,
    max_image_pixels: MaxImagePixelsOption = None,
    max_pages: MaxPagesOption = None,
    max_frames: MaxFramesOption = None,
    max_duration: MaxDurationOption = None,
    max_read_time: MaxReadTimeOption = None,
    max_read_memory: MaxReadMemoryOption = None,
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
    request = _Request(
        query=query,
        query_image=query_image,
        k=k,
        fetch_k=wanted,
        instruction=instruction,
        where=None if where is None else parse_filter(where),
        media_types=[cast("MediaType", one) for one in media_type] if media_type else None,
        exclude=[] if exclude is None else exclude,
        limits=Limits(
            max_bytes=max_file_size,
            max_pixels=max_image_pixels,
            max_pages=max_pages,
            max_frames=max_frames,
            max_duration_seconds=max_duration,
            max_read_seconds=max_read_time,
            max_read_bytes=max_read_memory,
        ),
    )
    if StoreLayout(folder).exists():
        _search_index(folder, request, options, model, image_reading, as_json=json, html=html)
    else:
        _search_files(folder, request, options, as_json=json, html=html, strict=strict)


def _search_files(
    folder: Path, request: _Request, options: ModelOptions, *, as_json: bool, html: Path | None, strict: bool
) -> None:
    for name, value in (("--html", html), ("--where", request.where)):
        if value is not None:
            raise typer.BadParameter(f"{name} needs an index; make one with qwen3vl index FOLDER --to STORE")
    policy = request.limits.build_policy(allow_dirs=(folder,))
    with keep_noise_out() as messages:
        with explain_errors(messages):
            from qwen3_vl_retrieval.cli.session import SearchSession

            session = SearchSession.open(
                folder,
                options,
                policy=policy,
                console=messages,
                exclude=request.exclude,
                media_types=request.media_types,
            )
            report = session.search(
                request.query,
                query_image=request.query_image,
                k=request.k,
                fetch_k=request.fetch_k,
                strict=strict,
                instruction=request.instruction,
            )
        is_refused = strict and bool(report.failures)
        if as_json:
            # As bytes: JSON is UTF-8 whatever the terminal's encoding.
            typer.echo(encode_report(report).encode("utf-8", "replace"))
        else:
            if not is_refused:
                print_results(report, Console(), policy)
            print_failures(report, Console() if is_refused else messages)
            print_skipped(report.skipped, report.hidden, folder, messages)
        _print_profile(options, messages)
    if is_refused:
        raise typer.Exit(1)


def _search_index(
    store: Path,
    request: _Request,
    options: ModelOptions,
    model: str | None,
    image_reading: str | None,
    *,
    as_json: bool,
    html: Path | None,
) -> None:
    if request.exclude:
        raise typer.BadParameter("--exclude has no effect on an index; give it to qwen3vl index, or use --where")
    with keep_noise_out() as messages:
        with explain_errors(messages):
            from qwen3_vl_retrieval.cli.queries import join_query
            from qwen3_vl_retrieval.cli.store_session import search_store

            results = search_store(
                store,
                join_query(request.query, request.query_image, request.limits.build_policy()),
                options,
                messages,
                limits=request.limits,
                embedder_name=model,
                image_reading=image_reading,
                k=request.k,
                fetch_k=request.fetch_k,
                where=request.where,
                media_types=request.media_types,
                instruction=request.instruction,
            )
            if html is not None:
                results.to_html(html)
        if as_json:
            typer.echo(encode_hits(results).encode("utf-8", "replace"))
        else:
            print_hits(results, Console())
            if html is not None:
                messages.print(Text(f"A page with pictures: {html}"), soft_wrap=True)
        _print_profile(options, messages)


def _print_profile(options: ModelOptions, messages: Console) -> None:
    if options.profile is not None:
        options.profile.print(messages)
