"""Why documents were found, on request, among their metadata."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from PIL import Image

from explained_index import QUERY, open_explained_index
from langchain_qwen3_vl import Qwen3VLEmbeddings, Qwen3VLRerank, Qwen3VLRetriever, image_document
from qwen3_vl_retrieval.testing import FakeEmbedder, FakeReranker


@pytest.fixture
def index(tmp_path):
    with open_explained_index(tmp_path) as opened:
        yield opened


def find_words(documents):
    return {
        document.metadata["media_type"]: [region["text"] for region in document.metadata["explanation"]["regions"]]
        for document in documents
    }


def test_a_retriever_over_an_index_says_why_it_found_a_page_and_a_text(index):
    retriever = Qwen3VLRetriever.from_index(index, explain=True)
    found = retriever.invoke(QUERY)
    assert find_words(found) == {"page": ["Invoice", "Acme"], "text": ["Acme"]}
    explanation = next(one for one in found if one.metadata["media_type"] == "page").metadata["explanation"]
    assert (explanation["method"], explanation["measure"]) == ("words", "words")
    left, top, right, bottom = explanation["regions"][0]["box"]
    assert 0 < left < right < 1
    assert 0 < top < bottom < 1
    plain = Qwen3VLRetriever.from_index(index).invoke(QUERY)
    assert all("explanation" not in document.metadata for document in plain)
    assert [one.id for one in plain] == [one.id for one in found]


async def test_a_coroutine_says_the_same(index):
    retriever = Qwen3VLRetriever.from_index(index, explain=True)
    assert await retriever.ainvoke(QUERY) == retriever.invoke(QUERY)


def test_a_retriever_over_a_store_says_why_by_its_own_models(tmp_path):
    Image.new("RGB", (80, 60), "red").save(tmp_path / "red.png")
    store = InMemoryVectorStore(Qwen3VLEmbeddings(model=FakeEmbedder()))
    store.add_documents([Document("a red mug", metadata={"media_type": "text"}), image_document(tmp_path / "red.png")])
    (text, image) = sorted(
        Qwen3VLRetriever(base=store, explain=True).invoke("a mug"),
        key=lambda one: one.metadata["media_type"] == "image",
    )
    assert [region["text"] for region in text.metadata["explanation"]["regions"]] == ["mug"]
    # No word stands in an image, and this one has no parts.
    assert image.metadata["explanation"]["measure"] == "cosine"
    assert image.metadata["explanation"]["regions"] == []


def test_a_reranker_explains_what_it_returns_and_a_broken_file_costs_its_own_explanation(tmp_path):
    (tmp_path / "gone.png").write_bytes(b"broken")
    documents = [
        Document("a red mug", metadata={"id": 1}),
        Document("the mug is gone", metadata={"image": str(tmp_path / "gone.png"), "media_type": "image"}),
        Document("nothing of it"),
    ]
    before = [document.model_copy(deep=True) for document in documents]
    rerank = Qwen3VLRerank(model=FakeReranker(), top_n=2, on_error="text", explain=True)
    first, second = rerank.compress_documents(documents, "a red mug")
    assert [region["text"] for region in first.metadata["explanation"]["regions"]] == ["red mug"]
    assert second.metadata["explanation"] == {"error": "cannot be explained: it can no longer be read"}
    assert documents == before


def test_an_index_refuses_a_reranker_that_would_explain_for_it(index, tmp_path):
    with pytest.raises(ValueError, match="explain of Qwen3VLRerank has no effect in an index"):
        Qwen3VLRetriever.from_index(
            tmp_path / "store", embedder=FakeEmbedder(), reranker=Qwen3VLRerank(model=FakeReranker(), explain=True)
        )
