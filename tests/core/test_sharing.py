import gc
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

import numpy as np
import pytest

from qwen3_vl_retrieval import PixelBudget, Qwen3VLEmbedder, Qwen3VLReranker, share_embedder, share_reranker, sharing

SMALL = PixelBudget(max_pixels=64 * 32 * 32)


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    """What is loaded while a test runs, by class; nothing is shared at first."""
    monkeypatch.setattr(sharing, "_EMBEDDERS", WeakValueDictionary())
    monkeypatch.setattr(sharing, "_RERANKERS", WeakValueDictionary())
    monkeypatch.setattr(sharing, "_ORIGINS", WeakKeyDictionary())
    names = []
    for kind in (Qwen3VLEmbedder, Qwen3VLReranker):

        def count(cls, *args, load=kind.from_pretrained.__func__, **options):
            names.append(cls.__name__)
            return load(cls, *args, **options)

        monkeypatch.setattr(kind, "from_pretrained", classmethod(count))
    return names


@pytest.fixture(scope="session")
def checkpoints(reference):
    return reference / "checkpoints"


def test_equal_options_give_the_same_object(checkpoints, loaded):
    embedder = share_embedder(checkpoints / "embedding")
    assert share_embedder(str(checkpoints / "embedding"), device="cpu") is embedder
    reranker = share_reranker(checkpoints / "reranker")
    assert share_reranker(checkpoints / "reranker") is reranker
    assert loaded == ["Qwen3VLEmbedder", "Qwen3VLReranker"]


def test_other_limits_share_the_weights(checkpoints, loaded):
    one = share_embedder(checkpoints / "embedding")
    other = share_embedder(checkpoints / "embedding", pixel_budget=SMALL, max_length=512)
    assert other is not one
    assert other.model is one.model
    assert other.fingerprint.revision == one.fingerprint.revision
    assert other.fingerprint.pixel_budget != one.fingerprint.pixel_budget
    np.testing.assert_allclose(other.embed(["a"]), one.embed(["a"]), atol=1e-6)
    judge, smaller = share_reranker(checkpoints / "reranker"), share_reranker(checkpoints / "reranker", max_length=512)
    assert smaller.model is judge.model
    np.testing.assert_allclose(smaller.score("a", ["b"]), judge.score("a", ["b"]), atol=1e-6)
    assert loaded == ["Qwen3VLEmbedder", "Qwen3VLReranker"]


def test_the_reading_of_images_is_an_option_of_sharing(checkpoints, loaded):
    viewer = share_embedder(checkpoints / "embedding")
    reference = share_embedder(checkpoints / "embedding", image_reading="reference")
    assert (viewer.image_reading, reference.image_reading) == ("viewer", "reference")
    assert reference is share_embedder(checkpoints / "embedding", image_reading="reference") is not viewer
    assert reference.model is viewer.model
    judge = share_reranker(checkpoints / "reranker", image_reading="reference")
    assert judge.image_reading == "reference"
    assert share_reranker(checkpoints / "reranker").model is judge.model
    assert loaded == ["Qwen3VLEmbedder", "Qwen3VLReranker"]


def test_limits_of_the_checkpoint_stay_where_no_others_are_given(loaded):
    own = share_embedder("pocket")
    assert share_embedder("pocket", max_length=512).pixel_budget == own.pixel_budget != PixelBudget()
    assert loaded == ["Qwen3VLEmbedder"]


def test_a_commit_finds_what_its_branch_loaded(checkpoints, loaded):
    embedder = share_embedder(checkpoints / "embedding")
    assert share_embedder(checkpoints / "embedding", revision=embedder.fingerprint.revision) is embedder
    assert loaded == ["Qwen3VLEmbedder"]


def test_another_number_format_is_another_model(checkpoints, loaded):
    one, other = (share_embedder(checkpoints / "embedding", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert one.model is not other.model
    assert len(loaded) == 2


def test_threads_load_a_model_once(checkpoints, loaded):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: share_embedder(checkpoints / "embedding"), range(8)))
    assert len({id(one) for one in found}) == 1
    assert loaded == ["Qwen3VLEmbedder"]


def test_a_model_is_let_go_of_when_nobody_holds_it(checkpoints):
    derived = share_embedder(checkpoints / "embedding", max_length=512)
    gc.collect()
    assert share_embedder(checkpoints / "embedding").model is derived.model
    model = ref(derived.model)
    del derived
    gc.collect()
    assert model() is None
