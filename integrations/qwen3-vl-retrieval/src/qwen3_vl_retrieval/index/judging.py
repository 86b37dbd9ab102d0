"""The second stage of a search: candidates judged by a reranker, one bad candidate never the others' loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.inputs import Item, Ranked, Reranker

__all__ = ["judge_documents"]


def judge_documents(
    reranker: Reranker, query: Item, documents: Sequence[Item], *, instruction: str | None = None
) -> list[Ranked | InputError]:
    """Returns the judgement of each document, or why there is none, in input order.

    Args:
        reranker: Judges.
        query: What is asked.
        documents: What was found.
        instruction: What makes a document relevant; only for rerankers that take one.

    Raises:
        InputError: The query cannot be judged.
    """
    options: dict[str, Any] = {} if instruction is None else {"instruction": instruction}
    judged: list[Ranked | InputError | None] = [None] * len(documents)
    left = list(range(len(documents)))
    while left:
        try:
            ranking = reranker.rank(query, [documents[place] for place in left], **options)
        except InputError as error:
            # All documents are read before any is judged, so that little is done twice.
            if error.role != "document" or error.index is None:
                raise
            judged[left.pop(error.index)] = error.at(None)
            continue
        for ranked in ranking:
            judged[left[ranked.index]] = ranked
        break
    return [one for one in judged if one is not None]
