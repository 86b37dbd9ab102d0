"""Tables of what was found and of what could not be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from qwen3_vl_retrieval.cli.limits import name_options
from qwen3_vl_retrieval.cli.report import SearchReport
from qwen3_vl_retrieval.cli.thumbnails import COLUMNS, draw_thumbnail
from qwen3_vl_retrieval.documents.files import SkippedFile
from qwen3_vl_retrieval.documents.labels import clean_text, describe_place
from qwen3_vl_retrieval.index.results.failures import FailedFile, Found
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.paths import show_path

__all__ = ["begin_table", "draw_relevance", "name_failure", "print_failures", "print_results", "print_skipped"]

_EXCERPT_CELLS = 90

_MOST_GROUPS = 12
_EXAMPLES = 3


def print_results(report: SearchReport, console: Console, policy: MediaPolicy) -> None:
    """Prints the results as a table, with thumbnails where `console` shows colours, and a line of counts."""
    if report.results:
        console.print(_build_table(report, console, policy))
    else:
        console.print("Nothing to rank: the folder holds no file that could be read.")
    console.print(_describe_counts(report), style="dim", markup=False, highlight=False)


def print_failures(report: SearchReport, console: Console) -> None:
    """Prints what could not be read, one line each; nothing if all could be."""
    if not report.failures:
        return
    counted = (
        "1 file or part of a file" if len(report.failures) == 1 else f"{len(report.failures)} files or parts of files"
    )
    console.print(f"{counted} could not be read and took no part:", style="bold yellow", highlight=False)
    for failure in report.failures:
        line = Text("  ")
        line.append(name_failure(failure, report.folder), style="bold")
        line.append(f"  {clean_text(name_options(failure.error.reason))}")
        console.print(line, soft_wrap=True)


def print_skipped(skipped: Sequence[SkippedFile], hidden: int, folder: Path, console: Console) -> None:
    """Prints what was skipped, grouped by reason and suffix with a few names each; nothing if that is nothing."""
    if not skipped and not hidden:
        return
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in skipped:
        suffix = one.path.suffix.lower() if one.path.suffix else "(none)"
        suffix = suffix if one.reason == "unknown suffix" else ""
        groups[one.reason, suffix].append(clean_text(one.path.relative_to(folder).as_posix()))
    console.print("Skipped:", style="bold", highlight=False)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    for (reason, suffix), names in ordered[:_MOST_GROUPS]:
        line = Text(f"  {len(names):,}  ")
        line.append(
            f"{reason} {suffix if suffix else '(none)'}" if reason == "unknown suffix" else reason, style="bold"
        )
        line.append(f"  {', '.join(names[:_EXAMPLES])}{', …' if len(names) > _EXAMPLES else ''}", style="dim")
        console.print(line, soft_wrap=True)
    others = sum(len(names) for _, names in ordered[_MOST_GROUPS:])
    if others:
        console.print(f"  {others:,}  of other kinds; all are listed with --json", highlight=False)
    if hidden:
        console.print(f"  {hidden:,}  hidden: names that begin with a dot", highlight=False)


def begin_table(*, is_coloured: bool, is_reranked: bool) -> Table:
    """Returns a table for results, without rows; with thumbnails it has lines between them."""
    table = Table(show_lines=is_coloured, header_style="bold", border_style="dim")
    table.add_column("#", justify="right")
    table.add_column("", width=COLUMNS if is_coloured else None, no_wrap=True)
    table.add_column("Found", overflow="fold", ratio=1)
    table.add_column("Where", no_wrap=True)
    table.add_column("Similarity", justify="right", no_wrap=True)
    if is_reranked:
        table.add_column("Relevance", justify="right", no_wrap=True)
    return table


def draw_relevance(score: float) -> Text:
    """Returns a probability, marked where it says yes."""
    return Text(f"{score:.3f}", style="bold green" if score >= 0.5 else "default")


def _build_table(report: SearchReport, console: Console, policy: MediaPolicy) -> Table:
    is_coloured = console.color_system is not None
    table = begin_table(is_coloured=is_coloured, is_reranked=report.reranker is not None)
    for found in report.results:
        preview = draw_thumbnail(found.unit, policy) if is_coloured else Text(found.unit.media_type)
        row = [
            Text(str(found.rank)),
            preview,
            _describe_found(found, report.folder),
            Text(describe_place(found.unit)),
            Text(f"{found.similarity_score:.3f}"),
        ]
        if found.relevance_score is not None:
            row.append(draw_relevance(found.relevance_score))
        table.add_row(*row)
    return table


def _describe_found(found: Found, folder: Path) -> Text:
    described = Text(show_path(found.unit.source.relative_to(folder)), style="bold")
    if found.unit.text is not None:
        excerpt = Text(clean_text(found.unit.text), style="not bold dim")
        excerpt.truncate(_EXCERPT_CELLS, overflow="ellipsis")
        described.append("\n").append_text(excerpt)
    return described


def name_failure(failure: FailedFile, folder: Path) -> str:
    """Returns which file, and which page or window of it, could not be read."""
    name = show_path(failure.path.relative_to(folder))
    place = "" if failure.unit is None else describe_place(failure.unit)
    return f"{name}, {place}" if place else name


def _describe_counts(report: SearchReport) -> str:
    seconds = sum(report.seconds.values())
    return (
        f"{report.ranked_files} of {report.files} files ranked ({report.units} units), {len(report.skipped)} skipped; "
        f"{seconds:.1f} s"
    )
