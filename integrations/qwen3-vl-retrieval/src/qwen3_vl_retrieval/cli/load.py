"""`qwen3vl load`: the units of a run in an index, or in a table of LanceDB or Postgres."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from qwen3_vl_retrieval.cli.embed import SourceRequest, parse_storage_option
from qwen3_vl_retrieval.cli.noise import keep_noise_out
from qwen3_vl_retrieval.cli.options import JsonOption
from qwen3_vl_retrieval.cli.stores import explain_errors
from qwen3_vl_retrieval.jobs.filesystems import find_local_path

if TYPE_CHECKING:
    from qwen3_vl_retrieval.jobs import Sink

__all__ = ["load_units"]

_INTERRUPTED = "Interrupted. What was entered stays; run the same command again to go on."

_LANCEDB = "lancedb://"

_POSTGRES = ("postgresql://", "postgres://")


def load_units(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder or URL of a run (see qwen3vl embed).")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            help="Folder of an index, lancedb://FOLDER or postgresql://USER@HOST/DATABASE.",
        ),
    ],
    table: Annotated[
        str | None, typer.Option("--table", "--collection", metavar="NAME", help="Table that holds the units.")
    ] = None,
    batch_rows: Annotated[int, typer.Option("--batch-rows", min=1, help="Rows that are sent together.")] = 500,
    storage_options: Annotated[
        list[str] | None,
        typer.Option(
            "--storage-option",
            parser=parse_storage_option,
            metavar="KEY=VALUE",
            help="Option of the file system of RUN. Repeat it for more.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Makes a store hold the units of a run; run it again after the run has changed, or after an interruption."""
    sink = _choose_sink(to, table)
    with keep_noise_out() as messages, explain_errors(messages, interrupted=_INTERRUPTED):
        from qwen3_vl_retrieval.jobs.loading import load_run

        with _show_progress(messages) as on_progress:
            report = load_run(
                run,
                sink,
                batch_rows=batch_rows,
                storage_options=SourceRequest(storage_options=storage_options).read_storage_options(),
                on_progress=on_progress,
            )
    if json:
        typer.echo(json_format.dumps(asdict(report), indent=2))
        return
    Console().print(
        f"{report.units:,} units: {report.entered_units:,} entered, {report.removed_units:,} removed; vectors of "
        f"{report.compared_units:,} asked for again, and the same; {report.seconds:.1f} s",
        highlight=False,
        soft_wrap=True,
    )


def _choose_sink(to: str, table: str | None) -> Sink:
    from qwen3_vl_retrieval.jobs import IndexSink, LanceDbSink, PostgresSink

    if to.startswith((_LANCEDB, *_POSTGRES)):
        if table is None:
            raise typer.BadParameter("--table names the table that holds the units; give one")
        if to.startswith(_LANCEDB):
            return LanceDbSink(to.removeprefix(_LANCEDB), table=table)
        return PostgresSink(to, table=table)
    folder = find_local_path(to)
    if folder is None:
        raise typer.BadParameter(
            f"--to {to!r} is of a store that is not loaded into; give the folder of an index, lancedb://FOLDER, or "
            "postgresql://USER@HOST/DATABASE"
        )
    if table is not None:
        raise typer.BadParameter("an index has no tables; leave --table out")
    return IndexSink(folder)


@contextmanager
def _show_progress(console: Console) -> Generator[Callable[[int, int], None], None, None]:
    """Yields a callback that moves a bar over the units; nothing is drawn where nobody watches."""
    columns = (SpinnerColumn(), TextColumn("loading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("loading", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)
