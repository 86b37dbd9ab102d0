"""The classes of LlamaIndex with a model that a server has."""

from __future__ import annotations

import numpy as np
import pytest
from llama_index.core.schema import NodeWithScore, TextNode
from PIL import Image

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from qwen3_vl_retrieval import RemoteError
from qwen3_vl_retrieval.server import create_app
from served_apps import serve_app

KEY = "secret"


@pytest.fixture(scope="module")
def in_process():
    return Qwen3VLEmbedding("pocket", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def judge_in_process():
    return Qwen3VLRerank("pocket", device="cpu", dtype="float32", top_n=3)


@pytest.fixture(scope="module")
def api_base(in_process, judge_in_process):
    app = create_app(embedder=in_process.embedder, reranker=judge_in_process.reranker, api_keys=[KEY])
    with serve_app(app) as url:
        yield url


@pytest.fixture(autouse=True)
def key_of_the_environment(monkeypatch):
    monkeypatch.setenv("QWEN3VL_API_KEY", KEY)


def list_nodes():
    return [NodeWithScore(node=TextNode(text=text)) for text in ("a blue square", "a red triangle", "two circles")]


def test_vectors_of_a_server_are_those_in_process(api_base, in_process, tmp_path):
    Image.new("RGB", (96, 64), "red").save(tmp_path / "red.png")
    for remote in (Qwen3VLEmbedding(api_base=api_base), Qwen3VLEmbedding("pocket", api_base=api_base)):
        assert remote.fingerprint == in_process.fingerprint
        for embed in ("get_text_embedding", "get_query_embedding"):
            found, expected = (getattr(model, embed)("a red triangle") for model in (remote, in_process))
            assert np.abs(np.subtract(found, expected)).max() < 2e-5
        found, expected = (model.get_image_embedding(tmp_path / "red.png") for model in (remote, in_process))
        assert np.abs(np.subtract(found, expected)).max() < 2e-5


async def test_orders_of_a_server_are_those_in_process(api_base, judge_in_process):
    remote = Qwen3VLRerank(api_base=api_base, top_n=3)
    expected = judge_in_process.postprocess_nodes(list_nodes(), query_str="a red triangle")
    for found in (
        remote.postprocess_nodes(list_nodes(), query_str="a red triangle"),
        await remote.apostprocess_nodes(list_nodes(), query_str="a red triangle"),
    ):
        assert [node.text for node in found] == [node.text for node in expected]
        assert [node.score for node in found] == pytest.approx([node.score for node in expected], abs=5e-5)


def test_it_is_serialised_with_its_address_and_without_the_key(api_base, in_process):
    written = Qwen3VLEmbedding(api_base=api_base, api_key=KEY).to_dict()
    assert written["api_base"] == api_base
    assert KEY not in str(written)
    assert Qwen3VLEmbedding.from_dict(written).fingerprint == in_process.fingerprint


def test_what_does_not_fit_an_address_is_refused(api_base, in_process):
    with pytest.raises(ValueError, match="device='cpu' was given beside a server"):
        Qwen3VLEmbedding(api_base=api_base, device="cpu").get_text_embedding("a")
    with pytest.raises(ValueError, match="api_base was given beside a ready"):
        Qwen3VLEmbedding(embedder=in_process.embedder, api_base=api_base)
    with pytest.raises(RemoteError, match="refuses the API key"):
        Qwen3VLEmbedding(api_base=api_base, api_key="wrong").get_text_embedding("a")
