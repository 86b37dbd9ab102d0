"""Tables and JSON of what was found in an index."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.text import Text

from qwen3_vl_retrieval.cli.tables import begin_table, draw_relevance
from qwen3_vl_retrieval.cli.thumbnails import draw_picture
from qwen3_vl_retrieval.documents.labels import clean_text, cut_excerpt, describe_place
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.index.ingest.progress import describe_failure
from qwen3_vl_retrieval.index.results.hits import Hit
from qwen3_vl_retrieval.index.results.search_results import SearchResults
from qwen3_vl_retrieval.paths import show_path

__all__ = ["encode_hits", "print_hits"]

_EXCERPT_CHARACTERS = 90
_THUMBNAIL_PIXELS = 64


def print_hits(results: SearchResults, console: Console) -> None:
    """Prints the hits as a table, with thumbnails where `console` shows colours."""
    if not results:
        console.print("Nothing was found: the index holds nothing that meets the query and its filters.")
        return
    is_coloured = console.color_system is not None
    table = begin_table(is_coloured=is_coloured, is_reranked=results.is_reranked)
    for hit in results:
        row = [
            Text(str(hit.rank)),
            _draw_hit(hit) if is_coloured else Text(hit.media_type),
            _describe_hit(hit),
            Text(describe_place(hit)),
            Text(f"{hit.similarity_score:.3f}"),
        ]
        if hit.relevance_score is not None:
            row.append(draw_relevance(hit.relevance_score))
        table.add_row(*row)
    console.print(table)
    for failure in results.failures:
        console.print(Text(f"{show_path(failure.path)}  {clean_text(failure.error.reason)}", style="yellow"))


def encode_hits(results: SearchResults) -> str:
    """Returns the hits as JSON; times are in seconds."""
    document = {
        "results": [_describe_values(hit) for hit in results],
        "errors": [describe_failure(failure) for failure in results.failures],
        "timings": {name: round(seconds, 3) for name, seconds in results.seconds.items()},
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def _describe_values(hit: Hit) -> dict[str, Any]:
    names = ("rank", "id", "media_type", "source", "page", "start", "end", "similarity_score", "relevance_score")
    text = None if hit.text is None else cut_excerpt(hit.text, most_characters=300)
    return {
        **{name: getattr(hit, name) for name in names},
        "keyword_rank": hit.keyword_rank,
        "duplicates": list(hit.sources[1:]),
        "metadata": dict(hit.metadata),
        "text": text,
    }


def _draw_hit(hit: Hit) -> Text:
    try:
        return draw_picture(hit.thumbnail(side_pixels=_THUMBNAIL_PIXELS))
    except InputError:
        return Text("?", style="dim")


def _describe_hit(hit: Hit) -> Text:
    described = Text(clean_text(f"item {hit.id[:16]}") if hit.source is None else show_path(hit.source), style="bold")
    if hit.text is not None:
        described.append("\n").append(cut_excerpt(hit.text, most_characters=_EXCERPT_CHARACTERS), style="not bold dim")
    return described
