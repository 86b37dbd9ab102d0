"""The second stage of a search: candidates judged by a reranker, one bad candidate never the others' loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.protocols import Ranked, Reranker

__all__ = ["find_media_cache", "judge_documents", "takes_pages"]


@runtime_checkable
class _CachingReranker(Protocol):
    """A reranker that keeps what its vision tower computed, as `Qwen3VLReranker` does."""

    def cache_media(self, documents: Sequence[Item]) -> object: ...


def find_media_cache(reranker: Reranker | None) -> Callable[[Sequence[Item]], object]:
    """Returns what computes a reranker's visual features of documents ahead of the queries.

    Raises:
        ValueError: There is no reranker, or it keeps none.
    """
    if isinstance(reranker, _CachingReranker):
        return reranker.cache_media
    given = "no reranker" if reranker is None else f"a {type(reranker).__name__}"
    raise ValueError(
        f"cache_media=True needs a reranker that keeps visual features, as Qwen3VLReranker does; this index has "
        f"{given}: open it with one, or leave cache_media out"
    )


def takes_pages(reranker: Reranker) -> bool:
    """Whether a reranker renders pages of PDFs, as `Qwen3VLReranker` does; the protocol does not ask for it."""
    return getattr(reranker, "takes_pages", False) is True


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
