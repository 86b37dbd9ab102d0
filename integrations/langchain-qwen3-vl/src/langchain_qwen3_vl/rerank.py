"""Documents in the order of how well they answer, by a model that sees their pixels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Sequence
from copy import deepcopy
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from pydantic import Field

from langchain_qwen3_vl.contents import Item, LangChainItem, coerce_item
from langchain_qwen3_vl.models import RerankerOptions
from qwen3_vl_retrieval import InputError, Reranker

__all__ = ["Qwen3VLRerank"]

_LOGGER = logging.getLogger(__name__)

_FIELD_TOP_N = -1
"""Stands for the field, as in the rerankers of others (`langchain_cohere.CohereRerank.rerank`); `None` is all."""

_Outcomes: TypeAlias = "list[float | InputError]"
"""Of each document its log-odds, its probability where the reranker gives no more, or why it cannot be judged."""


class _Request(NamedTuple):
    """What is to be judged next."""

    query: Item
    items: list[Item]


class _Judged(NamedTuple):
    """A document's place in the input, and its probability."""

    place: int
    score: float


_Judging: TypeAlias = "Generator[_Request, _Outcomes, list[_Judged]]"


class Qwen3VLRerank(RerankerOptions, BaseDocumentCompressor):
    """Orders documents by the probability that they answer a query; reads text, pictures, pages, clips and mixtures.

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
    score_threshold: float | None = Field(default=None, ge=0, le=1, description="Lowest probability to return.")
    instruction: str | None = Field(
        default=None, description="What makes a document relevant; by default the model's own."
    )
    media_key: str | None = Field(
        default=None, description="Name of a metadatum that holds the picture or clip of a `Document`."
    )
    on_error: Literal["raise", "text", "drop"] = Field(
        default="raise",
        description="What becomes of a document whose media cannot be read: `raise` names its position, `text` judges "
        "its text instead, if it has one, and `drop` leaves it out; what is left out is logged as a warning.",
    )

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
        return _copy_judged(documents, self._run(self._judge(documents, query, self.top_n)))

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: LangChainItem,
        callbacks: Callbacks | None = None,  # noqa: ARG002 - as above
    ) -> Sequence[Document]:
        """Returns the same as `compress_documents`, in forward passes shared with concurrent callers."""
        return _copy_judged(documents, await self._arun(self._judge(documents, query, self.top_n)))

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
        judged = self._run(self._judge(documents, query, self._check_top_n(top_n)))
        return [{"index": entry.place, "relevance_score": entry.score} for entry in judged]

    async def arerank(
        self, documents: Sequence[LangChainItem], query: LangChainItem, *, top_n: int | None = _FIELD_TOP_N
    ) -> list[dict[str, Any]]:
        """Returns the same as `rerank`, in forward passes shared with concurrent callers."""
        judged = await self._arun(self._judge(documents, query, self._check_top_n(top_n)))
        return [{"index": entry.place, "relevance_score": entry.score} for entry in judged]

    def _check_top_n(self, top_n: int | None) -> int | None:
        if top_n is not None and top_n < _FIELD_TOP_N:
            raise ValueError(f"top_n={top_n} must not be negative; None is all, -1 the field's")
        return self.top_n if top_n == _FIELD_TOP_N else top_n

    def _judge(self, documents: Sequence[object], query: object, top_n: int | None) -> _Judging:
        """Asks for what is to be judged, once or twice, and returns the order. Who drives it decides how to wait."""
        if isinstance(documents, (str, Document)):
            raise InputError(f"expected a list of documents, got {type(documents).__name__}; wrap it in a list")
        if not documents:
            return []
        question = self._coerce_query(query)
        items, failed = self._coerce_documents(documents)
        margins = self._sort_out(items, (yield _Request(question, list(items.values()))) if items else [], failed)
        texts = _find_texts(documents, failed) if self.on_error == "text" else {}
        if texts:
            outcomes = yield _Request(question, list(texts.values()))
            for place in texts:
                del failed[place]
            margins |= self._sort_out(texts, outcomes, failed)
        for place, error in sorted(failed.items()):
            _LOGGER.warning("a document was left out: %s", error.at(place, role="document"))
        return self._order(margins, top_n)

    def _coerce_query(self, query: object) -> Item:
        try:
            return coerce_item(query, media_key=self.media_key, media_policy=self.media_policy)
        except InputError as error:
            raise error.at(None, role="query") from error

    def _coerce_documents(self, documents: Sequence[object]) -> tuple[dict[int, Item], dict[int, InputError]]:
        items: dict[int, Item] = {}
        failed: dict[int, InputError] = {}
        for place, document in enumerate(documents):
            try:
                items[place] = coerce_item(
                    document,
                    media_key=self.media_key,
                    media_policy=self.media_policy,
                    render_pages=not self._takes_pages,
                )
            except InputError as error:
                if self.on_error == "raise":
                    raise error.at(place, role="document") from error
                failed[place] = error
        return items, failed

    def _sort_out(self, items: dict[int, Item], outcomes: _Outcomes, failed: dict[int, InputError]) -> dict[int, float]:
        """The scores by place; errors go to `failed`."""
        margins: dict[int, float] = {}
        for place, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, InputError):
                failed[place] = outcome
            else:
                margins[place] = outcome
        return margins

    def _order(self, margins: dict[int, float], top_n: int | None) -> list[_Judged]:
        """Best first. Log-odds tell documents apart whose probabilities round to 1."""
        if not margins:
            return []
        places = sorted(margins)
        values = np.array([margins[place] for place in places])
        scores = _compute_probabilities(values.astype(np.float32)) if _takes_options(self.reranker) else values
        order = np.argsort(-values, kind="stable")
        judged = [_Judged(places[position], float(scores[position])) for position in order]
        if self.score_threshold is not None:
            judged = [entry for entry in judged if entry.score >= self.score_threshold]
        return judged if top_n is None else judged[:top_n]

    def _run(self, judging: _Judging) -> list[_Judged]:
        request, judged = _advance(judging, None)
        while request is not None:
            request, judged = _advance(judging, self._score(request))
        return judged

    async def _arun(self, judging: _Judging) -> list[_Judged]:
        # In threads: pages are opened, and the first use loads the model.
        request, judged = await asyncio.to_thread(_advance, judging, None)
        while request is not None:
            reranker = await asyncio.to_thread(lambda: self.reranker)
            if _takes_options(reranker):
                core = cast("Any", reranker)
                outcomes = list(await core.ascore(request.query, request.items, **self._list_options()))
            else:
                outcomes = await asyncio.to_thread(self._score, request)
            request, judged = await asyncio.to_thread(_advance, judging, [_to_outcome(value) for value in outcomes])
        return judged

    def _score(self, request: _Request) -> _Outcomes:
        reranker = self.reranker
        if not _takes_options(reranker):
            return _score_plainly(reranker, request, is_lenient=self.on_error != "raise")
        outcomes = cast("Any", reranker).score(request.query, request.items, **self._list_options())
        return [_to_outcome(value) for value in outcomes]

    def _list_options(self) -> dict[str, Any]:
        on_error = "raise" if self.on_error == "raise" else "return"
        return {"instruction": self.instruction, "output": "margin", "on_error": on_error}


def _advance(judging: _Judging, outcomes: _Outcomes | None) -> tuple[_Request | None, list[_Judged]]:
    """The next request, or `None` and the order; `StopIteration` must not pass through a future."""
    try:
        return (next(judging) if outcomes is None else judging.send(outcomes)), []
    except StopIteration as stop:
        return None, stop.value


def _score_plainly(reranker: Reranker, request: _Request, *, is_lenient: bool) -> _Outcomes:
    """Of a reranker that takes no options, and stops at the first bad document: without it, again."""
    failed: dict[int, InputError] = {}
    while True:
        pending = [place for place in range(len(request.items)) if place not in failed]
        try:
            scores = _score_list(reranker, request.query, [request.items[place] for place in pending])
        except InputError as error:
            if not is_lenient or error.index is None or error.role == "query":
                raise
            failed[pending[error.index]] = error
        else:
            judged = dict(zip(pending, scores, strict=True))
            return [failed[place] if place in failed else judged[place] for place in range(len(request.items))]


def _score_list(reranker: Reranker, query: Item, items: list[Item]) -> list[float]:
    return [float(score) for score in reranker.score(query, items)] if items else []


def _to_outcome(value: object) -> float | InputError:
    return value if isinstance(value, InputError) else float(cast("float", value))


def _find_texts(documents: Sequence[object], failed: dict[int, InputError]) -> dict[int, Item]:
    """The texts of documents that cannot be judged by what they show."""
    texts: dict[int, Item] = {}
    for place in sorted(failed):
        document = documents[place]
        if isinstance(document, Document) and document.page_content.strip():
            texts[place] = document.page_content
    return texts


def _copy_judged(documents: Sequence[Document], judged: Sequence[_Judged]) -> list[Document]:
    """Copies with their scores; a stale one is replaced, and the caller's documents are left alone."""
    return [
        documents[entry.place].model_copy(
            update={"metadata": {**deepcopy(documents[entry.place].metadata), "relevance_score": entry.score}}
        )
        for entry in judged
    ]


def _compute_probabilities(margins: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """1 / (1 + exp(-margin)), as the core has it, without overflow for large margins."""
    decay = np.exp(-np.abs(margins))
    return np.where(margins >= 0, 1 / (1 + decay), decay / (1 + decay)).astype(np.float32)


def _takes_options(reranker: object) -> bool:
    """Whether a reranker is one of the core, or like it; the protocol asks for query and documents alone."""
    return callable(getattr(reranker, "ascore", None))
