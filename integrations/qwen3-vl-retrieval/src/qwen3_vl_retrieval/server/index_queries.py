"""What a caller of the server or of a tool asks an index: files named as results name them, media as data only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qwen3_vl_retrieval.documents.units import MediaType
from qwen3_vl_retrieval.errors import InputError, InputTooLongError, MediaError, MediaPolicyError
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.index.results.hits import FailedFile, SearchResults
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.server.source_names import SourceNames

__all__ = ["IndexQuery", "explain_failure", "search_index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexQuery:
    """A question, and what the answers must meet. See `MultimodalIndex.search` for what is not described here.

    Attributes:
        text: What to look for; blank if there is only an image.
        image: The content of an image that belongs to it.
        k: Hits at most.
        fetch_k: Candidates that the reranker judges.
        rerank: Whether the reranker judges them; `None` is whether there is one.
        where: A filter, in which `source` is a name as results show it.
        media_types: Kinds of units.
        sources: Names of files and folders to search in; `None` is all.
        first_page: Lowest number of a page.
        last_page: Highest number of a page.
        instruction: What makes a document relevant.
        threshold: Lowest score of a hit.
    """

    text: str = ""
    image: bytes | None = None
    k: int = 10
    fetch_k: int | None = None
    rerank: bool | None = None
    where: Mapping[str, Any] | None = None
    media_types: Sequence[MediaType] | None = None
    sources: Sequence[str] | None = None
    first_page: int | None = None
    last_page: int | None = None
    instruction: str | None = None
    threshold: float | None = None


def search_index(index: MultimodalIndex, query: IndexQuery, names: SourceNames) -> SearchResults:
    """Returns the best hits, best first.

    Raises:
        InputError: The query is empty, or cannot be read, embedded or judged; or a name is that of no file.
        ValueError: An option is out of range.
        StoreError: The index is corrupt.
    """
    if query.rerank and index.reranker is None:
        raise ValueError("rerank=true needs a reranker, and this server has none; leave rerank out, or give false")
    return index.search(
        _join_item(query),
        k=query.k,
        fetch_k=query.fetch_k,
        where=_join_filter(query, names),
        media_types=query.media_types,
        threshold=query.threshold,
        instruction=query.instruction,
        rerank=query.rerank is not False,
    )


def explain_failure(failure: FailedFile) -> str:
    """Returns why something took no part, in words of ours: those of the error name paths of this machine."""
    match failure.error:
        case MediaPolicyError():
            return "may not be opened under the media policy of this server"
        case MediaError():
            return "can no longer be read: it is missing, damaged, or no longer what was indexed"
        case InputTooLongError():
            return "is too long for the reranker together with this question"
        case _:
            return "cannot be judged by the reranker"


def _join_item(query: IndexQuery) -> Item:
    if not query.text.strip() and query.image is None:
        raise InputError("the question is empty; give a text, an image, or both")
    if query.image is None:
        return query.text
    return {"image": query.image, "text": query.text} if query.text.strip() else {"image": query.image}


def _join_filter(query: IndexQuery, names: SourceNames) -> dict[str, Any] | None:
    conditions: list[dict[str, Any]] = []
    if query.where is not None:
        conditions.append(names.translate_filter(query.where))
    if query.sources is not None:
        conditions.append({"source": {"$in": names.resolve(query.sources)}})
    if query.first_page is not None:
        conditions.append({"page": {"$gte": query.first_page}})
    if query.last_page is not None:
        conditions.append({"page": {"$lte": query.last_page}})
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}
