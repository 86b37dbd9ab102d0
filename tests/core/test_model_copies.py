"""Models that are copied, and sent to other processes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from qwen3_vl_retrieval import Qwen3VLEmbedder, share_embedder, share_reranker


def send(model):
    content = pickle.dumps(model)
    assert len(content) < 10_000
    return pickle.loads(content)  # noqa: S301 - written above


def test_a_model_that_was_loaded_by_name_is_loaded_by_it_again(reference):
    folder = reference / "checkpoints" / "embedding"
    options = {"device": "cpu", "dtype": "float32", "dimensions": 32, "max_length": 512, "image_reading": "reference"}
    embedder = Qwen3VLEmbedder.from_pretrained(folder, token="hf_secret", **options)  # noqa: S106 - made up
    assert b"hf_secret" not in pickle.dumps(embedder)
    sent = send(embedder)
    assert sent.fingerprint == embedder.fingerprint
    assert np.abs(sent.embed(["a"]) - embedder.embed(["a"])).max() < 1e-6


def test_what_shares_weights_is_sent_with_its_own_limits(reference):
    embedder = share_embedder(reference / "checkpoints" / "embedding", dtype="float32", max_length=256)
    assert send(embedder).fingerprint == embedder.fingerprint
    reranker = share_reranker(reference / "checkpoints" / "reranker", dtype="float32", max_length=256)
    assert np.abs(send(reranker).score("a", ["b"]) - reranker.score("a", ["b"])).max() < 1e-6


def test_a_model_around_ready_weights_says_why_it_cannot_be_sent(embedder, reranker):
    for model, kind in ((embedder, "Qwen3VLEmbedder"), (reranker, "Qwen3VLReranker")):
        with pytest.raises(pickle.PicklingError, match=f"load it with {kind}.from_pretrained"):
            pickle.dumps(model)


def test_copies_share_the_weights(embedder, reranker):
    for model in (embedder, reranker):
        assert copy.copy(model) is model
        assert copy.deepcopy({"nested": [model]})["nested"][0] is model
