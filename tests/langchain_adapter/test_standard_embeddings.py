"""The standard suites of langchain-tests, on the pocket model."""

from __future__ import annotations

import pytest
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings


class TestQwen3VLEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self):
        return Qwen3VLEmbeddings

    @property
    def embedding_model_params(self):
        return {"model": "pocket"}

    @property
    def init_from_env_params(self):
        return {"HF_TOKEN": "hf_token"}, {"model": "pocket"}, {"token": "hf_token"}


# The suite is half async, and the mark is of the class.
@pytest.mark.filterwarnings("ignore:.*is not an async function:pytest.PytestWarning")
@pytest.mark.asyncio
class TestQwen3VLEmbeddingsIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self):
        return Qwen3VLEmbeddings

    @property
    def embedding_model_params(self):
        return {"model": "pocket"}
