"""LangChain's own suite for retrievers, over a store and over an index."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests

from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.rerank import Qwen3VLRerank
from langchain_qwen3_vl.retrievers import Qwen3VLRetriever
from qwen3_vl_retrieval.index import MultimodalIndex

TEXTS = ["red circle", "blue square", "green star", "yellow ring", "black cross"]


class TestOverAStore(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self):
        return Qwen3VLRetriever

    @property
    def retriever_constructor_params(self):
        store = InMemoryVectorStore(Qwen3VLEmbeddings(model="pocket"))
        store.add_documents([Document(text) for text in TEXTS])
        return {"base": store, "reranker": Qwen3VLRerank(model="pocket")}

    @property
    def retriever_query_example(self):
        return "blue square"


class TestOverAnIndex(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def index(self, tmp_path):
        embedder, reranker = Qwen3VLEmbeddings(model="pocket").embedder, Qwen3VLRerank(model="pocket").reranker
        with MultimodalIndex.open(tmp_path / "index", embedder, reranker) as self.opened:
            self.opened.add(TEXTS)
            yield

    @property
    def retriever_constructor(self):
        return Qwen3VLRetriever

    @property
    def retriever_constructor_params(self):
        return {"base": self.opened}

    @property
    def retriever_query_example(self):
        return "blue square"
