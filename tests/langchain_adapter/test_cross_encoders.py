"""The cross-encoder: pairs to probabilities."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document
from pydantic import ValidationError

from langchain_qwen3_vl.cross_encoders import Qwen3VLCrossEncoder
from qwen3_vl_retrieval import InputError, MediaError
from rounding import bound


@pytest.fixture(scope="module")
def encoder() -> Qwen3VLCrossEncoder:
    return Qwen3VLCrossEncoder(model="pocket")


def test_pairs_are_scored_in_their_order(encoder, images):
    assert isinstance(encoder, BaseCrossEncoder)
    image = {"image": str(images / "picture-0.png")}
    pairs = [("one", "a"), (image, "b"), ("one", image), ("two", "a"), (image, image)]
    scores = encoder.score(pairs)
    assert {type(score) for score in scores} == {float}
    for (query, document), score in zip(pairs, scores, strict=True):
        assert score == pytest.approx(float(encoder.reranker.score(query, [document])[0]), abs=bound(1e-5))


def test_no_pairs_have_no_scores(encoder):
    assert encoder.score([]) == []


def test_pairs_of_one_query_are_judged_together(rerank):
    queries: list[Any] = []

    class Watching:
        def score(self, query, documents, **options):
            queries.append((query, len(documents)))
            return rerank.reranker.score(query, documents, **options)

        async def ascore(self, query, documents, **options):
            raise NotImplementedError

        def rank(self, query, documents, *, top_n=None):
            raise NotImplementedError

    image = {"text": "an image of one"}
    Qwen3VLCrossEncoder(model=Watching()).score(
        [("one", "a"), ("two", "b"), ("".join(["o", "ne"]), "c"), (image, "d"), (image, "e")]
    )
    assert queries == [("one", 2), ("two", 1), (image, 2)]


def test_instruction_and_media_key_are_passed_on(rerank, images):
    told = Qwen3VLCrossEncoder(model="pocket", instruction="Is it a cat?", media_key="scan")
    path = str(images / "picture-0.png")
    expected = rerank.reranker.score("q", [{"image": path}], instruction="Is it a cat?")
    [score] = told.score([("q", Document("", metadata={"scan": path}))])
    assert score == pytest.approx(float(expected[0]), abs=bound(1e-6))


def test_an_error_names_the_pair(encoder):
    with pytest.raises(MediaError, match=r"^pair 2: no such file"):
        encoder.score([("one", "a"), ("two", "b"), ("one", {"image": "gone.png"})])
    with pytest.raises(InputError, match=r"^pair 1: got int 7"):
        encoder.score([("one", "a"), (7, "b")])


def test_the_reranker_of_langchain_orders_by_it(encoder):
    documents = [Document(text, id=text) for text in ("a red ball", "an invoice of May", "a blue square")]
    compressor = CrossEncoderReranker(model=encoder, top_n=2)
    scores = encoder.score([("an invoice", document.page_content) for document in documents])
    expected = sorted(range(3), key=lambda place: -scores[place])[:2]
    found = compressor.compress_documents(documents, "an invoice")
    assert [document.id for document in found] == [documents[place].id for place in expected]


def test_a_misspelt_option_fails_by_name():
    with pytest.raises(ValidationError, match=r"instructions\n.*Extra inputs are not permitted"):
        Qwen3VLCrossEncoder(model="pocket", instructions="a")
