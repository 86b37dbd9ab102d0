"""Why nodes were found, on request, among their metadata, and shown to no model."""

from __future__ import annotations

import pytest
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode

from explained_index import QUERY, open_explained_index
from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever
from qwen3_vl_retrieval.testing import FakeReranker


@pytest.fixture
def index(tmp_path):
    with open_explained_index(tmp_path) as opened:
        yield opened


def test_a_retriever_over_an_index_says_why_it_found_a_page_and_a_text(index):
    found = Qwen3VLRetriever(index, explain=True).retrieve(QUERY)
    words = {
        one.node.metadata["media_type"]: [region["text"] for region in one.node.metadata["explanation"]["regions"]]
        for one in found
    }
    assert words == {"page": ["Invoice", "Acme"], "text": ["Acme"]}
    assert all("explanation" not in one.node.get_content(MetadataMode.LLM) for one in found)
    plain = Qwen3VLRetriever(index).retrieve(QUERY)
    assert all("explanation" not in one.node.metadata for one in plain)


async def test_a_coroutine_says_the_same(index):
    retriever = Qwen3VLRetriever(index, explain=True)
    waited = await retriever.aretrieve(QUERY)
    assert [one.node.metadata for one in waited] == [one.node.metadata for one in retriever.retrieve(QUERY)]


def test_a_postprocessor_explains_what_it_returns_and_leaves_what_was_given_alone():
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in ("a red mug", "nothing of it")]
    rerank = Qwen3VLRerank(reranker=FakeReranker(), top_n=1, explain=True, keep_retrieval_score=True)
    (found,) = rerank.postprocess_nodes(nodes, query_str="the red mug")
    assert [region["text"] for region in found.node.metadata["explanation"]["regions"]] == ["red mug"]
    assert found.node.metadata["retrieval_score"] == 0.5
    assert nodes[0].node.metadata == {}


async def test_a_postprocessor_that_is_awaited_says_the_same():
    nodes = [NodeWithScore(node=TextNode(text="a red mug"))]
    rerank = Qwen3VLRerank(reranker=FakeReranker(), explain=True)
    (waited,) = await rerank.apostprocess_nodes(nodes, query_str="the red mug")
    (found,) = rerank.postprocess_nodes(nodes, query_str="the red mug")
    assert waited.node.metadata == found.node.metadata
