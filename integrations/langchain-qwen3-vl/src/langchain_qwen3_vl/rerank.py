"""Documents in the order of how well they answer, by a model that sees their pixels."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, Unpack

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from pydantic import Field, SecretStr

from langchain_qwen3_vl.contents import Item, LangChainItem, coerce_each, coerce_item
from langchain_qwen3_vl.explaining import add_explanations
from langchain_qwen3_vl.models import NamedReranker
from qwen3_vl_retrieval import InputError, OnUnreadable, Ranked, ShareOptions, arank_documents, rank_documents
from qwen3_vl_retrieval.index import find_relevance_threshold

__all__ = ["Qwen3VLRerank"]

_FIELD_TOP_N = -1
"""Stands for the field, as in the rerankers of others (`langchain_cohere.CohereRerank.rerank`); `None` is all."""


class _Ranking(TypedDict):
    """What the core ranks, and how."""

    query: Item
    documents: list[Item | InputError]
    texts: dict[int, str]
    on_error: OnUnreadable
    top_n: int | None
    threshold: float | None
    instruction: str | None


class Qwen3VLRerank(NamedReranker, BaseDocumentCompressor):
    """Orders documents by the probability that they answer a query; reads text, images, pages, videos and mixtures.

    Documents are judged by what their metadata say they are, see `qwen3_vl_retrieval.index.build_item`. Copies are
    returned, best first, with their ids and with `relevance_score` in [0, 1] among the metadata; equal ones keep their
    order.

    ```python
    from langchain_qwen3_vl import Qwen3VLRerank

    reranker = Qwen3VLRerank(model="Qwen/Qwen3-VL-Reranker-2B", top_n=3)
    best = reranker.compress_documents(candidates, "Who signed the contract?")
    ```

    Raises:
        ValueError: An option is unknown, out of range, or does not fit the model that was given.
    """

    top_n: int | None = Field(default=3, ge=0, description="Documents to return at most; `None` is all.")
    score_threshold: Annotated[float, Field(ge=0, le=1)] | str | None = Field(
        default=None,
        description="Lowest probability to return; with `thresholds` also `fpr=0.01` or `probability=0.9`, as "
        "`qwen3vl eval` has measured them.",
    )
    thresholds: str | None = Field(
        default=None, description="Folder of the index, or file, with what `qwen3vl eval` has measured."
    )
    instruction: str | None = Field(
        default=None, description="What makes a document relevant; by default the model's own."
    )
    media_key: str | None = Field(
        default=None, description="Name of a metadatum that holds the image or video of a `Document`."
    )
    on_error: OnUnreadable = Field(
        default="raise",
        description="What becomes of a document whose media cannot be read: `raise` names its position, `text` judges "
        "its text instead, if it has one, and `drop` leaves it out; what is left out is logged as a warning.",
    )
    explain: bool = Field(
        default=False,
        description="Put `explanation` into the metadata of what is returned: where the words of the query stand, or "
        "which parts the probability depends on. Of an image that takes as long as judging a dozen.",
    )

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            model: Any = ...,
            model_name: Any = ...,
            base_url: str | None = None,
            api_key: SecretStr | None = ...,
            top_n: int | None = 3,
            score_threshold: float | str | None = None,
            thresholds: str | None = None,
            instruction: str | None = None,
            media_key: str | None = None,
            on_error: OnUnreadable = "raise",
            explain: bool = False,
            **options: Unpack[ShareOptions],
        ) -> None: ...

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: LangChainItem,
        callbacks: Callbacks | None = None,  # noqa: ARG002 - of the interface; nothing in it is called
    ) -> Sequence[Document]:
        """Returns the best of the documents, as copies, best first.

        Args:
            documents: To be judged.
            query: A text, or any other item, see `LangChainItem`.
            callbacks: Not used.

        Raises:
            InputError: The query, or with `on_error="raise"` a document, cannot be judged; the message begins with
                its position.
        """
        return self._explain(_copy_ranked(documents, self._rank(documents, query, self.top_n)), query)

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: LangChainItem,
        callbacks: Callbacks | None = None,  # noqa: ARG002 - as above
    ) -> Sequence[Document]:
        """Returns the same as `compress_documents`, in forward passes shared with concurrent callers."""
        ranked = await self._arank(documents, query, self.top_n)
        return await asyncio.to_thread(self._explain, _copy_ranked(documents, ranked), query)

    def rerank(
        self, documents: Sequence[LangChainItem], query: LangChainItem, *, top_n: int | None = _FIELD_TOP_N
    ) -> list[dict[str, Any]]:
        """Returns the best of the documents as `{"index": position, "relevance_score": probability}`, best first.

        Args:
            documents: Texts, documents, or any other items, see `LangChainItem`.
            query: A text, or any other item.
            top_n: Places to return at most; `None` is all, -1 as many as the field of this name says.

        Raises:
            InputError: As `compress_documents`.
            ValueError: `top_n` is negative.
        """
        ranked = self._rank(documents, query, self._check_top_n(top_n))
        return [{"index": place.index, "relevance_score": place.score} for place in ranked]

    async def arerank(
        self, documents: Sequence[LangChainItem], query: LangChainItem, *, top_n: int | None = _FIELD_TOP_N
    ) -> list[dict[str, Any]]:
        """Returns the same as `rerank`, in forward passes shared with concurrent callers."""
        ranked = await self._arank(documents, query, self._check_top_n(top_n))
        return [{"index": place.index, "relevance_score": place.score} for place in ranked]

    def _check_top_n(self, top_n: int | None) -> int | None:
        if top_n is not None and top_n < _FIELD_TOP_N:
            raise ValueError(f"top_n={top_n} must not be negative; None is all, -1 the field's")
        return self.top_n if top_n == _FIELD_TOP_N else top_n

    def _rank(self, documents: Sequence[object], query: object, top_n: int | None) -> list[Ranked]:
        ranking = self._build(documents, query, top_n)
        return [] if ranking is None else rank_documents(self.reranker, **ranking).ranked

    async def _arank(self, documents: Sequence[object], query: object, top_n: int | None) -> list[Ranked]:
        # In threads: pages are opened, and the first use loads the model.
        ranking = await asyncio.to_thread(self._build, documents, query, top_n)
        if ranking is None:
            return []
        reranker = await asyncio.to_thread(lambda: self.reranker)
        return (await arank_documents(reranker, **ranking)).ranked

    def _explain(self, documents: list[Document], query: object) -> list[Document]:
        if not self.explain or not documents:
            return documents
        return add_explanations(
            documents,
            query,
            reranker=self.reranker,
            instruction=self.instruction,
            media_key=self.media_key,
            media_policy=self.media_policy,
        )

    def _find_lowest(self) -> float | None:
        return find_relevance_threshold(
            self.score_threshold,
            self.thresholds,
            reranker=lambda: self.reranker.model_id,
            instruction=self.instruction,
        )

    def _build(self, documents: Sequence[object], query: object, top_n: int | None) -> _Ranking | None:
        """What the core takes; `None` if there is nothing to rank."""
        if isinstance(documents, (str, Document)):
            raise InputError(f"expected a list of documents, got {type(documents).__name__}; wrap it in a list")
        if not documents:
            return None
        try:
            question = coerce_item(query, media_key=self.media_key, media_policy=self.media_policy)
        except InputError as error:
            raise error.at(None, role="query") from error
        return {
            "query": question,
            "documents": coerce_each(
                documents, media_key=self.media_key, media_policy=self.media_policy, render_pages=False
            ),
            "texts": {
                place: document.page_content
                for place, document in enumerate(documents)
                if isinstance(document, Document)
            },
            "on_error": self.on_error,
            "top_n": top_n,
            "threshold": self._find_lowest(),
            "instruction": self.instruction,
        }


def _copy_ranked(documents: Sequence[Document], ranked: Sequence[Ranked]) -> list[Document]:
    """Copies with their scores; a stale one is replaced, and the caller's documents are left alone."""
    return [
        documents[place.index].model_copy(
            update={"metadata": {**deepcopy(documents[place.index].metadata), "relevance_score": place.score}}
        )
        for place in ranked
    ]
