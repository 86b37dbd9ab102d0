"""`qwen3vl load`: the units of a run in an index, or in a table or collection of another store."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from qwen3_vl_retrieval.cli.embed import SourceRequest, parse_storage_option, read_key
from qwen3_vl_retrieval.cli.noise import keep_noise_out
from qwen3_vl_retrieval.cli.options import JsonOption
from qwen3_vl_retrieval.cli.stores import explain_errors
from qwen3_vl_retrieval.jobs.filesystems import find_local_path, is_download

if TYPE_CHECKING:
    from qwen3_vl_retrieval.jobs import Sink

__all__ = ["load_units"]

_INTERRUPTED = "Interrupted. What was entered stays; run the same command again to go on."

_STORES = {
    "lancedb": "lancedb",
    "postgresql": "postgres",
    "postgres": "postgres",
    "qdrant": "qdrant",
    "milvus": "milvus",
    "chroma": "chroma",
}
"""The store that a URL names, by its scheme."""

_WITH_KEY = ("qdrant", "milvus")


def load_units(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder or URL of a run (see qwen3vl embed).")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            help="Folder of an index, lancedb://FOLDER, postgresql://USER@HOST/DATABASE, qdrant://HOST:PORT, "
            "milvus://HOST:PORT, a file NAME.db of Milvus Lite, or chroma://HOST:PORT.",
        ),
    ],
    table: Annotated[
        str | None, typer.Option("--table", "--collection", metavar="NAME", help="Table that holds the units.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="STORE",
            help="What the address in --to is of, where it does not say so: qdrant, milvus or chroma; also qdrant or "
            "lancedb for a folder.",
        ),
    ] = None,
    dimensions: Annotated[
        int | None,
        typer.Option("--dimensions", min=32, help="Length to which vectors are cut.  [default: that of the run]"),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="FORMAT",
            help="Number format of a store that is made: float32, float16, int8 or binary, where it has them.",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file", exists=True, dir_okay=False, help="File with the key that Qdrant or Milvus asks for."
        ),
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
    with keep_noise_out() as messages, explain_errors(messages, interrupted=_INTERRUPTED):
        from qwen3_vl_retrieval.jobs.loading import load_run

        chosen = _choose_store(to, store)
        sink = _build_sink(chosen, to, table, precision=precision, api_key=read_key(api_key_file))
        with _show_progress(messages) as on_progress:
            report = load_run(
                run,
                sink,
                dimensions=dimensions,
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


def _choose_store(to: str, store: str | None) -> str:
    """Which store `--to` and `--store` name."""
    if store is not None and store not in _STORES.values():
        known = ", ".join(dict.fromkeys(_STORES.values()))
        raise typer.BadParameter(f"--store {store!r} is unknown; give one of {known}")
    scheme, sign, _ = to.partition("://")
    named = _STORES.get(scheme.lower()) if sign else None
    if named is not None:
        if store not in (None, named):
            raise typer.BadParameter(f"--store {store!r} contradicts --to {to!r}; leave one of them out")
        return named
    if store is not None:
        return store
    path = find_local_path(to)
    if path is not None:
        return "milvus" if path.suffix == ".db" else "index"
    if is_download(to):
        raise typer.BadParameter(
            f"--to {to!r} is the address of a server; say by --store which: qdrant, milvus or chroma"
        )
    raise typer.BadParameter(
        f"--to {to!r} is of a store that is not loaded into; give the folder of an index, or a URL of "
        f"{', '.join(f'{known}://' for known in _STORES)}"
    )


def _build_sink(store: str, to: str, table: str | None, *, precision: Any, api_key: str | None) -> Sink:
    from qwen3_vl_retrieval.jobs import ChromaSink, IndexSink, LanceDbSink, MilvusSink, PostgresSink, QdrantSink

    if api_key is not None and store not in _WITH_KEY:
        raise typer.BadParameter(f"--api-key-file is for {' and '.join(_WITH_KEY)}; leave it out")
    if store == "index":
        if table is not None:
            raise typer.BadParameter("an index has no tables; leave --table out")
        return IndexSink(find_local_path(to) or to, precision=precision)
    if table is None:
        raise typer.BadParameter("--table names the table or collection that holds the units; give one")
    match store:
        case "lancedb":
            return LanceDbSink(to.removeprefix("lancedb://"), table=table, precision=precision)
        case "postgres":
            return PostgresSink(to, table=table, precision=precision)
        case "qdrant":
            return QdrantSink(to, collection=table, precision=precision, api_key=api_key)
        case "milvus":
            return MilvusSink(to, collection=table, precision=precision, api_key=api_key)
        case _:
            return ChromaSink(to, collection=table, precision=precision)


@contextmanager
def _show_progress(console: Console) -> Generator[Callable[[int, int], None], None, None]:
    """Yields a callback that moves a bar over the units; nothing is drawn where nobody watches."""
    columns = (SpinnerColumn(), TextColumn("loading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("loading", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)
