"""The classes of LangChain with a model that a server has."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from langchain_core.documents import Document
from PIL import Image

from langchain_qwen3_vl import MultimodalChroma, Qwen3VLCrossEncoder, Qwen3VLEmbeddings, Qwen3VLRerank
from qwen3_vl_retrieval import FrameSampling, PixelBudget, RemoteError
from qwen3_vl_retrieval.server import create_app
from served_apps import serve_app

KEY = "secret"


@pytest.fixture(scope="module")
def in_process():
    return Qwen3VLEmbeddings(model="pocket", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def judge_in_process():
    return Qwen3VLRerank(model="pocket", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def base_url(in_process, judge_in_process):
    app = create_app(embedder=in_process.embedder, reranker=judge_in_process.reranker, api_keys=[KEY])
    with serve_app(app) as url:
        yield url


@pytest.fixture(autouse=True)
def key_of_the_environment(monkeypatch):
    monkeypatch.setenv("QWEN3VL_API_KEY", KEY)


def test_vectors_of_a_server_are_those_in_process(base_url, in_process):
    remote = Qwen3VLEmbeddings(base_url=base_url)
    items = ["a red triangle", {"image": Image.new("RGB", (96, 64), "red"), "text": "a red image"}]
    assert remote.fingerprint == in_process.fingerprint
    assert remote.model_name == "pocket"
    assert np.abs(np.subtract(remote.embed_documents(items), in_process.embed_documents(items))).max() < 2e-5
    assert np.abs(np.subtract(remote.embed_query("red"), in_process.embed_query("red"))).max() < 2e-5


async def test_awaited_vectors_and_orders_are_the_same(base_url, in_process, judge_in_process):
    remote, judge = Qwen3VLEmbeddings(base_url=base_url), Qwen3VLRerank(base_url=base_url)
    assert np.abs(np.subtract(await remote.aembed_query("red"), in_process.embed_query("red"))).max() < 2e-5
    documents = [Document("a red triangle"), Document("a blue square")]
    found = await judge.acompress_documents(documents, "a red triangle")
    expected = judge_in_process.compress_documents(documents, "a red triangle")
    assert [document.page_content for document in found] == [document.page_content for document in expected]


def test_judgements_of_a_server_are_those_in_process(base_url, judge_in_process):
    documents = ["a red triangle", "a blue square", {"image": Image.new("RGB", (96, 64), "red")}]
    for remote in (Qwen3VLRerank(base_url=base_url, top_n=None), Qwen3VLRerank(base_url=base_url, model="pocket")):
        found = remote.rerank(documents, "a red triangle", top_n=None)
        expected = judge_in_process.rerank(documents, "a red triangle", top_n=None)
        for one, other in zip(found, expected, strict=True):
            assert one["relevance_score"] == pytest.approx(other["relevance_score"], abs=5e-5)
    encoder = Qwen3VLCrossEncoder(base_url=base_url)
    assert encoder.score([("a red triangle", "a red triangle")])[0] == pytest.approx(
        found[0]["relevance_score"], abs=5e-5
    )


def test_a_store_made_in_process_opens_with_a_server_of_the_same_model(base_url, in_process, tmp_path):
    MultimodalChroma("things", in_process, persist_directory=tmp_path).add_texts(["a red triangle", "a blue square"])
    store = MultimodalChroma("things", Qwen3VLEmbeddings(base_url=base_url), persist_directory=tmp_path)
    assert store.similarity_search("a red triangle", k=1)[0].page_content == "a red triangle"


def test_limits_of_what_is_seen_hold_here(base_url):
    limits = {
        "pixel_budget": PixelBudget(max_pixels=65536, frame_min_pixels=4096, frame_max_pixels=65536),
        "frame_sampling": FrameSampling(max_frames=8),
        "max_length": 512,
    }
    fingerprint = Qwen3VLEmbeddings(base_url=base_url, **limits).fingerprint
    assert fingerprint.max_length == 512
    assert fingerprint.pixel_budget == limits["pixel_budget"].describe()


def test_what_the_server_has_chosen_is_refused(base_url):
    with pytest.raises(ValueError, match="device='cpu' was given beside a server"):
        Qwen3VLEmbeddings(base_url=base_url, device="cpu").embed_query("a")


def test_an_address_beside_a_ready_object_is_refused(base_url, in_process):
    with pytest.raises(ValueError, match="base_url was given beside a ready"):
        Qwen3VLEmbeddings(model=in_process.embedder, base_url=base_url)
    # One that is not given is none.
    assert Qwen3VLEmbeddings(model=in_process.embedder, base_url=None, api_key=None).embed_query("a")


def test_a_wrong_key_is_said_and_a_key_is_never_shown_nor_sent_on(base_url):
    with pytest.raises(RemoteError, match="refuses the API key"):
        Qwen3VLEmbeddings(base_url=base_url, api_key="wrong").embed_query("a")
    remote = Qwen3VLEmbeddings(base_url=base_url, api_key=KEY)
    assert KEY not in repr(remote)
    assert pickle.loads(pickle.dumps(remote)).embed_query("a")  # noqa: S301 - written above
