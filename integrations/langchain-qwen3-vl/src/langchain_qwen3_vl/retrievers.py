"""Retrieval in two stages: vectors recall candidates, and a model that sees their pixels judges them."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypedDict, TypeVar, Unpack, cast

import numpy as np
from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    BaseCallbackManager,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import RunnableConfig
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict, Field, model_validator

from langchain_qwen3_vl.contents import LangChainItem, coerce_item
from langchain_qwen3_vl.cosines import find_cosine
from langchain_qwen3_vl.documents import hit_to_document
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.explaining import add_explanations
from langchain_qwen3_vl.models import NamedReranker
from langchain_qwen3_vl.rerank import Qwen3VLRerank
from langchain_qwen3_vl.tracing import describe_item
from qwen3_vl_retrieval import Embedder, Reranker, StoreError
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import MultimodalIndex, Store
from qwen3_vl_retrieval.jobs import RunVectors

__all__ = ["Qwen3VLRetriever", "RetrieverOptions", "SearchType", "StoreRetrieverOptions"]

SearchType: TypeAlias = Literal["similarity", "mmr", "similarity_score_threshold"]
"""The search types of LangChain's `VectorStoreRetriever`."""

_Wrapper = TypeVar("_Wrapper", Qwen3VLEmbeddings, Qwen3VLRerank)

_FETCH_K = 50
"""As many candidates as `MultimodalIndex.search` judges by default."""

_MMR_POOL = 5
"""Nearest documents per chosen one among which variety is sought: the 20 to 4 of LangChain's defaults."""

_SEARCH_FIELDS = ("k", "fetch_k", "filter", "score_threshold")
"""Arguments of a search that are fields of the retriever."""

_INDEX_NAMES = {"where": "filter", "threshold": "score_threshold"}
"""What `MultimodalIndex.search` calls fields of the retriever."""

_EMBEDDER_OPTIONS = ("dimensions", "query_instruction", "document_instruction", "media_key")
_RERANKER_OPTIONS = ("score_threshold", "instruction", "media_key", "on_error", "explain")
"""Options that an index has arguments of its own for, or no use."""

_HYBRID = "hybrid_search_config"
"""Argument of a search of `PGVectorStore` by words and vectors."""


class RetrieverOptions(TypedDict, total=False):
    """Fields of a `Qwen3VLRetriever` over an index."""

    k: int
    fetch_k: int
    search_kwargs: dict[str, Any]
    filter: Any
    score_threshold: float | str | None
    explain: bool


class StoreRetrieverOptions(RetrieverOptions, total=False):
    """Fields of a `Qwen3VLRetriever` over a vector store."""

    reranker: BaseDocumentCompressor | None
    full_vectors: RunVectors | None
    search_type: SearchType


class Qwen3VLRetriever(BaseRetriever):
    """Finds candidates in a vector store, an index or another retriever, and lets a reranker choose among them.

    A query is a text or any other item, see `LangChainItem`. Callbacks and traces of this retriever see its texts and a
    description of its media; those of a chain around it see what the chain is given.

    Documents have `similarity_score`, the cosine of the first stage, among their metadata (from `MultimodalChroma`,
    `Chroma`, `InMemoryVectorStore`, FAISS with vectors of unit length, dense Qdrant, `PGVectorStore` and `Milvus` by
    cosine, and `MultimodalIndex`; from other stores and with `search_type="mmr"` there is none), and
    `relevance_score`, the reranker's probability.

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
    full_vectors: RunVectors | None = Field(
        default=None,
        description="Over a store that `qwen3vl load` has filled with short vectors: the run, by whose full vectors "
        "the candidates are ordered again. `similarity_score` is the cosine of those.",
    )
    k: int = Field(default=4, ge=1, description="Documents to return at most.")
    fetch_k: int = Field(default=_FETCH_K, ge=1, description="Candidates to judge; `k` if that is more.")
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
    score_threshold: float | str | None = Field(
        default=None,
        description="Lowest score to return: the reranker's probability, without one the cosine. Over a "
        "`MultimodalIndex` also `fpr=0.01` or `probability=0.9`, as `qwen3vl eval` has measured them.",
    )
    explain: bool = Field(
        default=False,
        description="Put `explanation` into the metadata of what is returned: where the words of the query stand, or "
        "which parts the score of the last stage depends on. Of an image that takes as long as judging a dozen.",
    )

    @model_validator(mode="before")
    @classmethod
    def _spread_search_options(cls, values: Any) -> Any:
        """Moves `k`, `fetch_k`, `filter` and `score_threshold` from `search_kwargs` to their fields."""
        if not isinstance(values, Mapping):
            return values
        given = dict(cast("Mapping[str, Any]", values))
        if not isinstance(given.get("search_kwargs"), Mapping):
            return given
        search: dict[str, Any] = dict(given["search_kwargs"])
        for name in _SEARCH_FIELDS:
            if name not in search or (
                name == "fetch_k" and _takes_fetch_k(given.get("base"), given.get("search_type"))
            ):
                continue
            value = search.pop(name)
            if given.setdefault(name, value) != value:
                raise ValueError(
                    f"{name}={given[name]!r} was given, and {name}={value!r} in search_kwargs; give it once"
                )
        return given | {"search_kwargs": search}

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
        if self.full_vectors is not None and not _has_qwen_embeddings(self.base):
            raise ValueError(
                f"full_vectors are for a VectorStore with Qwen3VLEmbeddings, and base is {type(self.base).__name__}; "
                "leave them out (a MultimodalIndex has a second pass of its own)"
            )
        _check_search_options(self.base, self.search_type, self.search_kwargs)
        if self.search_type == "similarity_score_threshold" and self.score_threshold is None:
            raise ValueError("search_type='similarity_score_threshold' needs a score_threshold; give one, from 0 to 1")
        return self

    @classmethod
    def from_vectorstore(cls, vectorstore: VectorStore, **fields: Unpack[StoreRetrieverOptions]) -> Self:
        """Returns a retriever over a vector store; the other arguments are the fields."""
        return cls(base=vectorstore, **fields)

    @classmethod
    def from_index(
        cls,
        path_or_index: str | Path | MultimodalIndex,
        *,
        embedder: str | Path | Embedder | Qwen3VLEmbeddings | None = None,
        reranker: str | Path | Reranker | Qwen3VLRerank | None = None,
        **fields: Unpack[RetrieverOptions],
    ) -> Self:
        """Returns a retriever over a `MultimodalIndex`: documents and order are those of its own search.

        Args:
            path_or_index: Folder of an index, or an open one, which has its models already.
            embedder: With a folder: the embedder that wrote it, or its name.
            reranker: With a folder: judges what was found. It becomes the index's own, so that the field is `None`.
            fields: `k`, `fetch_k`, `search_kwargs`, `filter` (the index's `where`), `score_threshold` (its
                `threshold`) and `explain`.

        Raises:
            FingerprintMismatchError: Another embedder wrote the index.
            StoreError: There is no index.
            ValueError: Models were given for an open index, or none for a folder; or their own options cannot be kept.
        """
        if isinstance(path_or_index, MultimodalIndex):
            if embedder is not None or reranker is not None:
                raise ValueError("an open index has its models already; leave out embedder and reranker")
            return cls(base=path_or_index, **fields)
        folder = Path(path_or_index)
        if embedder is None:
            raise ValueError(f"embedder is missing: the one that wrote the index {quote(folder)}")
        if not Store.is_finished(folder):
            raise StoreError(f"there is no index in {quote(folder)}; make one with MultimodalIndex.open and add")
        # An index passes its models its own options with each call.
        if isinstance(embedder, (str, Path)):
            embedder = Qwen3VLEmbeddings(model=embedder)
        if isinstance(embedder, Qwen3VLEmbeddings):
            embedder = _check_plain(embedder, _EMBEDDER_OPTIONS).embedder
        if isinstance(reranker, (str, Path)):
            reranker = Qwen3VLRerank(model=reranker)
        if isinstance(reranker, Qwen3VLRerank):
            reranker = _check_plain(reranker, _RERANKER_OPTIONS).reranker
        return cls(base=MultimodalIndex.open(folder, embedder, reranker), **fields)

    def invoke(self, input: LangChainItem, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:  # noqa: A002 - the name in LangChain
        """Returns the best documents, best first.

        Args:
            input: The query: a text, or any other item, see `LangChainItem`.
            config: Configuration of the run.
            kwargs: `k`, `fetch_k`, `filter` and `score_threshold` of this call; any other fails.

        Raises:
            InputError: The query cannot be embedded or judged.
            ValueError: An option is out of range, or the store gives no scores for `score_threshold`.
        """
        return super().invoke(_hide_media(input), config, **kwargs)

    async def ainvoke(
        self,
        input: LangChainItem,  # noqa: A002 - the name in LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Returns the same as `invoke`; concurrent callers share forward passes."""
        return await super().ainvoke(_hide_media(input), config, **kwargs)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        call = self._plan(query, **options)
        found = self._rescore(self._recall(call, run_manager.get_child()), call)
        if self.reranker is not None and found:
            judge = _prepare_judge(self.reranker, len(found))
            found = judge.compress_documents(found, call.query, callbacks=run_manager.get_child())
        return self._explain(self._choose(found, call), call)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        call = self._plan(query, **options)
        found = await self._arecall(call, run_manager.get_child())
        # In a thread: parts of the run are read.
        found = await asyncio.to_thread(self._rescore, found, call)
        if self.reranker is not None and found:
            # In a thread: the first use loads the model.
            judge = await asyncio.to_thread(_prepare_judge, self.reranker, len(found))
            found = await judge.acompress_documents(found, call.query, callbacks=run_manager.get_child())
        return await asyncio.to_thread(self._explain, self._choose(found, call), call)

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
        k: int | None = None,
        fetch_k: int | None = None,
        filter: Any = None,  # noqa: A002 - the name in LangChain
        score_threshold: float | str | None = None,
    ) -> _Call:
        chosen = self.k if k is None else k
        fetched = max(chosen, self.fetch_k if fetch_k is None else fetch_k)
        if chosen < 1 or (fetch_k is not None and fetch_k < 1):
            raise ValueError(f"k={chosen} and fetch_k={fetch_k} must be at least 1")
        if filter is not None and isinstance(self.base, BaseRetriever):
            raise ValueError(f"filter is for stores, and base is {type(self.base).__name__}; give it to that")
        return _Call(
            query=query.query if isinstance(query, _TracedQuery) else query,
            k=chosen,
            count=chosen if self.reranker is None and self.full_vectors is None else fetched,
            fetch_k=fetched,
            filter=self.filter if filter is None else filter,
            score_threshold=self.score_threshold if score_threshold is None else score_threshold,
        )

    def _recall(self, call: _Call, callbacks: BaseCallbackManager) -> list[Document]:
        """Candidates, best first, with `similarity_score` in their metadata where `base` gives a cosine."""
        if isinstance(self.base, MultimodalIndex):
            return self._search_index(self.base, call)
        if isinstance(self.base, BaseRetriever):
            with _trace_child(call.query, callbacks) as config:
                return self.base.invoke(call.query, config)[: call.count]
        method, cosine = _choose_search(self.base, self.search_type, self.search_kwargs)
        found: list[Any] = getattr(self.base, method)(call.query, **self._list_arguments(call))
        return found if cosine is None else [_score(document, score, cosine) for document, score in found]

    async def _arecall(self, call: _Call, callbacks: BaseCallbackManager) -> list[Document]:
        if isinstance(self.base, MultimodalIndex):
            return await asyncio.to_thread(self._search_index, self.base, call)
        if isinstance(self.base, BaseRetriever):
            with _trace_child(call.query, callbacks) as config:
                return (await self.base.ainvoke(call.query, config))[: call.count]
        method, cosine = _choose_search(self.base, self.search_type, self.search_kwargs)
        found: list[Any] = await getattr(self.base, f"a{method}")(call.query, **self._list_arguments(call))
        return found if cosine is None else [_score(document, score, cosine) for document, score in found]

    def _rescore(self, found: list[Document], call: _Call) -> list[Document]:
        """The candidates in the order of their full vectors, if there are any."""
        if self.full_vectors is None or not found:
            return found
        short: Qwen3VLEmbeddings = self.base.embeddings
        full = short.model_copy(update={"dimensions": self.full_vectors.fingerprint.dimensions})
        full.fingerprint.require_match(self.full_vectors.fingerprint)
        cosines = self.full_vectors.score(full.embed_query_array(call.query), [_find_unit_id(one) for one in found])
        # Equal ones keep their order.
        order = np.argsort(-cosines, kind="stable").tolist()
        return [
            found[place].model_copy(
                update={"metadata": {**found[place].metadata, "similarity_score": float(cosines[place])}}
            )
            for place in order
        ]

    def _search_index(self, index: MultimodalIndex, call: _Call) -> list[Document]:
        results = index.search(
            coerce_item(call.query),
            k=call.count,
            fetch_k=call.fetch_k,
            where=call.filter,
            # The reranker of this retriever has the last word, and the threshold is about its scores.
            threshold=call.score_threshold if self.reranker is None else None,
            **self.search_kwargs,
        )
        return [hit_to_document(hit) for hit in results]

    def _list_arguments(self, call: _Call) -> dict[str, Any]:
        """The arguments of the store's search by name, without the query."""
        # Settings are copied: `PGVectorStore` writes the words of a query into those of its search, and keeps them.
        given = {name: deepcopy(value) if is_dataclass(value) else value for name, value in self.search_kwargs.items()}
        arguments: dict[str, Any] = {"k": call.count, **given}
        # Not every store has one.
        if call.filter is not None:
            arguments["filter"] = call.filter
        if self.search_type == "mmr":
            arguments.setdefault("fetch_k", _MMR_POOL * call.count)
        return arguments

    def _choose(self, found: Sequence[Document], call: _Call) -> list[Document]:
        """The first `k` documents whose score is high enough."""
        # An index has judged by its own scores.
        is_judged = isinstance(self.base, MultimodalIndex) and self.reranker is None
        if call.score_threshold is None or is_judged:
            return list(found[: call.k])
        if isinstance(call.score_threshold, str):
            raise ValueError(  # noqa: TRY004 - a str is allowed, and not with this base
                f"score_threshold={quote(call.score_threshold)} is measured for an index with its own reranker, and "
                f"base is {type(self.base).__name__}; give a number, or score_threshold and thresholds to Qwen3VLRerank"
            )
        lowest = call.score_threshold
        scorer, key = (self.base, "similarity_score") if self.reranker is None else (self.reranker, "relevance_score")
        if any(key not in document.metadata for document in found):
            raise ValueError(
                f"score_threshold={call.score_threshold}, and {type(scorer).__name__} gives no {key}; leave it out"
            )
        return [document for document in found if document.metadata[key] >= lowest][: call.k]

    def _explain(self, found: list[Document], call: _Call) -> list[Document]:
        """The documents with why they were found, by the models that found them, as far as they are ours."""
        if not self.explain or not found:
            return found
        embeddings = self.base.embeddings if isinstance(self.base, VectorStore) else None
        models: dict[str, Any] = {"instruction": self.search_kwargs.get("instruction")}
        if isinstance(self.base, MultimodalIndex):
            models |= {
                "embedder": self.base.embedder,
                "reranker": self.base.reranker,
                "media_policy": self.base.media_policy,
            }
        elif isinstance(embeddings, Qwen3VLEmbeddings):
            models |= {
                "embedder": embeddings.embedder,
                "media_key": embeddings.media_key,
                "media_policy": embeddings.media_policy,
            }
        if isinstance(self.reranker, Qwen3VLRerank):
            models |= {
                "reranker": self.reranker.reranker,
                "instruction": self.reranker.instruction,
                "media_key": self.reranker.media_key,
                "media_policy": self.reranker.media_policy,
            }
        return add_explanations(found, call.query, **models)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What one call asks for: `k` documents out of `count` candidates, `fetch_k` of which an index judges itself."""

    query: Any
    k: int
    count: int
    fetch_k: int
    filter: Any
    score_threshold: float | str | None


class _TracedQuery(str):
    """The description of a query, for callbacks, which carries the query as it was given.

    Retrievers hand callbacks and traces their input as it is, base64 and all.
    """

    __slots__ = ("query",)

    query: object


def _hide_media(query: object) -> str:
    """What callbacks may be handed for a query: a text as it is, of media what and how large it is."""
    if isinstance(query, str):
        return query
    description = describe_item(query)
    traced = _TracedQuery(description if isinstance(description, str) else json.dumps(description, ensure_ascii=False))
    traced.query = query
    return traced


@contextmanager
def _trace_child(query: object, callbacks: BaseCallbackManager) -> Generator[RunnableConfig]:
    """The configuration for another retriever that is asked the same; not traced if the query holds media."""
    if isinstance(query, str):
        yield {"callbacks": callbacks}
        return
    from langsmith import tracing_context  # pyright: ignore[reportUnknownVariableType] - bare dicts among its options

    # It would hand the query to its callbacks as it is.
    with tracing_context(enabled=False):
        yield {"callbacks": []}


def _prepare_judge(reranker: BaseDocumentCompressor, count: int) -> BaseDocumentCompressor:
    """The reranker, returning all of `count` documents: how many are wanted is the retriever's to say."""
    if isinstance(reranker, NamedReranker):
        # Loaded here, and so held by the field: a copy is released after the call.
        _ = reranker.reranker
    limits = [name for name in ("top_n", "top_k") if name in type(reranker).model_fields]
    return reranker.model_copy(update=dict.fromkeys(limits, count)) if limits else reranker


def _check_plain(wrapper: _Wrapper, options: Sequence[str]) -> _Wrapper:
    """Raises `ValueError` if embeddings or reranker have options that an index would not use."""
    given = [name for name in options if name in wrapper.model_fields_set]
    if given:
        raise ValueError(
            f"{given[0]} of {type(wrapper).__name__} has no effect in an index; give a ready core object that has it, "
            "or search_kwargs={'instruction': …}, score_threshold and explain to the retriever"
        )
    return wrapper


def _takes_fetch_k(base: object, search_type: object) -> bool:
    """Whether the search of a store has a `fetch_k` of its own.

    With `search_type="mmr"` it says how many documents variety is sought among, and of FAISS how many are fetched
    before they are filtered.
    """
    if search_type == "mmr":
        return True
    return (
        isinstance(base, VectorStore) and "fetch_k" in inspect.signature(base.similarity_search_with_score).parameters
    )


def _check_search_options(base: object, search_type: SearchType, options: Mapping[str, Any]) -> None:
    """Raises `ValueError` for an option that a search of `base` does not take, as far as that is known beforehand."""
    if "lambda_mult" in options and search_type != "mmr":
        raise ValueError(f"lambda_mult is for search_type='mmr', and search_type is {search_type!r}")
    if isinstance(base, MultimodalIndex):
        for name, field in _INDEX_NAMES.items():
            if name in options:
                raise ValueError(f"search_kwargs has {name!r}; give it as {field}, a field of the retriever")
        search: Callable[..., Any] = base.search
    elif isinstance(base, VectorStore):
        search = base.max_marginal_relevance_search if search_type == "mmr" else base.similarity_search_with_score
    else:
        return
    parameters = inspect.signature(search).parameters
    named = [name for name, one in parameters.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    is_open = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    known = list(dict.fromkeys([*named[1:], *_SEARCH_FIELDS]))
    for name in options:
        near = get_close_matches(name, known, n=1, cutoff=0.75)
        # Stores hand further arguments on to their databases: what is there is not known here.
        if name not in known and (near or not is_open):
            advice = f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(sorted(known))}"
            raise ValueError(f"search_kwargs has {name!r}, which {type(base).__name__} does not know; {advice}")


def _choose_search(
    store: VectorStore, search_type: SearchType, options: Mapping[str, Any]
) -> tuple[str, Callable[[float], float] | None]:
    """The method that a store is searched by, and what turns its scores into cosines, if it returns any."""
    if search_type == "mmr":
        return "max_marginal_relevance_search", None
    if options.get(_HYBRID) is not None:
        # Scores of words are among them.
        return "similarity_search", None
    cosine = find_cosine(store)
    return ("similarity_search", None) if cosine is None else ("similarity_search_with_score", cosine)


def _score(document: Document, score: float, cosine: Callable[[float], float]) -> Document:
    """A copy with the cosine: some stores hand out the metadata that they hold."""
    metadata = {**document.metadata, "similarity_score": cosine(float(score))}
    # Qdrant keeps it there.
    own_id = metadata.get("_id") if document.id is None else document.id
    return document.model_copy(update={"metadata": metadata, "id": None if own_id is None else str(own_id)})


def _has_qwen_embeddings(base: object) -> bool:
    return isinstance(base, VectorStore) and isinstance(base.embeddings, Qwen3VLEmbeddings)


def _find_unit_id(document: Document) -> str:
    """The id of the unit that `qwen3vl load` has entered: stores whose ids are others have it among the metadata."""
    unit_id = document.metadata.get("id", document.id)
    if not isinstance(unit_id, str):
        raise StoreError(
            "a document that was found has no id; full_vectors are for a store that qwen3vl load has filled: give the "
            "name of its id to the store (id_column of PGVectorStore, primary_field of Milvus)"
        )
    return unit_id
