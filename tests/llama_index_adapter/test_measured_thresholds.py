"""Thresholds that `qwen3vl eval` has measured, in the retriever and the postprocessor."""

from __future__ import annotations

import pytest
from llama_index.core.schema import NodeWithScore, TextNode

from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever
from measured_thresholds import TEXTS, open_measured_index
from qwen3_vl_retrieval.testing import FakeReranker


@pytest.fixture
def index(tmp_path):
    with open_measured_index(tmp_path / "store") as opened:
        yield opened


def test_a_retriever_over_an_index_takes_a_threshold_by_what_it_means(index):
    retriever = Qwen3VLRetriever(index, vector_store_kwargs={"threshold": "fpr=0.01"})
    assert [found.node.get_content() for found in retriever.retrieve("a red mug")] == ["a red mug"]


def test_a_postprocessor_takes_it_from_the_folder_of_the_index(index):
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]
    folder = str(index.store.layout.folder)
    rerank = Qwen3VLRerank(reranker=FakeReranker(), top_n=3, score_threshold="fpr=0.01", thresholds=folder)
    found = rerank.postprocess_nodes(nodes, query_str="a red mug")
    assert [one.node.get_content() for one in found] == ["a red mug"]
    with pytest.raises(ValueError, match="needs thresholds, the folder of the index"):
        Qwen3VLRerank(reranker=FakeReranker(), score_threshold="fpr=0.01").postprocess_nodes(nodes, query_str="a mug")
