"""Nodes in the order of how well they answer, by a model that sees their pixels and those of the query."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack, cast

from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # pyright: ignore[reportPrivateImportUsage] - as its own modules
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from pydantic import Field

from llama_index.embeddings.qwen3_vl.models import LoadingOptions, RerankerOptions, takes_options
from llama_index.postprocessor.qwen3_vl_rerank.judging import (
    Judging,
    OnError,
    advance,
    judge_nodes,
    list_options,
    order_margins,
    score,
    to_outcomes,
)
from qwen3_vl_retrieval import InputError, Reranker

__all__ = ["Qwen3VLRerank", "RerankOptions"]

_DEFAULT = "Qwen/Qwen3-VL-Reranker-2B"
_RETRIEVAL_SCORE = "retrieval_score"
_DISPATCHER = get_dispatcher(__name__)


class RerankOptions(LoadingOptions, total=False):
    """The options of `Qwen3VLRerank` besides the model; its fields describe them, and any other fails."""

    top_n: int
    instruction: str | None
    score_threshold: float | None
    keep_retrieval_score: bool
    on_error: OnError
    callback_manager: Any


class Qwen3VLRerank(RerankerOptions, BaseNodePostprocessor):
    """Orders nodes by the probability that they answer a query; reads text, pictures, pages, clips and mixtures.

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
        reranker: A ready object (`Qwen3VLReranker`, or any `Reranker`) in place of a name.
        options: The fields below, and those of `ModelOptions`.

    Raises:
        ValueError: An option is unknown, out of range, or does not fit the model that was given.
    """

    top_n: int = Field(default=2, ge=1, description="Nodes to return at most.")
    instruction: str | None = Field(
        default=None,
        description="What makes a node relevant; by default the model's own. That of a query goes before.",
    )
    score_threshold: float | None = Field(default=None, ge=0, le=1, description="Lowest probability to return.")
    keep_retrieval_score: bool = Field(
        default=False,
        description="Whether a copy of the node is returned with the score that it came with, as `retrieval_score` "
        "among its metadata; it is shown to no model.",
    )
    on_error: OnError = Field(
        default="raise",
        description="What becomes of a node whose media cannot be read: `raise` names its position, `text` judges its "
        "text instead, if it has one, and `drop` leaves it out; either is logged as a warning.",
    )

    def __init__(
        self, model: str | Path = _DEFAULT, *, reranker: Reranker | None = None, **options: Unpack[RerankOptions]
    ) -> None:
        is_named = reranker is None or model != _DEFAULT
        values: dict[str, Any] = {**options, **({"model": str(model)} if is_named else {})}
        super().__init__(**values)
        if reranker is not None:
            self._accept_reranker(reranker)

    @classmethod
    def class_name(cls) -> str:
        """Returns the name in serialised forms."""
        return "Qwen3VLRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        with self._report(nodes, query_bundle) as found:
            judging = self._judge(nodes, query_bundle)
            request, margins = advance(judging, None)
            while request is not None:
                with _name_nodes():
                    outcomes = score(self.reranker, request, instruction=self.instruction, on_error=self.on_error)
                request, margins = advance(judging, outcomes)
            found += self._order(nodes, margins)
        return found

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        with self._report(nodes, query_bundle) as found:
            # In threads: pages are opened, and the first use loads the model.
            judging = self._judge(nodes, query_bundle)
            request, margins = await asyncio.to_thread(advance, judging, None)
            while request is not None:
                reranker = await asyncio.to_thread(lambda: self.reranker)
                with _name_nodes():
                    if takes_options(reranker):
                        core, options = cast("Any", reranker), list_options(self.instruction, self.on_error)
                        outcomes = to_outcomes(await core.ascore(request.query, request.items, **options))
                    else:
                        outcomes = await asyncio.to_thread(
                            score, reranker, request, instruction=self.instruction, on_error=self.on_error
                        )
                request, margins = await asyncio.to_thread(advance, judging, outcomes)
            found += self._order(nodes, margins)
        return found

    def _judge(self, nodes: Sequence[NodeWithScore], query: QueryBundle | None) -> Judging:
        if query is None:
            raise ValueError("there is nothing to judge by: give query_str or query_bundle")
        return judge_nodes(
            nodes,
            query,
            on_error=self.on_error,
            media_policy=self.media_policy,
            render_pages=not self._takes_pages,
        )

    def _order(self, nodes: Sequence[NodeWithScore], margins: dict[int, float]) -> list[NodeWithScore]:
        if not margins:
            return []
        is_margin = takes_options(self.reranker)
        judged = order_margins(margins, is_margin=is_margin, threshold=self.score_threshold, top_n=self.top_n)
        return [
            NodeWithScore(
                node=_note_score(nodes[place]) if self.keep_retrieval_score else nodes[place].node, score=probability
            )
            for place, probability in judged
        ]

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


@contextmanager
def _name_nodes() -> Generator[None]:
    """The core counts documents; here they are nodes."""
    try:
        yield
    except InputError as error:
        if error.role == "query":
            raise
        raise error.at(error.index, role="node") from error


def _note_score(found: NodeWithScore) -> BaseNode:
    """A copy of the node that says with which score it came."""
    node = found.node
    hidden = {
        name: list(dict.fromkeys([*getattr(node, name), _RETRIEVAL_SCORE]))
        for name in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys")
    }
    return node.model_copy(update={"metadata": {**node.metadata, _RETRIEVAL_SCORE: found.score}, **hidden})
