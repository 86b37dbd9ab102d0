"""The reranker: documents in the order of how well they answer."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from PIL import Image
from pydantic import ValidationError

from langchain_qwen3_vl.documents import image_document, video_document
from langchain_qwen3_vl.rerank import Qwen3VLRerank
from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy, Reranker
from rounding import bound


class PlainReranker:
    """All that the protocol asks for; a document's score is how many letters it has, in tenths."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def score(self, query: Any, documents: Sequence[Any]) -> np.ndarray:
        self.threads.append(threading.get_ident())
        for place, document in enumerate(documents):
            if document == "bad":
                raise InputError("cannot be judged", index=place, role="document")
        if query == "bad":
            raise InputError("cannot be asked", role="query")
        return np.array([len(document) / 10 for document in documents])


class FixedReranker(Reranker):
    """A document's log-odds are its text."""

    model_id = "fixed"

    def score(self, query: Any, documents: Sequence[Any], **options: Any) -> np.ndarray:
        assert options["output"] == "margin"
        return np.array([float(document) for document in documents], dtype=np.float32)

    async def ascore(self, query: Any, documents: Sequence[Any], **options: Any) -> np.ndarray:
        return self.score(query, documents, **options)


@pytest.fixture
def candidates(images) -> list[Document]:
    return [
        Document("a note about the weather", id="note", metadata={"year": 1999}),
        image_document(images / "picture-0.png", id="image"),
        image_document(images / "picture-1.png", text="two things", id="mixed"),
        Document("", id="page", metadata={"media_type": "page", "source": str(images / "paper.pdf"), "page": 2}),
        video_document(images / "clip.mp4", id="video", end=1.0),
    ]


@pytest.fixture
def as_items(images) -> list[Any]:
    """The candidates as the core takes them, without the page."""
    return [
        "a note about the weather",
        {"image": str(images / "picture-0.png")},
        {"image": str(images / "picture-1.png"), "text": "two things"},
        {"video": str(images / "clip.mp4"), "end": 1.0},
    ]


def test_documents_of_every_kind_are_ordered_as_the_core_orders_them(rerank, candidates, as_items, questions):
    without_page = [document for document in candidates if document.id != "page"]
    found = Qwen3VLRerank(model="pocket", top_n=None).compress_documents(without_page, questions[0])
    ranked = rerank.reranker.rank(questions[0], as_items)
    assert [document.id for document in found] == [without_page[place.index].id for place in ranked]
    assert [document.metadata["relevance_score"] for document in found] == [place.score for place in ranked]


def test_a_page_is_judged_by_what_is_on_it(candidates, questions):
    found = Qwen3VLRerank(model="pocket", top_n=None).compress_documents(candidates, questions[0])
    assert {document.id for document in found} == {document.id for document in candidates}


def test_a_page_is_rendered_for_the_first_question_alone_and_for_rerankers_of_others(
    candidates, questions, monkeypatch
):
    page = candidates[3]
    rerank = Qwen3VLRerank(model="pocket")
    os.utime(page.metadata["source"], (1_700_000_000, 1_700_000_000))
    rerank.compress_documents([page], questions[0])
    with monkeypatch.context() as patched:
        patched.delattr("qwen3_vl_retrieval.media.pdf.render_pdf_page")
        rerank.compress_documents([page], questions[1])
    given = []
    monkeypatch.setattr(PlainReranker, "score", lambda _, query, documents: given.extend(documents) or np.ones(1))
    Qwen3VLRerank(model=PlainReranker()).compress_documents([page], questions[0])
    assert isinstance(given[0], Image.Image)


def test_a_question_finds_its_image(rerank, images, questions):
    documents = [image_document(images / f"picture-{number}.png", id=str(number)) for number in range(4)]
    best = [rerank.compress_documents(documents, question)[0].id for question in questions]
    assert sum(found == str(number) for number, found in enumerate(best)) >= 2


def test_copies_are_returned_and_the_documents_are_left_alone(rerank, candidates, questions):
    candidates[0].metadata |= {"relevance_score": 7.0, "tags": ["a"]}
    before = [document.model_copy(deep=True) for document in candidates]
    found = rerank.compress_documents(candidates[:2], questions[0])
    assert candidates == before
    for document in found:
        original = next(one for one in candidates if one.id == document.id)
        assert document is not original
        assert document.page_content == original.page_content
        assert original.metadata.keys() | {"relevance_score"} == document.metadata.keys()
    copied = next(document for document in found if document.id == "note")
    copied.metadata["tags"].append("b")
    assert candidates[0].metadata["tags"] == ["a"]


def test_a_score_is_a_python_float_between_0_and_1_and_replaces_a_stale_one(rerank, candidates, questions):
    candidates[0].metadata["relevance_score"] = 7.0
    scores = [
        document.metadata["relevance_score"] for document in rerank.compress_documents(candidates[:2], questions[0])
    ]
    assert {type(score) for score in scores} == {float}
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_a_subclass_of_document_stays_one(rerank):
    class Kept(Document):
        state: int = 0

    [found] = rerank.compress_documents([Kept("a", state=3)], "a")
    assert (type(found), found.state) == (Kept, 3)


def test_as_many_as_asked_for_are_returned():
    documents = [Document(str(number)) for number in range(5)]
    by_default = Qwen3VLRerank(model=FixedReranker())
    assert [document.page_content for document in by_default.compress_documents(documents, "q")] == ["4", "3", "2"]
    assert len(Qwen3VLRerank(model=FixedReranker(), top_n=None).compress_documents(documents, "q")) == 5
    assert len(Qwen3VLRerank(model=FixedReranker(), top_n=0).compress_documents(documents, "q")) == 0


def test_documents_below_the_threshold_are_not_returned():
    documents = [Document(text) for text in ("-1", "0", "1")]
    found = Qwen3VLRerank(model=FixedReranker(), score_threshold=0.5).compress_documents(documents, "q")
    assert [document.page_content for document in found] == ["1", "0"]


def test_ties_keep_their_order_and_log_odds_tell_apart_what_rounds_to_one():
    texts = ["50", "60", "0", "0", "70", "0"]
    documents = [Document(text, id=str(place)) for place, text in enumerate(texts)]
    for top_n in (None, 5):
        found = Qwen3VLRerank(model=FixedReranker(), top_n=top_n).compress_documents(documents, "q")
        assert [document.id for document in found] == ["4", "1", "0", "2", "3", "5"][:top_n]
    assert found[0].metadata["relevance_score"] == found[2].metadata["relevance_score"] == 1.0


def test_large_log_odds_do_not_overflow():
    found = Qwen3VLRerank(model=FixedReranker()).rerank(["-500", "500"], "q")
    assert found == [{"index": 1, "relevance_score": 1.0}, {"index": 0, "relevance_score": 0.0}]


def test_no_documents_are_ranked_without_a_model():
    unloaded = Qwen3VLRerank(model="no-such-model")
    assert unloaded.compress_documents([], "q") == []
    assert asyncio.run(unloaded.acompress_documents([], "q")) == []
    assert unloaded.rerank([], "q") == []


def test_a_query_may_be_an_image_blocks_or_a_dict(rerank, candidates, images):
    path = images / "picture-0.png"
    encoded = base64.b64encode(path.read_bytes()).decode()
    with Image.open(path) as opened:
        forms = [
            {"image": str(path)},
            [{"type": "image", "base64": encoded}],
            Document("", metadata={"image": str(path)}),
            opened.copy(),
        ]
    found = [rerank.compress_documents(candidates, form) for form in forms]
    assert all(documents == found[0] for documents in found)


def test_the_async_method_gives_the_same(rerank, candidates, questions):
    expected = rerank.compress_documents(candidates, questions[0])
    found = asyncio.run(rerank.acompress_documents(candidates, questions[0]))
    assert [document.id for document in found] == [document.id for document in expected]
    scores = [[document.metadata["relevance_score"] for document in documents] for documents in (found, expected)]
    np.testing.assert_allclose(*scores, atol=bound(1e-5))


def test_concurrent_callers_share_forward_passes(rerank):
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    async def ask() -> list[Any]:
        return await asyncio.gather(
            *(rerank.acompress_documents([Document("a")], f"question {number}") for number in range(32))
        )

    hook = rerank.reranker.model.language_model.embed_tokens.register_forward_hook(count)
    try:
        found = asyncio.run(ask())
    finally:
        hook.remove()
    assert len(found) == 32
    assert passes < 16


def test_the_raw_ranking_takes_any_items(rerank, candidates, as_items, questions):
    found = rerank.rerank(as_items, questions[0], top_n=None)
    ranked = rerank.reranker.rank(questions[0], as_items)
    assert found == [{"index": place.index, "relevance_score": place.score} for place in ranked]
    assert rerank.rerank(as_items, questions[0]) == found[:3]
    assert rerank.rerank(as_items, questions[0], top_n=1) == found[:1]
    asynchronous = asyncio.run(rerank.arerank(as_items, questions[0], top_n=2))
    assert [place["index"] for place in asynchronous] == [place["index"] for place in found[:2]]
    with pytest.raises(ValueError, match="top_n=-2 must not be negative"):
        rerank.rerank(as_items, questions[0], top_n=-2)


@pytest.mark.parametrize("documents", ["text", Document("a")])
def test_a_single_document_is_not_taken_for_a_list(rerank, documents):
    with pytest.raises(InputError, match="wrap it in a list"):
        rerank.rerank(documents, "q")


def test_the_instruction_is_passed_on(rerank):
    told = Qwen3VLRerank(model="pocket", instruction="Is it a cat?")
    expected = rerank.reranker.score("a", ["b"], instruction="Is it a cat?")
    assert told.rerank(["b"], "a")[0]["relevance_score"] == pytest.approx(float(expected[0]), abs=bound(1e-6))
    assert asyncio.run(told.arerank(["b"], "a"))[0]["relevance_score"] == pytest.approx(
        float(expected[0]), abs=bound(1e-5)
    )


@pytest.fixture
def broken() -> list[Document]:
    """One that cannot be opened, one that is not understood, and one of each without a text."""
    return [
        Document("a good text", id="good"),
        Document("a lost image", id="lost", metadata={"image": "gone.png"}),
        Document("", id="wordless", metadata={"image": "gone.png"}),
        Document("an odd one", id="odd", metadata={"media_type": "hologram"}),
    ]


def run_both(rerank, documents, query):
    yield rerank.compress_documents(documents, query)
    yield asyncio.run(rerank.acompress_documents(documents, query))


def test_a_bad_document_is_named_by_its_position(broken):
    strict = Qwen3VLRerank(model="pocket")
    for call in (strict.compress_documents, lambda *given: asyncio.run(strict.acompress_documents(*given))):
        with pytest.raises(MediaError, match=r"^document 1: no such file: 'gone\.png'"):
            call(broken[:3], "a")
        with pytest.raises(InputError, match=r"^document 3: media_type='hologram'"):
            call(broken, "a")


def test_a_bad_document_is_left_out_with_a_warning(broken, caplog):
    lenient = Qwen3VLRerank(model="pocket", on_error="drop")
    for found in run_both(lenient, broken, "a"):
        assert [document.id for document in found] == ["good"]
        assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3
        assert "document 1: no such file: 'gone.png'" in caplog.text
        assert "document 3: media_type='hologram'" in caplog.text
        caplog.clear()


def test_a_bad_document_is_judged_by_its_text(broken, caplog):
    lenient = Qwen3VLRerank(model="pocket", on_error="text", top_n=None)
    texts = {"good": "a good text", "lost": "a lost image", "odd": "an odd one"}
    expected = dict(zip(texts, lenient.reranker.score("a", list(texts.values())), strict=True))
    for found in run_both(lenient, broken, "a"):
        assert {document.id for document in found} == texts.keys()
        for document in found:
            assert document.metadata["relevance_score"] == pytest.approx(float(expected[document.id]), abs=bound(1e-5))
        said = [record.getMessage() for record in caplog.records]
        assert [message.partition(":")[0] for message in said] == [
            "a document was judged by its text alone",
            "a document was left out",
            "a document was judged by its text alone",
        ]
        assert said[1].startswith("a document was left out: document 2: no ")
        caplog.clear()


@pytest.mark.parametrize("on_error", ["drop", "text"])
def test_nothing_but_bad_documents_leaves_nothing(on_error, broken):
    lenient = Qwen3VLRerank(model="pocket", on_error=on_error)
    assert lenient.compress_documents([broken[2]], "a") == []


@pytest.mark.parametrize("on_error", ["raise", "text", "drop"])
def test_a_bad_query_is_always_raised(on_error):
    lenient = Qwen3VLRerank(model="pocket", on_error=on_error)
    for call in (lenient.compress_documents, lambda *given: asyncio.run(lenient.acompress_documents(*given))):
        with pytest.raises(MediaError, match=r"^query: no such file"):
            call([Document("a")], {"image": "gone.png"})
        with pytest.raises(InputError, match=r"^query: got int 7"):
            call([Document("a")], 7)


def test_any_object_that_judges_is_taken():
    plain = PlainReranker()
    documents = [Document(text) for text in ("aa", "aaaa", "bad", "a")]
    lenient = Qwen3VLRerank(model=plain, on_error="drop", top_n=2)
    for found in run_both(lenient, documents, "q"):
        assert [one.page_content for one in found] == ["aaaa", "aa"]
        assert [one.metadata["relevance_score"] for one in found] == pytest.approx([0.4, 0.2])
    assert plain.threads[0] == threading.get_ident() != plain.threads[-1]
    with pytest.raises(InputError, match="document 2: cannot be judged"):
        Qwen3VLRerank(model=plain).compress_documents(documents, "q")
    with pytest.raises(InputError, match="query: cannot be asked"):
        lenient.compress_documents(documents[:1], "bad")
    assert lenient.compress_documents([Document("bad")], "q") == []


def test_a_metadatum_and_a_policy_of_the_caller_are_heeded(images, tmp_path):
    path = str(images / "picture-0.png")
    plain = Qwen3VLRerank(model="pocket")
    named = Qwen3VLRerank(model="pocket", media_key="scan")
    [expected] = plain.compress_documents([Document("", metadata={"image": path})], "a")
    [found] = named.compress_documents([Document("", metadata={"scan": path})], "a")
    assert found.metadata["relevance_score"] == expected.metadata["relevance_score"]
    guarded = Qwen3VLRerank(model="pocket", media_policy=MediaPolicy(allow_dirs=(tmp_path,)))
    with pytest.raises(MediaError, match=r"document 0: .*outside the allowed folders"):
        guarded.compress_documents([Document("", metadata={"image": path})], "a")


def test_all_who_name_a_model_hold_one(rerank):
    assert Qwen3VLRerank(model_name="pocket").reranker is rerank.reranker
    given = Qwen3VLRerank(model=rerank.reranker)
    assert given.reranker is rerank.reranker
    assert (rerank.model_name, given.model_name) == ("pocket", rerank.reranker.model_id)
    assert Qwen3VLRerank(model=PlainReranker()).model_name == "PlainReranker"


MISTAKES = {
    "a misspelt option": ({"model": "pocket", "topn": 3}, "topn\n.*Extra inputs are not permitted"),
    "a negative count": ({"model": "pocket", "top_n": -1}, "greater than or equal to 0"),
    "no probability": ({"model": "pocket", "score_threshold": 50}, "less than or equal to 1"),
    "an unknown way": ({"model": "pocket", "on_error": "ignore"}, "'raise', 'text' or 'drop'"),
    "not a reranker": ({"model": object()}, "an object with score"),
    "loading what is loaded": ({"model": PlainReranker(), "dtype": "float32"}, "dtype was given beside a ready"),
}


@pytest.mark.parametrize(("options", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistaken_option_fails_by_name(options, message):
    with pytest.raises(ValidationError, match=message):
        Qwen3VLRerank(**options)
