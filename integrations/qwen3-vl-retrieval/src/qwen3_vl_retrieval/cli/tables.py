"""Results, and what could not be read, as tables and as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from qwen3_vl_retrieval.cli.limits import name_options, rename_failure
from qwen3_vl_retrieval.cli.options import SearchRequest
from qwen3_vl_retrieval.cli.thumbnails import COLUMNS, draw_thumbnail
from qwen3_vl_retrieval.documents.files import SkippedFile
from qwen3_vl_retrieval.documents.labels import clean_text, cut_excerpt, describe_place
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.explanations.explaining import describe_explanation
from qwen3_vl_retrieval.explanations.explanation import Explanation
from qwen3_vl_retrieval.index.ingest.progress import describe_failure
from qwen3_vl_retrieval.index.results.hits import Hit
from qwen3_vl_retrieval.paths import decode_path, encode_path, show_path

if TYPE_CHECKING:
    from qwen3_vl_retrieval.cli.models import Models
    from qwen3_vl_retrieval.cli.store_session import Search

__all__ = ["encode_search", "print_failures", "print_profile", "print_results", "print_skipped"]

_EXCERPT_CHARACTERS = 90
_JSON_EXCERPT_CHARACTERS = 300

_STEPS = ("loading", "indexing", "embedding", "finding", "reranking")
"""What takes time, in its order; not every search has every step."""

_MOST_FAILURES = 20
_MOST_GROUPS = 12
_EXAMPLES = 3


class _Place(NamedTuple):
    """Where in a file a failure is."""

    page: int | None
    start: float | None
    end: float | None


def print_results(search: Search, console: Console) -> None:
    """Prints the results as a table, with thumbnails where `console` shows colours, and a line of counts."""
    if search.results:
        console.print(_build_table(search, console))
    elif search.units:
        console.print("Nothing was found: nothing meets the query and its filters.")
    else:
        console.print("Nothing to rank: there is nothing that could be read.")
    seconds = sum(search.results.seconds.values())
    console.print(
        f"{search.ranked_files:,} of {search.files:,} files ranked ({search.units:,} units), "
        f"{len(search.skipped):,} skipped; {seconds:.1f} s",
        style="dim",
        markup=False,
        highlight=False,
    )


def print_failures(failures: Sequence[Mapping[str, Any]], console: Console, *, folder: Path | None = None) -> None:
    """Prints what could not be read, one line each, the first twenty of them; nothing if all could be.

    Args:
        failures: As `describe_failure` has them.
        console: Where to.
        folder: Files below it are named without it.
    """
    if not failures:
        return
    counted = "1 file or part of a file" if len(failures) == 1 else f"{len(failures):,} files or parts of files"
    console.print(f"{counted} could not be read:", style="bold yellow", highlight=False)
    for failure in failures[:_MOST_FAILURES]:
        place = describe_place(_Place(failure["page"], failure["start"], failure["end"]))
        name = show_path(_shorten_source(failure["source"], folder))
        line = Text("  ")
        line.append(f"{name}, {place}" if place else name, style="bold")
        line.append(f"  {clean_text(name_options(failure['message']))}")
        console.print(line, soft_wrap=True)
    if len(failures) > _MOST_FAILURES:
        console.print(f"  and {len(failures) - _MOST_FAILURES:,} more; all are listed with --json", highlight=False)


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


def print_profile(models: Models, console: Console) -> None:
    """Prints the counters of each model; the names are those of `EngineStatistics`, which describes them."""
    loaded = {"embedder": models.embedder.stats}
    if models.reranker is not None:
        loaded["reranker"] = models.reranker.stats
    table = Table("", *loaded, title="profile")
    for column in table.columns[1:]:
        column.justify = "right"
    for counter in fields(models.embedder.stats):
        values = [getattr(counts, counter.name) for counts in loaded.values()]
        shown = [f"{value:.2f}" if isinstance(value, float) else f"{value:,}" for value in values]
        table.add_row(counter.name, *shown)
    console.print(table)


def encode_search(
    search: Search, request: SearchRequest, explanations: Sequence[Explanation | InputError] | None = None
) -> str:
    """Returns a search as one JSON document; times are in seconds, and paths relative to a folder that was read."""
    failures = [describe_failure(rename_failure(failure)) for failure in search.results.failures]
    image = request.query_image
    results = [_describe_hit(hit, search.folder) for hit in search.results]
    if explanations is not None:
        for result, explanation in zip(results, explanations, strict=True):
            result["explanation"] = describe_explanation(explanation)
    document = {
        "query": {"text": request.query, "image": None if image is None else encode_path(image)},
        "models": {"embedding": search.embedder_name, "reranker": request.reranker_name},
        "counts": {
            "files": search.files,
            "units": search.units,
            "ranked_files": search.ranked_files,
            "failed": len(failures),
            "skipped": len(search.skipped),
            "hidden": search.hidden,
        },
        "results": results,
        "errors": [
            {**failure, "source": _shorten_source(str(failure["source"]), search.folder)} for failure in failures
        ],
        "skipped": [
            {"source": _shorten_source(encode_path(skipped.path), search.folder), "reason": skipped.reason}
            for skipped in search.skipped
        ],
        "timings": {f"{name}_seconds": round(search.results.seconds.get(name, 0.0), 3) for name in _STEPS},
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def _build_table(search: Search, console: Console) -> Table:
    is_coloured = console.color_system is not None
    table = Table(show_lines=is_coloured, header_style="bold", border_style="dim")
    table.add_column("#", justify="right")
    table.add_column("", width=COLUMNS if is_coloured else None, no_wrap=True)
    table.add_column("Found", overflow="fold", ratio=1)
    table.add_column("Where", no_wrap=True)
    table.add_column("Similarity", justify="right", no_wrap=True)
    if search.results.is_reranked:
        table.add_column("Relevance", justify="right", no_wrap=True)
    for hit in search.results:
        row = [
            Text(str(hit.rank)),
            draw_thumbnail(hit) if is_coloured else Text(hit.media_type),
            _name_hit(hit, search.folder),
            Text(describe_place(hit)),
            Text(f"{hit.similarity_score:.3f}"),
        ]
        if hit.relevance_score is not None:
            row.append(Text(f"{hit.relevance_score:.3f}", style="bold green" if hit.relevance_score >= 0.5 else ""))
        table.add_row(*row)
    return table


def _name_hit(hit: Hit, folder: Path | None) -> Text:
    named = clean_text(f"item {hit.id[:16]}") if hit.source is None else show_path(_shorten_source(hit.source, folder))
    described = Text(named, style="bold")
    if hit.text is not None:
        described.append("\n").append(cut_excerpt(hit.text, most_characters=_EXCERPT_CHARACTERS), style="not bold dim")
    return described


def _describe_hit(hit: Hit, folder: Path | None) -> dict[str, Any]:
    return {
        "rank": hit.rank,
        "id": hit.id,
        "media_type": hit.media_type,
        "source": None if hit.source is None else _shorten_source(hit.source, folder),
        "page": hit.page,
        "start": hit.start,
        "end": hit.end,
        "similarity_score": hit.similarity_score,
        "relevance_score": hit.relevance_score,
        "keyword_rank": hit.keyword_rank,
        "duplicates": [_shorten_source(source, folder) for source in hit.sources if source != hit.source],
        "metadata": dict(hit.metadata),
        "text": None if hit.text is None else cut_excerpt(hit.text, most_characters=_JSON_EXCERPT_CHARACTERS),
    }


def _shorten_source(source: str, folder: Path | None) -> str:
    """Returns the text of a path relative to `folder`, or as it is if it lies elsewhere."""
    if folder is None:
        return source
    path = decode_path(source)
    return encode_path(PurePosixPath(path.relative_to(folder).as_posix())) if path.is_relative_to(folder) else source
