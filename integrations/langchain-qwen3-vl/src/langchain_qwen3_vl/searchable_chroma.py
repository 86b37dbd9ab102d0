"""Chroma searched by anything that can be embedded, natively async, with the orders and scores that names promise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from PIL import Image

from langchain_qwen3_vl.contents import LangChainItem
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.shared_chroma import SharedChroma
from qwen3_vl_retrieval import StoreError

__all__ = ["Condition", "SearchableChroma"]

Condition: TypeAlias = "dict[str, Any] | None"
"""On metadata or texts, in Chroma's language; `None` is none."""


class SearchableChroma(SharedChroma):
    """The searches of `MultimodalChroma`. Wherever `Chroma` says a query is a text, it is any `LangChainItem`."""

    def similarity_search_by_image(
        self,
        uri: str | Path | bytes | Image.Image,
        k: int = 4,
        filter: Condition = None,  # noqa: A002 - the name in LangChain
        **kwargs: Any,
    ) -> list[Document]:
        """Returns the documents nearest to a picture, nearest first.

        Args:
            uri: Path, URI or the picture itself.
            k: Documents at most.
            filter: Condition on metadata.
            kwargs: `where_document`.

        Raises:
            InputError: The picture cannot be read.
            StoreError: The store has no embeddings that see pictures.
        """
        found = self.similarity_search_by_image_with_relevance_score(uri, k, filter, **kwargs)
        return [document for document, _ in found]

    def similarity_search_by_image_with_relevance_score(
        self,
        uri: str | Path | bytes | Image.Image,
        k: int = 4,
        filter: Condition = None,  # noqa: A002 - the name in LangChain
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        """Returns the same as `similarity_search_by_image`, with the relevance of each: higher is better.

        For cosine, the default, that is the cosine itself.
        """
        found = self.similarity_search_by_vector_with_relevance_scores(self._embed_image(uri), k, filter, **kwargs)
        score = self._select_relevance_score_fn()
        return [(document, score(distance)) for document, distance in found]

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Condition = None,  # noqa: A002 - the name in LangChain
        where_document: Condition = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Returns documents that are near to the vector and unlike each other, in the order in which they were chosen.

        Args:
            embedding: Of the query.
            k: Documents at most.
            fetch_k: Nearest documents among which they are chosen; `k` if that is more.
            lambda_mult: 1 is for nearness alone, 0 for variety.
            filter: Condition on metadata.
            where_document: Condition on texts.
            kwargs: Of Chroma's `Collection.query`.
        """
        found = self._collection.query(
            query_embeddings=[np.asarray(embedding, dtype=np.float32)],
            n_results=max(fetch_k, k),
            where=filter,
            where_document=cast("Any", where_document),
            include=["metadatas", "documents", "embeddings"],
            **kwargs,
        )
        rows = list(_read_rows(found))
        if not rows:
            return []
        chosen = maximal_marginal_relevance(
            np.asarray(embedding, dtype=np.float32), [vector for _, vector in rows], lambda_mult=lambda_mult, k=k
        )
        return [rows[place][0] for place in chosen]

    async def asimilarity_search(self, query: LangChainItem, k: int = 4, **kwargs: Any) -> list[Document]:
        """Returns the same as `similarity_search`; concurrent callers share forward passes."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **kwargs)]

    async def asimilarity_search_with_score(
        self, query: LangChainItem, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Returns the same as `similarity_search_with_score`; concurrent callers share forward passes."""
        vector = await self._find_embeddings().aembed_query(cast("str", query))
        return await asyncio.to_thread(self.similarity_search_by_vector_with_relevance_scores, vector, k, **kwargs)

    async def amax_marginal_relevance_search(
        self, query: LangChainItem, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Returns the same as `max_marginal_relevance_search`; concurrent callers share forward passes."""
        vector = await self._find_embeddings().aembed_query(cast("str", query))
        return await asyncio.to_thread(
            self.max_marginal_relevance_search_by_vector, vector, k, fetch_k, lambda_mult, **kwargs
        )

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Returns the documents of those ids that exist, in the order of `ids`."""
        if not ids:
            return []
        found = self.get(ids=list(dict.fromkeys(ids)))
        rows = zip(found["ids"], found["documents"], found["metadatas"], strict=True)
        documents = {row[0]: _build_document(*row) for row in rows}
        return [documents[row_id] for row_id in ids if row_id in documents]

    def _find_embeddings(self) -> Embeddings:
        if self._embedding_function is None:
            raise StoreError("the store was opened without embeddings; give embedding_function=Qwen3VLEmbeddings(…)")
        return self._embedding_function

    def _embed_image(self, uri: str | Path | bytes | Image.Image) -> list[float]:
        embeddings = self._find_embeddings()
        if isinstance(embeddings, Qwen3VLEmbeddings):
            return embeddings.embed_query({"image": uri})
        if not hasattr(embeddings, "embed_image"):
            raise StoreError(f"{type(embeddings).__name__} embeds texts alone; use Qwen3VLEmbeddings")
        # The name and form that langchain_chroma asks for.
        return list(cast("Any", embeddings).embed_image(uris=[uri])[0])


def _build_document(row_id: str, text: str | None, metadata: dict[str, Any] | None) -> Document:
    # Rows of other programs may have neither.
    return Document(page_content="" if text is None else text, metadata={} if metadata is None else metadata, id=row_id)


def _read_rows(found: Any) -> Iterable[tuple[Document, Any]]:
    """The documents of the first query, with their vectors."""
    columns = (found[name][0] for name in ("ids", "documents", "metadatas", "embeddings"))
    for row_id, text, metadata, vector in zip(*columns, strict=True):
        yield _build_document(row_id, text, metadata), vector
