"""LangChain's own suite for vector stores, with its embeddings and with ours."""

from __future__ import annotations

import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.vectorstores import MultimodalChroma


class TestInMemory(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self):
        store = MultimodalChroma("standard", self.get_embeddings())
        try:
            yield store
        finally:
            store.delete_collection()


class TestOnDisk(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path):
        return MultimodalChroma("standard", self.get_embeddings(), persist_directory=tmp_path)


class TestWithPocketEmbeddings(VectorStoreIntegrationTests):
    """The suite never looks at the vectors, so that it runs with a model as well."""

    @staticmethod
    def get_embeddings() -> Embeddings:
        return Qwen3VLEmbeddings(model="pocket")

    @pytest.fixture
    def vectorstore(self, tmp_path):
        return MultimodalChroma("standard", self.get_embeddings(), persist_directory=tmp_path)
