"""`qwen3vl index` and the commands on an index on disk: `stats`, `delete`, `repair`, `compact` and `export`."""

from __future__ import annotations

import json as json_format
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qwen3_vl_retrieval.chroma.directory import ChromaDirectory
from qwen3_vl_retrieval.chroma.repair import is_chroma_folder
from qwen3_vl_retrieval.cli.limits import Limits, name_options, rename_failure
from qwen3_vl_retrieval.cli.noise import keep_noise_out
from qwen3_vl_retrieval.cli.options import (
    DEFAULT_EMBEDDER,
    ExcludeOption,
    JsonOption,
    LoadingOptions,
    StoreArgument,
    expand_options,
    parse_filter,
)
from qwen3_vl_retrieval.cli.speech import SpeechOptions
from qwen3_vl_retrieval.documents.labels import clean_text
from qwen3_vl_retrieval.errors import InputError, ModelError, RemoteError, StoreError
from qwen3_vl_retrieval.index.store.layout import StoreLayout
from qwen3_vl_retrieval.paths import encode_path, show_path

__all__ = [
    "compact_index",
    "delete_units",
    "explain_errors",
    "export_units",
    "index_folder",
    "repair_index",
    "show_statistics",
]

_INTERRUPTED = "Interrupted. What was finished is in the index; run the same command again to go on."
_INTERRUPTED_STATUS = 130
"""128 and the number of SIGINT, as shells have it."""


@expand_options
def index_folder(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder to index, at any depth.")],
    *,
    to: Annotated[Path, typer.Option("--to", file_okay=False, help="Folder of the index.")],
    model: Annotated[str, typer.Option(help="Embedding model: hub id, folder or pocket.")] = DEFAULT_EMBEDDER,
    short_dimensions: Annotated[
        int | None, typer.Option(min=32, help="Length of the vectors that are recalled with.  [default: 256]")
    ] = None,
    window_seconds: Annotated[float, typer.Option(min=0.1, help="Length of a window of a video.")] = 30.0,
    overlap_seconds: Annotated[float, typer.Option(min=0.0, help="What a window shares with the one before.")] = 5.0,
    cut_at_scenes: Annotated[
        bool, typer.Option("--cut-at-scenes", help="Let windows end where the image changes.")
    ] = False,
    allow_removals: Annotated[
        bool,
        typer.Option("--allow-removals", help="Remove what vanished even if it is more than half of the files."),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Read files again that could not be read and have not changed.")
    ] = False,
    grace_days: Annotated[
        float, typer.Option(min=0.0, help="How long vectors are kept of what vanished, changed or cannot be read.")
    ] = 30.0,
    exclude: ExcludeOption = None,
    failures: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write what could not be read here, a JSON object a line.")
    ] = None,
    json: JsonOption = False,
    speech: SpeechOptions,
    loading: LoadingOptions,
    limits: Limits,
) -> None:
    """Makes the index hold what the folder holds; run it again after changes, or after it was interrupted."""
    with keep_noise_out() as messages, explain_errors(messages, interrupted=_INTERRUPTED):
        from qwen3_vl_retrieval.cli.store_session import index_into

        report, models = index_into(
            folder,
            to,
            model,
            loading,
            messages,
            limits=limits,
            exclude=[] if exclude is None else exclude,
            short_dimensions=short_dimensions,
            window_seconds=window_seconds,
            overlap_seconds=overlap_seconds,
            cut_at_scenes=cut_at_scenes,
            asr=speech.build_transcriber(),
            allow_removals=allow_removals,
            retry_failed=retry_failed,
            grace_days=grace_days,
        )
    from qwen3_vl_retrieval.cli.tables import print_failures, print_profile, print_skipped
    from qwen3_vl_retrieval.index.ingest.progress import describe_failure, write_failures

    if loading.profile:
        print_profile(models, messages)
    failed = [rename_failure(failure) for failure in report.failures]
    if failures is not None:
        write_failures(failed, failures)
    if json:
        document = {
            **{name: getattr(report, name) for name in report.__slots__ if name not in ("failures", "skipped")},
            "failures": [describe_failure(failure) for failure in failed],
            "skipped": [{"source": encode_path(skipped.path), "reason": skipped.reason} for skipped in report.skipped],
        }
        typer.echo(json_format.dumps(document, ensure_ascii=False, indent=2).encode("utf-8", "replace"))
        return
    console = Console()
    console.print(
        f"{report.added_files:,} files added, {report.changed_files:,} replaced, {report.removed_files:,} removed, "
        f"{report.unchanged_files:,} unchanged, {report.skipped_files:,} skipped; {report.embedded_units:,} units "
        f"embedded, {report.reused_units:,} known already; {report.seconds:.1f} s",
        highlight=False,
    )
    if report.moved_files:
        console.print(f"{report.moved_files:,} of the removed files were moved or renamed", highlight=False)
    print_failures([describe_failure(failure) for failure in failed], messages)
    if report.known_failures:
        messages.print(
            f"{report.known_failures:,} of these were not tried again, because nothing has changed; "
            "--retry-failed does so",
            soft_wrap=True,
        )
    print_skipped(report.skipped, report.hidden_files, folder.absolute(), messages)


def show_statistics(store: StoreArgument, json: JsonOption = False) -> None:
    """Shows what an index holds, which model it belongs to, and how much room it takes."""
    messages = Console(stderr=True)
    with explain_errors(messages):
        from qwen3_vl_retrieval.cli.tables import print_failures
        from qwen3_vl_retrieval.index.store.store import Store, measure_store

        with Store.open(store) as opened:
            statistics = measure_store(opened)
    if json:
        values = {name: getattr(statistics, name) for name in statistics.__slots__}
        values |= {"folder": encode_path(statistics.folder), "fingerprint": statistics.fingerprint.to_dict()}
        typer.echo(json_format.dumps(values, ensure_ascii=False, indent=2).encode("utf-8", "replace"))
        return
    table = Table(show_header=False, border_style="dim")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("units", f"{statistics.units:,}")
    for media_type, count in statistics.units_by_media_type.items():
        table.add_row(f"  {media_type}", f"{count:,}")
    table.add_row("files", f"{statistics.files:,}")
    for name, value in statistics.fingerprint.to_dict().items():
        table.add_row(name.replace("_", " "), Text(clean_text(str(value))))
    table.add_row("short dimensions", f"{statistics.short_dimensions:,}")
    table.add_row("kept as", statistics.precision)
    if statistics.retired_units:
        kept = f"{statistics.retired_units:,} units, {statistics.retired_bytes / 1e6:,.1f} MB"
        table.add_row("kept for a while", f"{kept}; qwen3vl compact ends that")
    if statistics.free_bytes:
        table.add_row("free for new vectors", f"{statistics.free_bytes / 1e6:,.1f} MB")
    total = sum(statistics.bytes_by_part.values())
    table.add_row("on the disk", f"{total / 1e6:,.1f} MB")
    for part, size in statistics.bytes_by_part.items():
        table.add_row(f"  {part}", f"{size / 1e6:,.1f} MB")
    Console().print(table)
    print_failures(statistics.failures, messages)


def delete_units(
    store: StoreArgument,
    where: Annotated[
        dict[str, Any],
        typer.Option(
            "--where",
            parser=parse_filter,
            metavar="JSON",
            help='A filter as JSON: {"source": "/docs/old.pdf"}, {"page": {"$gte": 3}}, {"media_type": "video"}.',
        ),
    ],
) -> None:
    """Removes the units that meet a filter."""
    with explain_errors(Console(stderr=True)):
        from qwen3_vl_retrieval.index.store.filters import compile_filter
        from qwen3_vl_retrieval.index.store.store import Store

        compiled = compile_filter(where)
        with Store.open(store) as opened, opened.write():
            removed = opened.remove_where(compiled)
    Console().print(f"{removed:,} units removed", highlight=False)


def repair_index(store: StoreArgument) -> None:
    """Builds the collection of a corrupt index again from its catalog and vectors; needs no model.

    Values of metadata that can neither be searched nor shown (infinity, NaN) are taken out, and named. Of a folder of
    Chroma (a persist_directory of LangChain, a persist_dir of LlamaIndex) it makes the log readable.
    """
    if not StoreLayout(store).exists() and is_chroma_folder(store):
        _repair_chroma(store)
        return
    messages = Console(stderr=True)
    with explain_errors(messages):
        from qwen3_vl_retrieval.index.store.store import Store

        with Store.open(store) as opened:
            mended = opened.mend_metadata()
            count = opened.repair()
    if mended:
        messages.print("values of metadata that were taken out:", style="bold yellow")
        for line in mended:
            messages.print(Text(f"  {clean_text(line)}"), soft_wrap=True)
    Console().print(f"{count:,} units are in the collection again", highlight=False)


def compact_index(store: StoreArgument) -> None:
    """Gives back the room of what was deleted, and of vectors that are kept for a while; needs no model."""
    with explain_errors(Console(stderr=True)):
        from qwen3_vl_retrieval.index.store.store import Store

        with Store.open(store) as opened:
            report = opened.compact()
    Console().print(
        f"{report.bytes_before / 1e6:,.1f} MB before, {report.bytes_after / 1e6:,.1f} MB after; {report.units:,} units "
        f"stay, {report.retired_units:,} that were kept for a while are gone, and {report.media_files:,} kept images",
        highlight=False,
        soft_wrap=True,
    )


def _repair_chroma(folder: Path) -> None:
    with explain_errors(Console(stderr=True)):
        repaired = ChromaDirectory(folder).repair()
    for row in repaired:
        shown = clean_text(f"{row.collection}, {row.id}: without {', '.join(row.lost)}")
        Console().print(Text(f"  {shown}"), soft_wrap=True)
    Console().print(f"{len(repaired):,} rows of the log can be read again", highlight=False)


def export_units(
    store: StoreArgument,
    path: Annotated[Path, typer.Argument(dir_okay=False, help="Parquet file to write.")],
) -> None:
    """Writes ids, metadata, texts and full vectors to a Parquet file, to be taken to another store."""
    with explain_errors(Console(stderr=True)):
        from qwen3_vl_retrieval.index.store.parquet import export_store
        from qwen3_vl_retrieval.index.store.store import Store

        with Store.open(store) as opened:
            count = export_store(opened, path)
    Console().print(f"{count:,} units written to {show_path(path)}", highlight=False, soft_wrap=True)


@contextmanager
def explain_errors(messages: Console, *, interrupted: str = "Interrupted.") -> Generator[None, None, None]:
    """Says an error in one line: status 1 for models, engines and stores, 2 for what was asked, 130 for Ctrl-C.

    Args:
        messages: Where it is said.
        interrupted: What is said after Ctrl-C.
    """
    try:
        yield
    except (ModelError, RemoteError, StoreError) as error:
        messages.print(Text(f"Error: {clean_text(name_options(str(error)))}", style="red"), soft_wrap=True)
        raise typer.Exit(1) from None
    except (InputError, ValueError) as error:
        raise typer.BadParameter(name_options(str(error))) from None
    except KeyboardInterrupt:
        messages.print(Text(interrupted, style="yellow"), soft_wrap=True)
        raise typer.Exit(_INTERRUPTED_STATUS) from None
