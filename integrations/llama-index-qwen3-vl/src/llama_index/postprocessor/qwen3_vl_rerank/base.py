"""Nodes in the order of how well they answer, by a model that sees their pixels and those of the query."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict, Unpack

from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # pyright: ignore[reportPrivateImportUsage] - as its own modules
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from pydantic import Field

from llama_index.embeddings.qwen3_vl.model_component import ModelComponent, ModelOptions
from llama_index.schema.qwen3_vl.explanations import add_explanations
from llama_index.schema.qwen3_vl.nodes import add_hidden_metadata, build_each_item, read_caption
from llama_index.schema.qwen3_vl.queries import build_query_item
from llama_index.schema.qwen3_vl.sources import Item
from qwen3_vl_retrieval import (
    InputError,
    OnUnreadable,
    PlainReranker,
    Ranked,
    Reranker,
    adapt_reranker,
    arank_documents,
    rank_documents,
)
from qwen3_vl_retrieval.index import find_relevance_threshold

__all__ = ["Qwen3VLRerank", "RerankOptions"]

_DEFAULT = "Qwen/Qwen3-VL-Reranker-2B"
_RETRIEVAL_SCORE = "retrieval_score"
_DISPATCHER = get_dispatcher(__name__)


class RerankOptions(ModelOptions, total=False):
    """The options of `Qwen3VLRerank` besides the model; its fields describe them, and any other fails."""

    top_n: int
    instruction: str | None
    score_threshold: float | str | None
    thresholds: str | None
    keep_retrieval_score: bool
    on_error: OnUnreadable
    explain: bool


class _Asked(TypedDict):
    """What the core ranks."""

    query: Item
    documents: list[Item | InputError]
    texts: dict[int, str]


class _RankOptions(TypedDict):
    """How the core ranks it."""

    on_error: OnUnreadable
    top_n: int
    threshold: float | None
    instruction: str | None
    role: str


class Qwen3VLRerank(ModelComponent, BaseNodePostprocessor):
    """Orders nodes by the probability that they answer a query; reads text, images, pages, videos and mixtures.

    Nodes of every type are judged by what they show, see `build_node_item`; queries are texts, bundles with an
    `image_path`, and `MultiModalQueryBundle`. New `NodeWithScore` objects are returned, best first, with scores in
    [0, 1]; equal ones keep their order, and what was given is left alone.

    ```python
    from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank

    rerank = Qwen3VLRerank(model="Qwen/Qwen3-VL-Reranker-2B", top_n=3)
    best = rerank.postprocess_nodes(retriever.retrieve(question), query_str=question)
    engine = RetrieverQueryEngine.from_args(retriever, node_postprocessors=[rerank], llm=llm, multimodal=True)
    ```

    `apostprocess_nodes` shares forward passes between concurrent callers.

    Args:
        model: Name on the hub, folder, or `pocket`.
        reranker: A ready object (`Qwen3VLReranker`, or any `Reranker`) in place of a name; `api_base` is the address of
            a server that has the model.
        options: The fields below, and the loading options of `ModelOptions`.

    Raises:
        ValueError: An option is unknown, out of range, or does not fit the model that was given.
    """

    model: str = Field(default=_DEFAULT, description="Name on the hub, folder, or `pocket`; see `reranker`.")
    top_n: int = Field(default=2, ge=1, description="Nodes to return at most.")
    instruction: str | None = Field(
        default=None,
        description="What makes a node relevant; by default the model's own. That of a query goes before.",
    )
    score_threshold: Annotated[float, Field(ge=0, le=1)] | str | None = Field(
        default=None,
        description="Lowest probability to return; with `thresholds` also `fpr=0.01` or `probability=0.9`, as "
        "`qwen3vl eval` has measured them.",
    )
    thresholds: str | None = Field(
        default=None, description="Folder of the index, or file, with what `qwen3vl eval` has measured."
    )
    keep_retrieval_score: bool = Field(
        default=False,
        description="Whether a copy of the node is returned with the score that it came with, as `retrieval_score` "
        "among its metadata; it is shown to no model.",
    )
    on_error: OnUnreadable = Field(
        default="raise",
        description="What becomes of a node whose media cannot be read: `raise` names its position, `text` judges its "
        "text instead, if it has one, and `drop` leaves it out; either is logged as a warning.",
    )
    explain: bool = Field(
        default=False,
        description="Whether a copy of the node is returned with `explanation` among its metadata: where the words of "
        "the query stand, or which parts the probability depends on. An image takes as long as judging a dozen.",
    )

    _ready_name = "reranker"

    def __init__(
        self,
        model: str | Path = _DEFAULT,
        *,
        reranker: Reranker | PlainReranker | None = None,
        **options: Unpack[RerankOptions],
    ) -> None:
        is_elsewhere = reranker is not None or options.get("api_base") is not None
        is_named = not is_elsewhere or model != _DEFAULT
        values: dict[str, Any] = {**options, **({"model": str(model)} if is_named else {})}
        super().__init__(**values)
        if reranker is not None:
            try:
                adapted = adapt_reranker(reranker, media_policy=self.media_policy)
            except TypeError as error:
                raise ValueError(f"{error}; give one, a name, or a folder") from error
            self._accept_ready(reranker, adapted, field="model", name=adapted.model_id)

    @classmethod
    def class_name(cls) -> str:
        """Returns the name in serialised forms."""
        return "Qwen3VLRerank"

    @property
    def reranker(self) -> Reranker:
        """The reranker, loaded at first use; the same object for all who name the same model and options.

        Raises:
            ModelError: The model cannot be found or loaded.
        """
        if self._engine is None and self.api_base is not None:
            from qwen3_vl_retrieval.remote import share_remote_reranker

            self._engine = share_remote_reranker(self.api_base, **self._list_remote_options("model"))
        elif self._engine is None:
            # Loads torch, which this module does not.
            from qwen3_vl_retrieval import share_reranker

            self._engine = share_reranker(self.model, **self._list_share_options())
        return self._engine

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        with self._report(nodes, query_bundle) as found:
            if nodes:
                ranking = rank_documents(self.reranker, **self._build(nodes, query_bundle), **self._list_options())
                found += self._explain(self._list_ranked(nodes, ranking.ranked), query_bundle)
        return found

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        with self._report(nodes, query_bundle) as found:
            if nodes:
                # In threads: pages are opened, and the first use loads the model.
                built = await asyncio.to_thread(self._build, nodes, query_bundle)
                reranker = await asyncio.to_thread(lambda: self.reranker)
                ranking = await arank_documents(reranker, **built, **self._list_options())
                found += await asyncio.to_thread(self._explain, self._list_ranked(nodes, ranking.ranked), query_bundle)
        return found

    def _build(self, nodes: Sequence[NodeWithScore], query: QueryBundle | None) -> _Asked:
        if query is None:
            raise ValueError("there is nothing to judge by: give query_str or query_bundle")
        return {
            "query": build_query_item(query, media_policy=self.media_policy),
            "documents": build_each_item(nodes, media_policy=self.media_policy),
            "texts": {place: read_caption(node) for place, node in enumerate(nodes)},
        }

    def _find_lowest(self) -> float | None:
        return find_relevance_threshold(
            self.score_threshold,
            self.thresholds,
            reranker=lambda: self.reranker.model_id,
            instruction=self.instruction,
        )

    def _list_options(self) -> _RankOptions:
        return {
            "on_error": self.on_error,
            "top_n": self.top_n,
            "threshold": self._find_lowest(),
            "instruction": self.instruction,
            "role": "node",
        }

    def _list_ranked(self, nodes: Sequence[NodeWithScore], ranked: Sequence[Ranked]) -> list[NodeWithScore]:
        return [
            NodeWithScore(
                node=add_hidden_metadata(nodes[place.index].node, {_RETRIEVAL_SCORE: nodes[place.index].score})
                if self.keep_retrieval_score
                else nodes[place.index].node,
                score=place.score,
            )
            for place in ranked
        ]

    def _explain(self, found: list[NodeWithScore], query: QueryBundle | None) -> list[NodeWithScore]:
        if not self.explain or query is None:
            return found
        return add_explanations(
            found, query, reranker=self.reranker, instruction=self.instruction, media_policy=self.media_policy
        )

    @contextmanager
    def _report(self, nodes: list[NodeWithScore], query: QueryBundle | None) -> Generator[list[NodeWithScore]]:
        """Start and end, as the events of LlamaIndex; the caller puts what it found into the list that it is given."""
        found: list[NodeWithScore] = []
        _DISPATCHER.event(ReRankStartEvent(query=query, nodes=nodes, top_n=self.top_n, model_name=self.model))
        payload: dict[Any, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model,
            EventPayload.QUERY_STR: None if query is None else query.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            yield found
            event.on_end(payload={EventPayload.NODES: found})
        _DISPATCHER.event(ReRankEndEvent(nodes=found))
