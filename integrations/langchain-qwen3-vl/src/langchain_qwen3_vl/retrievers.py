"""Retrieval in two stages: vectors recall candidates, and a model that sees their pixels judges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import RunnableConfig
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict, Field, model_validator

from langchain_qwen3_vl.contents import LangChainItem
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.first_stages import Recall, arecall_documents, recall_documents
from langchain_qwen3_vl.index_models import find_index_embedder, find_index_reranker
from langchain_qwen3_vl.rerank import Qwen3VLRerank
from langchain_qwen3_vl.search_options import (
    SearchType,
    check_search_options,
    leave_out_defaults,
    spread_search_options,
)
from langchain_qwen3_vl.second_stages import ajudge_documents, choose_documents, judge_documents
from langchain_qwen3_vl.traced_queries import hide_query, unwrap_query
from qwen3_vl_retrieval import Embedder, Reranker, StoreError
from qwen3_vl_retrieval.index import MultimodalIndex, Store

__all__ = ["Qwen3VLRetriever"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What one call asks for."""

    recall: Recall
    k: int
    score_threshold: float | None


class Qwen3VLRetriever(BaseRetriever):
    """Finds candidates in a vector store, an index or another retriever, and lets a reranker choose among them.

    A query is a text or any other item, see `LangChainItem`. Callbacks and traces of this retriever see its texts and a
    description of its media; those of a chain around it see what the chain is given.

    Documents have `similarity_score`, the cosine of the first stage, among their metadata (from `MultimodalChroma`,
    `Chroma`, `InMemoryVectorStore`, FAISS with vectors of unit length, dense Qdrant and `MultimodalIndex`; from other
    stores and with `search_type="mmr"` there is none), and `relevance_score`, the reranker's probability.

    ```python
    from langchain_qwen3_vl import Qwen3VLRerank, Qwen3VLRetriever

    retriever = Qwen3VLRetriever(base=store, reranker=Qwen3VLRerank(), k=4, fetch_k=20)
    retriever.invoke("Which invoice is overdue?", k=1)
    retriever.invoke({"image": "photo.jpg", "text": "the same in blue"}, filter={"year": 2025})
    ```

    `k`, `fetch_k`, `filter` and `score_threshold` may be given with each call.

    Raises:
        ValueError: An option is unknown, out of range, or not one that `base` knows.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    base: Any = Field(description="Where candidates are found: a `VectorStore`, `MultimodalIndex` or `BaseRetriever`.")
    reranker: BaseDocumentCompressor | None = Field(
        default=None,
        description="Judges the candidates, whatever its `top_n`; `None` leaves the order to `base`.",
    )
    k: int = Field(default=4, ge=1, description="Documents to return at most.")
    fetch_k: int = Field(default=20, ge=1, description="Candidates to judge; `k` if that is more.")
    search_type: SearchType = Field(
        default="similarity",
        description="How a vector store chooses candidates: the nearest, or also different ones (`mmr`). "
        "`similarity_score_threshold` is `similarity` with a `score_threshold`, which must be given.",
    )
    search_kwargs: dict[str, Any] = Field(
        default_factory=dict,
        description="Further arguments of the store's search, or of `MultimodalIndex.search`: `lambda_mult`, "
        "`where_document`, `media_types`, `instruction`. `k`, `fetch_k`, `filter` and `score_threshold` may stand here "
        "instead of in their fields, as in `VectorStore.as_retriever`.",
    )
    filter: Any = Field(default=None, description="What candidates must meet, in the language of the store.")
    score_threshold: float | None = Field(
        default=None, description="Lowest score to return: the reranker's probability, without one the cosine."
    )

    @model_validator(mode="before")
    @classmethod
    def _spread_search_options(cls, values: Any) -> Any:
        return spread_search_options(values)

    @model_validator(mode="after")
    def _check_base(self) -> Self:
        if not isinstance(self.base, (VectorStore, BaseRetriever, MultimodalIndex)):
            raise ValueError(  # noqa: TRY004 - pydantic reports values that do not fit by this
                f"base is {type(self.base).__name__}; give a VectorStore, a BaseRetriever or a MultimodalIndex, and a "
                "path to an index to Qwen3VLRetriever.from_index"
            )
        if self.search_type == "mmr" and not isinstance(self.base, VectorStore):
            raise ValueError(f"search_type='mmr' is for a VectorStore, and base is {type(self.base).__name__}")
        if isinstance(self.base, BaseRetriever) and (self.filter is not None or self.search_kwargs):
            raise ValueError(
                f"filter and search_kwargs are for stores, and base is {type(self.base).__name__}; give them to it"
            )
        check_search_options(self.base, self.search_type, self.search_kwargs)
        if self.search_type == "similarity_score_threshold" and self.score_threshold is None:
            raise ValueError("search_type='similarity_score_threshold' needs a score_threshold; give one, from 0 to 1")
        return self

    @classmethod
    def from_vectorstore(
        cls,
        vectorstore: VectorStore,
        *,
        reranker: BaseDocumentCompressor | None = None,
        k: int = 4,
        fetch_k: int = 20,
        search_type: SearchType = "similarity",
        search_kwargs: Mapping[str, Any] | None = None,
        filter: Any = None,  # noqa: A002 - the name in LangChain
        score_threshold: float | None = None,
    ) -> Self:
        """Returns a retriever over a vector store; the arguments are the fields."""
        given = {"k": k, "fetch_k": fetch_k, "filter": filter, "score_threshold": score_threshold}
        return cls(
            base=vectorstore,
            reranker=reranker,
            search_type=search_type,
            search_kwargs={} if search_kwargs is None else dict(search_kwargs),
            **leave_out_defaults(given, {"k": 4, "fetch_k": 20}),
        )

    @classmethod
    def from_index(
        cls,
        path_or_index: str | Path | MultimodalIndex,
        *,
        embedder: str | Path | Embedder | Qwen3VLEmbeddings | None = None,
        reranker: str | Path | Reranker | Qwen3VLRerank | None = None,
        k: int = 4,
        fetch_k: int = 50,
        search_kwargs: Mapping[str, Any] | None = None,
        filter: Any = None,  # noqa: A002 - the name in LangChain
        score_threshold: float | None = None,
    ) -> Self:
        """Returns a retriever over a `MultimodalIndex`: documents and order are those of its own search.

        Args:
            path_or_index: Folder of an index, or an open one, which has its models already.
            embedder: With a folder: the embedder that wrote it, or its name.
            reranker: With a folder: judges what was found. It becomes the index's own, so that the field is `None`.
            k: Documents at most.
            fetch_k: Candidates to judge; as many as `MultimodalIndex.search` takes by default.
            search_kwargs: Further arguments of `MultimodalIndex.search`.
            filter: Its `where`.
            score_threshold: Its `threshold`.

        Raises:
            FingerprintMismatchError: Another embedder wrote the index.
            StoreError: There is no index.
            ValueError: Models were given for an open index, or none for a folder; or their own options cannot be kept.
        """
        if isinstance(path_or_index, MultimodalIndex):
            if embedder is not None or reranker is not None:
                raise ValueError("an open index has its models already; leave out embedder and reranker")
            index = path_or_index
        else:
            folder = Path(path_or_index)
            if embedder is None:
                raise ValueError(f"embedder is missing: the one that wrote the index {str(folder)!r}")
            if not Store.is_finished(folder):
                raise StoreError(f"there is no index in {str(folder)!r}; make one with MultimodalIndex.open and add")
            index = MultimodalIndex.open(folder, find_index_embedder(embedder), find_index_reranker(reranker))
        options = {} if search_kwargs is None else dict(search_kwargs)
        given = {"k": k, "fetch_k": fetch_k, "filter": filter, "score_threshold": score_threshold}
        if "fetch_k" not in options:
            options["fetch_k"] = given.pop("fetch_k")
        return cls(base=index, search_kwargs=options, **leave_out_defaults(given, {"k": 4, "fetch_k": 50}))

    def invoke(self, input: LangChainItem, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:  # noqa: A002 - the name in LangChain
        """Returns the best documents, best first.

        Args:
            input: The query: a text, or any other item, see `LangChainItem`.
            config: Of the run.
            kwargs: `k`, `fetch_k`, `filter` and `score_threshold` of this call; any other fails.

        Raises:
            InputError: The query cannot be embedded or judged.
            ValueError: An option is out of range, or the store gives no scores for `score_threshold`.
        """
        return super().invoke(hide_query(input), config, **kwargs)

    async def ainvoke(
        self,
        input: LangChainItem,  # noqa: A002 - the name in LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Returns the same as `invoke`; concurrent callers share forward passes."""
        return await super().ainvoke(hide_query(input), config, **kwargs)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        fetch_k: int | None = None,
        filter: Any = None,  # noqa: A002 - the name in LangChain
        score_threshold: float | None = None,
    ) -> list[Document]:
        call = self._plan(query, k, fetch_k, filter, score_threshold)
        found = recall_documents(self.base, call.recall, run_manager.get_child())
        if self.reranker is not None:
            found = judge_documents(self.reranker, found, call.recall.query, run_manager.get_child())
        return self._choose(found, call)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        fetch_k: int | None = None,
        filter: Any = None,  # noqa: A002 - the name in LangChain
        score_threshold: float | None = None,
    ) -> list[Document]:
        call = self._plan(query, k, fetch_k, filter, score_threshold)
        found = await arecall_documents(self.base, call.recall, run_manager.get_child())
        if self.reranker is not None:
            found = await ajudge_documents(self.reranker, found, call.recall.query, run_manager.get_child())
        return self._choose(found, call)

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = type(self.base).__name__
        embeddings = self.base.embeddings if isinstance(self.base, VectorStore) else None
        if embeddings is not None:
            params["ls_embedding_provider"] = type(embeddings).__name__
        if isinstance(embeddings, Qwen3VLEmbeddings):
            params["ls_embedding_model"] = embeddings.model_name
        return params

    def _plan(
        self,
        query: object,
        k: int | None,
        fetch_k: int | None,
        condition: Any,
        score_threshold: float | None,
    ) -> _Call:
        chosen = self.k if k is None else k
        fetched = max(chosen, self.fetch_k if fetch_k is None else fetch_k)
        if chosen < 1 or (fetch_k is not None and fetch_k < 1):
            raise ValueError(f"k={chosen} and fetch_k={fetch_k} must be at least 1")
        if condition is not None and isinstance(self.base, BaseRetriever):
            raise ValueError(f"filter is for stores, and base is {type(self.base).__name__}; give it to that")
        threshold = self.score_threshold if score_threshold is None else score_threshold
        recall = Recall(
            query=unwrap_query(query),
            count=chosen if self.reranker is None else fetched,
            fetch_k=fetched,
            filter=self.filter if condition is None else condition,
            search_type="mmr" if self.search_type == "mmr" else "similarity",
            # A reranker of ours has the last word, and its scores are what the threshold is about.
            score_threshold=threshold if self.reranker is None else None,
            options=self.search_kwargs,
        )
        return _Call(recall=recall, k=chosen, score_threshold=threshold)

    def _choose(self, found: Sequence[Document], call: _Call) -> list[Document]:
        key, giver = ("similarity_score", self.base) if self.reranker is None else ("relevance_score", self.reranker)
        # An index has judged by its own scores.
        is_judged = isinstance(self.base, MultimodalIndex) and self.reranker is None
        threshold = None if is_judged else call.score_threshold
        return choose_documents(found, call.k, score_threshold=threshold, key=key, giver=giver)
