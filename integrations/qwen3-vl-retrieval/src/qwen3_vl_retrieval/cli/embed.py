"""`qwen3vl embed`: a source of any size embedded into the parts of a run, on one device or many; and how far it is."""

from __future__ import annotations

import json as json_format
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qwen3_vl_retrieval.cli.limits import Limits
from qwen3_vl_retrieval.cli.noise import keep_noise_out
from qwen3_vl_retrieval.cli.options import DEFAULT_EMBEDDER, ExcludeOption, JsonOption, LoadingOptions, expand_options
from qwen3_vl_retrieval.cli.speech import SpeechOptions
from qwen3_vl_retrieval.cli.stores import explain_errors
from qwen3_vl_retrieval.documents.labels import clean_text
from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.jobs.executor import STALL_SECONDS
from qwen3_vl_retrieval.jobs.filesystems import find_local_path
from qwen3_vl_retrieval.media.policy import MediaPolicy

if TYPE_CHECKING:
    from qwen3_vl_retrieval.jobs import RunReport, RunStatus

__all__ = ["SourceRequest", "WorkerOptions", "embed_files", "parse_storage_option", "read_key"]

_EXTRA = ("fsspec", "pyarrow")

_INTERRUPTED = "Interrupted. What was finished stays; run the same command again to go on."

_INCOMPLETE_STATUS = 3
"""Something is missing that is not named as a failure."""

_SHOWN_MISSING = 20


def parse_storage_option(text: str) -> str:
    """Returns `KEY=VALUE` as it is, a usage error if it is something else."""
    key, sign, _ = text.partition("=")
    if not sign or not key.strip():
        raise typer.BadParameter(f"{text!r} is not understood; give KEY=VALUE, such as endpoint_url=http://host:9000")
    return text


def read_key(file: Path | None) -> str | None:
    """Returns the key in a file of `--api-key-file`; `None` without one.

    Raises:
        ValueError: The file holds none.
    """
    if file is None:
        return None
    lines = file.read_text(encoding="utf-8").split()
    if not lines:
        raise ValueError(f"the file {str(file)!r} of --api-key-file holds no key; write it on one line")
    return lines[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Where shards are embedded.

    Attributes:
        workers: Processes, or actors; `None` is one for each GPU, or for each engine elsewhere.
        executor: Who places them.
        address: The cluster.
        base_urls: Engines elsewhere.
        api_key_file: Holds the key that they ask for.
        stall_seconds: After so long without a sign of life a worker is replaced.
    """

    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Processes that embed, or actors on a cluster.  [default: one for each GPU or --base-url]",
            show_default=False,
        ),
    ] = None
    executor: Annotated[
        str, typer.Option("--executor", help="process: processes of this machine; ray: actors of a Ray cluster.")
    ] = "process"
    address: Annotated[
        str | None, typer.Option("--address", help="Address of the Ray cluster.  [default: one that is started here]")
    ] = None
    base_urls: Annotated[
        list[str] | None,
        typer.Option(
            "--base-url",
            metavar="URL",
            help="Engine elsewhere (vLLM, qwen3vl serve) that computes; files are read here. Repeat it for more.",
        ),
    ] = None
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", exists=True, dir_okay=False, help="File with the key that engines ask for."),
    ] = None
    stall_seconds: Annotated[
        float,
        typer.Option(
            "--stall-seconds",
            min=1,
            help="A worker that neither reads a file nor embeds anything for so long is ended and replaced.",
        ),
    ] = STALL_SECONDS

    def __post_init__(self) -> None:
        """Raises a usage error for what contradicts itself."""
        if self.executor not in ("process", "ray"):
            raise typer.BadParameter(f"--executor {self.executor!r} is unknown; give process or ray")
        if self.address is not None and self.executor != "ray":
            raise typer.BadParameter("--address names a Ray cluster; add --executor ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRequest:
    """How a source and a run are found and opened, beside their limits.

    Attributes:
        is_list: Whether the source names the files.
        allow_hosts: Hosts that may be downloaded from.
        allow_private_addresses: Whether they may be on a private network.
        storage_options: Options of object stores.
        exclude: Patterns of files to leave out.
    """

    is_list: Annotated[
        bool, typer.Option("--list", help="SOURCE is a list: a path or URL a line. One that is downloaded always is.")
    ] = False
    allow_hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="HOST",
            help="Host that may be downloaded from: example.org, .example.org. Repeat it for more.",
        ),
    ] = None
    allow_private_addresses: Annotated[
        bool, typer.Option("--allow-private-addresses", help="Let hosts be on a private network, or this machine.")
    ] = False
    storage_options: Annotated[
        list[str] | None,
        typer.Option(
            "--storage-option",
            parser=parse_storage_option,
            metavar="KEY=VALUE",
            help="Option of the file system of an object store: endpoint_url=http://host:9000. Repeat it for more.",
        ),
    ] = None
    exclude: ExcludeOption = None

    def build_policy(self, limits: Limits, source: str) -> MediaPolicy:
        """Returns what may be opened and downloaded."""
        folder = None if self.is_list else find_local_path(source)
        # What links lead to outside of the folder is no part of it.
        allowed = (folder,) if folder is not None and folder.is_dir() else None
        hosts = tuple(self.allow_hosts or ())
        return replace(
            limits.build_policy(allow_dirs=allowed),
            allow_urls=bool(hosts),
            allow_hosts=hosts,
            allow_private_addresses=self.allow_private_addresses,
        )

    def read_storage_options(self) -> dict[str, Any]:
        """Returns the options of object stores by name."""
        pairs = (one.partition("=") for one in self.storage_options or ())
        return {key.strip(): value for key, _, value in pairs}


@expand_options
def embed_files(
    source: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE", help="Folder, file, URL of an object store (s3://…), or list of addresses."),
    ] = None,
    *,
    to: Annotated[str | None, typer.Option("--to", metavar="RUN", help="Folder or URL of the run.")] = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="RUN", help="Show how far a run is, and do nothing else.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help=f"Embedding model: hub id, folder or pocket.  [default: {DEFAULT_EMBEDDER}]"),
    ] = None,
    precision: Annotated[str, typer.Option(help="Number format of vectors: float32 or float16.")] = "float32",
    shard_units: Annotated[
        int | None,
        typer.Option(min=1, help="Units of a shard, roughly.  [default: as in the run, or 512]", show_default=False),
    ] = None,
    window_seconds: Annotated[float, typer.Option(min=0.1, help="Length of a window of a video.")] = 30.0,
    overlap_seconds: Annotated[float, typer.Option(min=0.0, help="What a window shares with the one before.")] = 5.0,
    cut_at_scenes: Annotated[
        bool, typer.Option("--cut-at-scenes", help="Let windows end where the image changes.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed and would fail again.")
    ] = False,
    json: JsonOption = False,
    request: SourceRequest,
    work: WorkerOptions,
    speech: SpeechOptions,
    loading: LoadingOptions,
    limits: Limits,
) -> None:
    """Embeds all that SOURCE holds into Parquet files; run it again to go on, after changes or an interruption.

    Status 0: every unit is there, or named as a failure. Status 3: something is missing.
    """
    if status is not None:
        _show_status(status, source, to, request, json=json)
        return
    if source is None or to is None:
        raise typer.BadParameter("give SOURCE and --to RUN, or --status RUN")
    if loading.profile:
        raise typer.BadParameter("--profile counts what one model of this process does; it is an option of index")
    with keep_noise_out() as messages, explain_errors(messages, interrupted=_INTERRUPTED):
        _require_extra()
        from qwen3_vl_retrieval.cli.embedding_session import embed_into
        from qwen3_vl_retrieval.jobs.reading import ReadingOptions

        report = embed_into(
            source,
            to,
            model,
            loading,
            messages,
            request=request,
            work=work,
            policy=request.build_policy(limits, source),
            reading=ReadingOptions(
                window_seconds=window_seconds,
                overlap_seconds=overlap_seconds,
                cut_at_scenes=cut_at_scenes,
                asr=speech.build_transcriber(),
            ),
            precision=precision,
            shard_units=shard_units,
            retry_failed=retry_failed,
        )
    if json:
        typer.echo(json_format.dumps(report.to_dict(), ensure_ascii=False, indent=2).encode("utf-8", "replace"))
    else:
        _print_report(report, messages)
    if not report.is_complete:
        raise typer.Exit(_INCOMPLETE_STATUS)


def _show_status(status: str, source: str | None, to: str | None, request: SourceRequest, *, json: bool) -> None:
    if source is not None or to is not None:
        raise typer.BadParameter("--status takes the run and nothing else; leave SOURCE and --to out")
    messages = Console(stderr=True)
    with explain_errors(messages):
        _require_extra()
        from qwen3_vl_retrieval.jobs.status import read_status

        found = read_status(status, storage_options=request.read_storage_options())
    if json:
        typer.echo(json_format.dumps(found.to_dict(), ensure_ascii=False, indent=2).encode("utf-8", "replace"))
    else:
        _print_status(found, messages)


def _print_status(status: RunStatus, messages: Console) -> None:
    from qwen3_vl_retrieval.cli.tables import print_failures

    table = Table(show_header=False, border_style="dim")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("state", status.state)
    table.add_row("source", Text(clean_text(status.source)))
    table.add_row("shards", f"{status.shards_done:,} of {status.shards_total:,}")
    table.add_row("files", f"{status.files_done:,} of {status.files_total:,}")
    table.add_row("units", f"{status.units:,}")
    table.add_row("rate", f"{status.units_per_second:,.1f} units/s")
    if status.seconds_left is not None:
        table.add_row("time left", _show_duration(status.seconds_left))
    table.add_row("failures", f"{len(status.failures):,}")
    if status.obsolete_parts:
        table.add_row("parts that count no longer", f"{len(status.obsolete_parts):,}")
    Console().print(table)
    print_failures([failure.describe() for failure in status.failures], messages)


def _print_report(report: RunReport, messages: Console) -> None:
    from qwen3_vl_retrieval.cli.tables import print_failures

    console = Console()
    shared = f" ({report.duplicate_units:,} more are in several shards)" if report.duplicate_units else ""
    same = f" ({report.duplicate_files:,} the same as another)" if report.duplicate_files else ""
    console.print(
        f"{report.units:,} units{shared} of {report.files:,} files{same} in {len(report.parts):,} parts; "
        f"{len(report.failures):,} failures, {len(report.skipped):,} skipped",
        highlight=False,
        soft_wrap=True,
    )
    cost = report.device_seconds_per_thousand
    if cost is not None:
        devices = "1 device" if report.device_count == 1 else f"{report.device_count:,} devices"
        console.print(
            f"{report.embedded_units:,} units embedded in {_show_duration(report.seconds)}: "
            f"{report.units_per_second:,.1f} units/s on {devices}, {cost:,.1f} device seconds per thousand units",
            highlight=False,
            soft_wrap=True,
        )
    if report.obsolete_parts:
        console.print(
            f"{len(report.obsolete_parts):,} parts count no longer: {', '.join(report.obsolete_parts[:3])}"
            f"{', …' if len(report.obsolete_parts) > len(report.obsolete_parts[:3]) else ''}",
            highlight=False,
            soft_wrap=True,
        )
    print_failures([failure.describe() for failure in report.failures], messages)
    if report.missing:
        messages.print(f"{len(report.missing):,} files are missing; run the same command again:", style="bold red")
        for name, reason in list(report.missing.items())[:_SHOWN_MISSING]:
            messages.print(Text(f"  {clean_text(name)}  {clean_text(reason)}"), soft_wrap=True)


def _show_duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


def _require_extra() -> None:
    for name in _EXTRA:
        if find_spec(name) is None:
            raise StoreError(f'{name} is not installed: pip install "qwen3-vl-retrieval[jobs]"')
