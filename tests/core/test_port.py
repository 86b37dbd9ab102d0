"""Each implementation of the port passes the port's own suite: in process, the pocket models, fakes, plain objects."""

from __future__ import annotations

import numpy as np
import pytest

from made_up_embedder import MadeUpEmbedder
from qwen3_vl_retrieval import (
    InputError,
    PixelBudget,
    Qwen3VLEmbedder,
    Qwen3VLReranker,
    adapt_embedder,
    adapt_reranker,
    rank_documents,
)
from qwen3_vl_retrieval.testing import EmbedderTests, FakeEmbedder, FakeReranker, RerankerTests

BUDGET = PixelBudget(min_pixels=4096, max_pixels=16384, frame_min_pixels=4096, frame_max_pixels=4096)


class PlainEmbedder:
    """The least that there is, and it stops at the first bad item."""

    def __init__(self):
        self._fake = FakeEmbedder()
        self.fingerprint = self._fake.fingerprint

    def embed_queries(self, items):
        return self._fake.embed_queries(items)

    def embed_documents(self, items):
        return self._fake.embed_documents(items)


class PlainReranker:
    """The least that there is, and it stops at the first bad document."""

    def __init__(self):
        self._fake = FakeReranker()

    def score(self, query, documents):
        return self._fake.score(query, documents)


class TestFakeEmbedder(EmbedderTests):
    def make_model(self):
        return FakeEmbedder()


class TestAdaptedEmbedder(EmbedderTests):
    def make_model(self):
        return adapt_embedder(PlainEmbedder())


class TestFakeReranker(RerankerTests):
    def make_model(self):
        return FakeReranker()


class TestAdaptedReranker(RerankerTests):
    def make_model(self):
        return adapt_reranker(PlainReranker())


@pytest.fixture(scope="module", params=["reference", "pocket"])
def embedder(request, reference):
    name = reference / "checkpoints/embedding" if request.param == "reference" else "pocket"
    return Qwen3VLEmbedder.from_pretrained(name, device="cpu", dtype="float32", pixel_budget=BUDGET)


@pytest.fixture(scope="module", params=["reference", "pocket"])
def reranker(request, reference):
    name = reference / "checkpoints/reranker" if request.param == "reference" else "pocket"
    return Qwen3VLReranker.from_pretrained(name, device="cpu", dtype="float32", pixel_budget=BUDGET)


class TestQwen3VLEmbedder(EmbedderTests):
    @pytest.fixture(autouse=True)
    def keep_model(self, embedder):
        self._model = embedder

    def make_model(self):
        return self._model


class TestQwen3VLReranker(RerankerTests):
    @pytest.fixture(autouse=True)
    def keep_model(self, reranker):
        self._model = reranker

    def make_model(self):
        return self._model


def test_what_is_neither_is_refused_with_what_it_would_need():
    with pytest.raises(TypeError, match=r"got int; an embedder is an object with embed_queries, embed_documents"):
        adapt_embedder(3)
    with pytest.raises(TypeError, match=r"got object; a reranker is an object with score"):
        adapt_reranker(object())


@pytest.mark.parametrize("options", [{"dimensions": 32}, {"instruction": "Find."}, {"normalize": False}])
def test_a_plain_embedder_is_given_no_options_in_silence(options):
    with pytest.raises(ValueError, match=r"MadeUpEmbedder takes no options with its calls; set it there"):
        adapt_embedder(MadeUpEmbedder()).embed(["a"], **options)


@pytest.mark.parametrize("score", [1.5, -0.1, float("nan")])
def test_scores_that_are_no_probabilities_are_refused(score):
    class Wrong:
        def score(self, query, documents):
            return [score] * len(documents)

    with pytest.raises(ValueError, match="probabilities lie between 0 and 1"):
        adapt_reranker(Wrong()).score("a", ["b"])


def test_probabilities_of_0_and_1_keep_their_order_and_value():
    class Sure:
        def score(self, query, documents):
            return [float(document) for document in documents]

    ranking = rank_documents(adapt_reranker(Sure()), "x", ["0", "1", "0.5", "0.9"])
    assert [place.index for place in ranking.ranked] == [1, 3, 2, 0]
    np.testing.assert_allclose([place.score for place in ranking.ranked], [1, 0.9, 0.5, 0], atol=1e-6)


def test_documents_that_could_not_be_built_are_raised_judged_by_text_or_left_out(caplog):
    broken = InputError("the file is gone")
    documents = ["red disc", broken, "blue"]
    with pytest.raises(InputError, match="node 1"):
        rank_documents(FakeReranker(), "red disc", documents, role="node")
    dropped = rank_documents(FakeReranker(), "red disc", documents, on_error="drop")
    assert [place.index for place in dropped.ranked] == [0, 2]
    assert "was left out" in caplog.text
    judged = rank_documents(FakeReranker(), "red disc", documents, on_error="text", texts={1: "red"}, top_n=2)
    assert [place.index for place in judged.ranked] == [0, 1]
    assert list(judged.failures) == [1]
    assert "was judged by its text alone" in caplog.text


def test_errors_of_the_reranker_are_given_the_place_among_all_documents():
    with pytest.raises(InputError, match="document 2") as caught:
        rank_documents(FakeReranker(refused=["bad"]), "x", ["a", "b", "bad"])
    assert caught.value.index == 2
    with pytest.raises(InputError) as caught:
        rank_documents(FakeReranker(), {"image": b"no"}, ["a"], on_error="drop")
    assert caught.value.role == "query"
