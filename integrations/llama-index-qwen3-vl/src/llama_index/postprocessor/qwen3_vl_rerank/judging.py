"""Nodes in the order of how well they answer: what is to be judged, what becomes of what cannot be, and the order.

How to wait for the model is left to who asks; everything else is said once here.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index.embeddings.qwen3_vl.models import takes_options
from llama_index.embeddings.qwen3_vl.nodes import build_node_item, read_caption
from llama_index.embeddings.qwen3_vl.queries import build_query_item
from llama_index.embeddings.qwen3_vl.sources import Item
from qwen3_vl_retrieval import InputError, MediaPolicy, Reranker

__all__ = [
    "Judged",
    "Judging",
    "OnError",
    "Outcomes",
    "Request",
    "advance",
    "judge_nodes",
    "list_options",
    "order_margins",
    "score",
    "to_outcomes",
]

_LOGGER = logging.getLogger(__name__)

OnError: TypeAlias = Literal["raise", "text", "drop"]
"""What becomes of a node whose media cannot be read."""

Outcomes: TypeAlias = "list[float | InputError]"
"""Of each document its log-odds, its probability where the reranker gives no more, or why it cannot be judged."""


class Request(NamedTuple):
    """What is to be judged next."""

    query: Item
    items: list[Item]


class Judged(NamedTuple):
    """A node's place in the input, and its probability."""

    place: int
    score: float


Judging: TypeAlias = "Generator[Request, Outcomes, dict[int, float]]"
"""Asks for what is to be judged, once or twice, and returns what came of it by place."""


def judge_nodes(
    nodes: Sequence[NodeWithScore],
    query: QueryBundle,
    *,
    on_error: OnError,
    media_policy: MediaPolicy | None,
    render_pages: bool = True,
) -> Judging:
    """Returns what asks for judgements, and in the end has the log-odds, or probability, of each node by its place.

    Args:
        nodes: Of any type.
        query: Of text, pictures and clips.
        on_error: See `Qwen3VLRerank`.
        media_policy: What may be opened of pages, and how much data is decoded.
        render_pages: As in `qwen3_vl_retrieval.index.build_item`.

    Raises:
        InputError: The query, or with `on_error="raise"` a node, cannot be judged.
    """
    if not nodes:
        return {}
    question = build_query_item(query, media_policy=media_policy)
    items, failed = _build_items(nodes, on_error, media_policy, render_pages=render_pages)
    outcomes: Outcomes = (yield Request(question, list(items.values()))) if items else []
    margins = _sort_out(items, outcomes, failed)
    texts = _find_texts(nodes, failed) if on_error == "text" else {}
    if texts:
        for place in texts:
            _LOGGER.warning("a node was judged by its text alone: %s", failed.pop(place).at(place, role="node"))
        margins |= _sort_out(texts, (yield Request(question, list(texts.values()))), failed)
    for place, error in sorted(failed.items()):
        _LOGGER.warning("a node was left out: %s", error.at(place, role="node"))
    return margins


def advance(judging: Judging, outcomes: Outcomes | None) -> tuple[Request | None, dict[int, float]]:
    """Returns the next request, or `None` and what came of it: `StopIteration` must not pass through a future."""
    try:
        return (next(judging) if outcomes is None else judging.send(outcomes)), {}
    except StopIteration as stop:
        return None, stop.value


def score(reranker: Reranker, request: Request, *, instruction: str | None, on_error: OnError) -> Outcomes:
    """Returns the log-odds of each document of a request, or why it cannot be judged.

    A reranker that takes no options gives probabilities.

    Raises:
        InputError: The query, or with `on_error="raise"` a document, cannot be judged.
    """
    if not takes_options(reranker):
        return _score_plainly(reranker, request, is_lenient=on_error != "raise")
    core: Any = reranker
    return to_outcomes(core.score(request.query, request.items, **list_options(instruction, on_error)))


def list_options(instruction: str | None, on_error: OnError) -> dict[str, Any]:
    """Returns what is passed with each call to a reranker of the core."""
    return {
        "instruction": instruction,
        "output": "margin",
        "on_error": "raise" if on_error == "raise" else "return",
    }


def to_outcomes(values: Sequence[Any] | npt.NDArray[Any]) -> Outcomes:
    """Returns scores of the core as Python's numbers."""
    return [value if isinstance(value, InputError) else float(value) for value in values]


def order_margins(margins: dict[int, float], *, is_margin: bool, threshold: float | None, top_n: int) -> list[Judged]:
    """Returns places and probabilities, best first; equal ones keep their order.

    Args:
        margins: By place: log-odds, which tell nodes apart whose probabilities round to 1.
        is_margin: Whether they are that, or probabilities already.
        threshold: Lowest probability.
        top_n: At most so many.
    """
    places = sorted(margins, key=lambda place: (-margins[place], place))
    values = np.array([margins[place] for place in places], dtype=np.float32)
    scores = _compute_probabilities(values) if is_margin else values
    judged = [Judged(place, float(probability)) for place, probability in zip(places, scores, strict=True)]
    return [entry for entry in judged if threshold is None or entry.score >= threshold][:top_n]


def _build_items(
    nodes: Sequence[NodeWithScore], on_error: OnError, media_policy: MediaPolicy | None, *, render_pages: bool
) -> tuple[dict[int, Item], dict[int, InputError]]:
    items: dict[int, Item] = {}
    failed: dict[int, InputError] = {}
    for place, node in enumerate(nodes):
        try:
            items[place] = build_node_item(node, media_policy=media_policy, render_pages=render_pages)
        except InputError as error:
            if on_error == "raise":
                raise error.at(place, role="node") from error
            failed[place] = error
    return items, failed


def _sort_out(items: dict[int, Item], outcomes: Outcomes, failed: dict[int, InputError]) -> dict[int, float]:
    """The scores by place; errors go to `failed`."""
    margins: dict[int, float] = {}
    for place, outcome in zip(items, outcomes, strict=True):
        if isinstance(outcome, InputError):
            failed[place] = outcome
        else:
            margins[place] = outcome
    return margins


def _find_texts(nodes: Sequence[NodeWithScore], failed: dict[int, InputError]) -> dict[int, Any]:
    """The captions of nodes that cannot be judged by what they show."""
    texts = {place: read_caption(nodes[place]) for place in sorted(failed)}
    return {place: text for place, text in texts.items() if text.strip()}


def _score_plainly(reranker: Reranker, request: Request, *, is_lenient: bool) -> Outcomes:
    """Of a reranker that takes no options, and stops at the first bad document: without it, again."""
    failed: dict[int, InputError] = {}
    while True:
        pending = [place for place in range(len(request.items)) if place not in failed]
        items = [request.items[place] for place in pending]
        try:
            scores: Sequence[Any] | npt.NDArray[Any] = reranker.score(request.query, items) if items else ()
        except InputError as error:
            if not is_lenient or error.index is None or error.role == "query":
                raise
            failed[pending[error.index]] = error
        else:
            judged = dict(zip(pending, to_outcomes(scores), strict=True))
            return [failed[place] if place in failed else judged[place] for place in range(len(request.items))]


def _compute_probabilities(margins: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """1 / (1 + exp(-margin)), as the core has it, without overflow for large margins."""
    decay = np.exp(-np.abs(margins))
    return np.where(margins >= 0, 1 / (1 + decay), decay / (1 + decay)).astype(np.float32)
