"""Documents that loaders of others make: a text is a text, whatever the file is called that it comes from."""

from __future__ import annotations

import copy
import pickle

import pytest
from langchain_core.documents import Document

from langchain_adapter.hash_embedder import HashEmbedder
from langchain_qwen3_vl import MultimodalChroma, document_to_content_blocks, media_key_encoder
from langchain_qwen3_vl.contents import coerce_item
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.query_images import build_query
from langchain_qwen3_vl.retrievers import Qwen3VLRetriever
from langchain_qwen3_vl.tools import find_kind
from qwen3_vl_retrieval.index import build_item

TEXTS = {
    "TextLoader on a drawing": {"source": "drawings/logo.svg"},
    "a transcript": {"source": "talks/keynote.mp4", "start": 3.0, "end": 9.5},
    "WebBaseLoader": {"source": "https://example.org/photo.jpg", "title": "A photo", "language": "en"},
    "Unstructured": {"source": "scan.png", "filetype": "image/png", "page_number": 1, "category": "NarrativeText"},
    "a MIME type": {"source": "gone/scan", "mime_type": "image/tiff"},
    "a page of a PDF": {"source": "manual.pdf", "page": 0, "total_pages": 3},
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_stays_a_text_whatever_its_source_is(name):
    document = Document(page_content="the words", metadata=TEXTS[name])
    assert coerce_item(document) == "the words"
    assert find_kind(document) == "text"
    assert [block["type"] for block in document_to_content_blocks(document)] == ["text"]


def test_the_file_of_a_text_is_not_seen_where_it_exists(images):
    document = Document(page_content="the words", metadata={"source": str(images / "picture-0.png")})
    assert coerce_item(document) == "the words"
    assert [block["type"] for block in document_to_content_blocks(document)] == ["text"]
    with pytest.raises(Exception, match="is a text; put its words into the query"):
        build_query("", "a", {"a": document.model_copy(update={"id": "a"})})


def test_what_has_no_text_is_what_its_source_names(images):
    document = Document(page_content=" ", metadata={"source": str(images / "picture-0.png")})
    assert find_kind(document) == "image"
    assert [block["type"] for block in document_to_content_blocks(document)] == ["image"]
    video = build_item("", {"source": str(images / "clip.mp4"), "start": 0, "end": 1})
    assert video == {"video": str(images / "clip.mp4"), "start": 0.0, "end": 1.0}


@pytest.mark.parametrize("told", [{"media_type": "mixed", "image": "a.png"}, {"image": "a.png"}])
def test_metadata_that_say_so_make_a_text_a_caption(told):
    assert build_item("a caption", {"source": "b.jpg", **told}) == {"image": "a.png", "text": "a caption"}


def test_a_key_covers_the_file_that_a_document_without_text_stands_for(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"one")
    nameless = Document(page_content="", metadata={"source": str(path)})
    told = Document(page_content="words", metadata={"source": str(path)})
    before = [media_key_encoder(document) for document in (nameless, told)]
    path.write_bytes(b"two")
    after = [media_key_encoder(document) for document in (nameless, told)]
    assert after[0] != before[0]
    assert after[1] == before[1]


@pytest.fixture
def store(tmp_path):
    store = MultimodalChroma("papers", Qwen3VLEmbeddings(model=HashEmbedder()), persist_directory=tmp_path / "store")
    store.add_documents([Document(page_content=name, metadata=metadata) for name, metadata in TEXTS.items()])
    return store


def test_texts_of_others_go_through_a_store_and_out_again(store):
    retriever = Qwen3VLRetriever(base=store, k=len(TEXTS))
    assert {document.page_content for document in retriever.invoke("a transcript")} == set(TEXTS)
    assert retriever.invoke("a transcript", k=1)[0].page_content == "a transcript"


def test_one_bad_document_is_left_out_and_named(store, tmp_path):
    documents = [
        Document(page_content="good", metadata={"source": "a.svg"}),
        Document(page_content="", metadata={"source": str(tmp_path / "gone.png")}),
        Document(page_content="also good"),
    ]
    assert len(store.add_documents(documents, on_error="skip")) == 2
    (failed,) = store.failures
    assert failed.error.index == 1
    assert "gone.png" in str(failed.error)


# Options of a search


def test_search_options_may_stand_where_langchain_has_them(store):
    retriever = Qwen3VLRetriever(base=store, search_kwargs={"k": 2, "filter": {"title": "A photo"}})
    assert (retriever.k, retriever.filter, retriever.search_kwargs) == (2, {"title": "A photo"}, {})
    assert [found.page_content for found in retriever.invoke("anything")] == ["WebBaseLoader"]
    assert len(Qwen3VLRetriever(base=store, search_kwargs={"k": 6}).invoke("a transcript")) == len(TEXTS)
    assert len(Qwen3VLRetriever.from_vectorstore(store, search_kwargs={"k": 6}).invoke("a transcript")) == len(TEXTS)


@pytest.mark.parametrize("search_type", ["similarity", "similarity_score_threshold"])
def test_a_threshold_is_kept_to(store, search_type):
    retriever = Qwen3VLRetriever(base=store, search_type=search_type, search_kwargs={"score_threshold": 0.999, "k": 6})
    assert [found.page_content for found in retriever.invoke("a transcript")] == ["a transcript"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search_type": "similarity_score_threshold"}, "needs a score_threshold"),
        ({"search_kwargs": {"lambda_mult": 0.3}}, "lambda_mult is for search_type='mmr'"),
        ({"search_kwargs": {"where_documents": {}}}, "did you mean 'where_document'"),
        ({"search_kwargs": {"score_treshold": 0.5}}, "did you mean 'score_threshold'"),
        ({"search_kwargs": {"k": 3}, "k": 5}, "k=5 was given, and k=3 in search_kwargs; give it once"),
        ({"search_kwargs": {"lambda_mlt": 0.5}, "search_type": "mmr"}, "did you mean 'lambda_mult'"),
    ],
)
def test_search_options_that_cannot_be_meant_fail_at_once(store, options, message):
    with pytest.raises(ValueError, match=message):
        Qwen3VLRetriever(base=store, **options)


def test_variety_is_sought_among_as_many_as_asked(store):
    options = {"fetch_k": 6, "lambda_mult": 1.0, "k": 2}
    retriever = Qwen3VLRetriever(base=store, search_type="mmr", search_kwargs=options)
    assert retriever.search_kwargs == {"fetch_k": 6, "lambda_mult": 1.0}
    assert len(retriever.invoke("a transcript")) == 2


# Copies


def test_a_retriever_over_a_store_is_copied_with_the_same_store(store):
    retriever = Qwen3VLRetriever(base=store, k=1)
    for copied in (copy.deepcopy(retriever), copy.copy(retriever), retriever.model_copy(deep=True)):
        assert copied.base is store
        assert copied.invoke("a transcript")[0].page_content == "a transcript"
    copied.k = 3
    assert retriever.k == 1
    assert retriever.with_config(tags=["copied"]).invoke("a transcript")[0].page_content == "a transcript"


def test_a_store_says_why_it_cannot_be_pickled(store):
    with pytest.raises(TypeError, match="open the store by its persist_directory"):
        pickle.dumps(store)
