"""Thresholds that `qwen3vl eval` has measured, in retrievers and rerankers."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document

from langchain_qwen3_vl import Qwen3VLRerank, Qwen3VLRetriever
from measured_thresholds import TEXTS, open_measured_index
from qwen3_vl_retrieval import StoreError
from qwen3_vl_retrieval.testing import FakeReranker


@pytest.fixture
def index(tmp_path):
    with open_measured_index(tmp_path / "store") as opened:
        yield opened


def test_a_retriever_over_an_index_takes_a_threshold_by_what_it_means(index):
    retriever = Qwen3VLRetriever.from_index(index, score_threshold="fpr=0.01")
    assert [document.page_content for document in retriever.invoke("a red mug")] == ["a red mug"]
    assert len(retriever.invoke("a red mug", score_threshold=0.1)) == 3
    with pytest.raises(ValueError, match="was not measured"):
        retriever.invoke("a red mug", score_threshold="fpr=0.1")


def test_a_retriever_with_a_reranker_of_its_own_refuses_it(index):
    retriever = Qwen3VLRetriever(base=index, reranker=Qwen3VLRerank(model=FakeReranker()), score_threshold="fpr=0.01")
    with pytest.raises(ValueError, match="give a number, or score_threshold and thresholds to Qwen3VLRerank"):
        retriever.invoke("a red mug")


def test_a_reranker_takes_it_from_the_folder_of_the_index(index):
    documents = [Document(page_content=text) for text in TEXTS]
    folder = str(index.store.layout.folder)
    rerank = Qwen3VLRerank(model=FakeReranker(), top_n=None, score_threshold="fpr=0.01", thresholds=folder)
    assert [one.page_content for one in rerank.compress_documents(documents, "a red mug")] == ["a red mug"]
    with pytest.raises(ValueError, match="needs thresholds, the folder of the index"):
        Qwen3VLRerank(model=FakeReranker(), score_threshold="fpr=0.01").compress_documents(documents, "a red mug")
    other = rerank.model_copy(update={"instruction": "Find a receipt."})
    with pytest.raises(StoreError, match="another instruction"):
        other.compress_documents(documents, "a red mug")
