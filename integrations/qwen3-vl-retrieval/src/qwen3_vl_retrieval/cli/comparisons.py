"""Tables of both stages side by side, with the answer marked, and of the recall of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qwen3_vl_retrieval.cli.answers import AnsweredQuestion, compute_recall, describe_rank
from qwen3_vl_retrieval.documents.labels import clean_text, describe_place
from qwen3_vl_retrieval.index.results.hits import Hit

__all__ = ["print_comparison", "print_recall", "print_seconds"]

_ANSWER_STYLE = "bold green"
_MOST_COLUMNS = 100


def print_comparison(number: int, question: AnsweredQuestion, console: Console, *, shown: int) -> None:
    """Prints a question, and the first `shown` of either order."""
    asked = Text.assemble((f"{number}. {question.title}", "bold"), "\n   ", (clean_text(question.query), "italic"))
    if question.query_image is not None:
        asked.append(f"  + {clean_text(question.query_image.name)}", style="italic cyan")
    console.print()
    console.print(asked)
    width = min(console.width, _MOST_COLUMNS)
    table = Table(box=SIMPLE_HEAD, header_style="dim", pad_edge=False, show_edge=False, width=width)
    table.add_column("  #", justify="right")
    table.add_column("By vectors", ratio=1, overflow="fold")
    table.add_column("cosine", justify="right", no_wrap=True)
    table.add_column("After reranking", ratio=1, overflow="fold")
    table.add_column("probability", justify="right", no_wrap=True)
    rows = zip_longest(question.by_vectors[:shown], question.reranked[:shown])
    for place, (first, final) in enumerate(rows, start=1):
        table.add_row(
            Text(f"  {place}"),
            _describe_hit(first, question),
            "" if first is None else f"{first.similarity_score:.3f}",
            _describe_hit(final, question),
            _describe_relevance(final),
        )
    console.print(table)
    ranks = (describe_rank(question.first_rank), describe_rank(question.final_rank))
    console.print(Text(f"   the answer: {ranks[0]} by vectors, {ranks[1]} after reranking", style="dim"))


def print_recall(questions: Sequence[AnsweredQuestion], console: Console, *, depths: Sequence[int]) -> None:
    """Prints how many answers are among the first few, for each of `depths`, before and after reranking."""
    table = Table(header_style="bold", border_style="dim")
    table.add_column("")
    table.add_column("By vectors", justify="right")
    table.add_column("After reranking", justify="right")
    for depth in depths:
        recalls = [
            compute_recall(ranks, depth)
            for ranks in (
                [question.first_rank for question in questions],
                [question.final_rank for question in questions],
            )
        ]
        table.add_row(f"recall@{depth}", *(f"{recall:.0%} ({recall * len(questions):.0f})" for recall in recalls))
    console.print()
    console.print(table)


def print_seconds(seconds: Mapping[str, float], console: Console) -> None:
    """Prints how long each step took, in one line."""
    steps = ", ".join(f"{name} {duration:.1f} s" for name, duration in seconds.items())
    console.print(Text(f"{steps}; {sum(seconds.values()):.1f} s in all", style="dim"), soft_wrap=True)


def _describe_hit(hit: Hit | None, question: AnsweredQuestion) -> Text:
    if hit is None:
        return Text()
    place = describe_place(hit)
    name = clean_text(hit.unit.source.name)
    described = Text(f"{name}, {place}" if place else name)
    if question.is_answer(hit):
        described.append(" ✓")
        described.stylize(_ANSWER_STYLE)
    return described


def _describe_relevance(hit: Hit | None) -> str:
    return "" if hit is None or hit.relevance_score is None else f"{hit.relevance_score:.3f}"
