"""One document that cannot be stored among many: it is named, and the others are stored."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_qdrant import QdrantVectorStore
from PIL import Image
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, VectorParams

from langchain_adapter.hash_embedder import HashEmbedder
from langchain_qwen3_vl.documents import image_document, video_document
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.ingestion import add_multimodal_documents
from langchain_qwen3_vl.vectorstores import MultimodalChroma
from qwen3_vl_retrieval import InputError
from rounding import bound


@pytest.fixture
def embedder():
    return HashEmbedder()


@pytest.fixture
def hashing(embedder):
    return Qwen3VLEmbeddings(model=embedder)


@pytest.fixture
def store(hashing, tmp_path):
    return MultimodalChroma("things", hashing, persist_directory=tmp_path / "store")


@pytest.fixture
def broken(images, tmp_path):
    """A folder with files that end too early, and without one that is named."""
    for name, size in (("picture-0.png", 300), ("clip.mp4", 700), ("paper.pdf", 200)):
        (tmp_path / name).write_bytes((images / name).read_bytes()[:size])
    return tmp_path


def draw(path, color="red"):
    Image.new("RGB", (16, 12), color).save(path)
    return str(path)


def miss(path, row_id=None):
    return Document("", metadata={"image": str(path)}, id=row_id)


def list_places(failures):
    return [failure.error.index for failure in failures]


def test_of_a_thousand_the_others_are_stored_and_the_one_is_named(store, embedder, tmp_path, caplog):
    documents = [Document(f"text {number}", id=str(number)) for number in range(1000)]
    documents[617] = miss(tmp_path / "gone.png", "617")
    with caplog.at_level(logging.WARNING):
        stored = store.add_documents((document for document in documents), on_error="skip")
    assert stored == [str(number) for number in range(1000) if number != 617]
    assert sorted(store.get(include=[])["ids"]) == sorted(stored)
    [failure] = store.failures
    assert failure.document is documents[617]
    assert failure.error.index == 617
    assert "gone.png" in failure.error.reason
    [warning] = caplog.messages
    assert warning.startswith("a document was left out: document 617: ")
    assert "gone.png" in warning
    assert [len(call) for call in embedder.embedded] == [256, 256, 255, 232]


def test_the_others_are_embedded_once_and_what_is_damaged_is_told_why(embeddings, broken, images, monkeypatch):
    documents = [
        Document("a text"),
        image_document(broken / "picture-0.png"),
        image_document(images / "picture-1.png"),
        video_document(broken / "clip.mp4"),
        miss(broken / "gone.png"),
        Document("", metadata={"media_type": "page", "source": str(broken / "paper.pdf"), "page": 1}),
        Document("", metadata={"media_type": "page", "source": str(images / "paper.pdf"), "page": 1}),
    ]
    calls = []
    embedder = embeddings.embedder

    def embed(items, **options):
        calls.append((len(items), options["on_error"]))
        return type(embedder).embed(embedder, items, **options)

    monkeypatch.setattr(embedder, "embed", embed)
    store = MultimodalChroma("damaged", embeddings)
    try:
        stored = store.add_documents(documents, on_error="skip")
        vectors = dict(zip(*(store.get(include=["embeddings"])[name] for name in ("ids", "embeddings")), strict=True))
    finally:
        store.delete_collection()
    # A page is rendered before the embedder is asked.
    assert calls == [(6, "return")]
    assert sorted(list_places(store.failures)) == [1, 3, 4, 5]
    named = {failure.error.index: failure.error.reason for failure in store.failures}
    assert all(name in named[place] for place, name in ((1, "picture-0.png"), (3, "clip.mp4"), (4, "gone.png")))
    monkeypatch.undo()
    expected = embeddings.embed_documents_array([documents[place] for place in (0, 2, 6)])
    assert np.abs(np.array([vectors[row_id] for row_id in stored]) - expected).max() < bound(1e-4)


def test_what_was_stored_before_under_the_id_stays(store, tmp_path):
    uri = draw(tmp_path / "a.png")
    store.add_documents([image_document(uri, id="a"), Document("b", id="b")])
    vector = store.get(ids=["a"], include=["embeddings"])["embeddings"][0]
    (tmp_path / "a.png").unlink()
    assert store.add_documents([miss(uri, "a"), Document("c", id="b")], on_error="skip") == ["b"]
    [kept, changed] = store.get_by_ids(["a", "b"])
    assert (kept.metadata["image"], kept.metadata["width"], changed.page_content) == (uri, 16, "c")
    assert np.array_equal(store.get(ids=["a"], include=["embeddings"])["embeddings"][0], vector)


@pytest.mark.parametrize("make", [InMemoryVectorStore, lambda embeddings: MultimodalChroma("twice", embeddings)])
def test_of_several_with_one_id_the_last_that_can_be_stored_is(make, hashing, tmp_path):
    store = make(hashing)
    documents = [
        Document("first", id="1"),
        Document("second", id="1"),
        miss(tmp_path / "gone.png", "1"),
        miss(tmp_path / "also-gone.png", "2"),
        Document("other", id="3"),
    ]
    try:
        failures = []
        stored = add_multimodal_documents(store, documents, hashing, on_error="skip", on_failure=failures.append)
        assert stored == ["1", "1", "3"]
        assert list_places(failures) == [2, 3]
        assert [document.page_content for document in store.get_by_ids(["1", "2", "3"])] == ["second", "other"]
    finally:
        if isinstance(store, MultimodalChroma):
            store.delete_collection()


def test_images_that_cannot_be_described_are_left_out(store, hashing, tmp_path):
    noise = Image.frombytes("RGB", (64, 64), np.random.default_rng(0).bytes(64 * 64 * 3))
    noise.save(tmp_path / "noise.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "noise.png").read_bytes()[:6_000])
    (tmp_path / "words.png").write_text("no image", encoding="utf-8")
    with Image.open(tmp_path / "cut.png") as cut:
        given = [
            tmp_path / "gone.png",
            draw(tmp_path / "a.png"),
            cut,
            tmp_path / "words.png",
            b"no image",
            draw(tmp_path / "b.png", "blue"),
        ]
        stored = store.add_images(given, ids=list("abcdef"), metadatas=[{"n": n} for n in range(6)], on_error="skip")
        failures = store.failures
        with pytest.raises(InputError, match="item 1: the image of 64x64 pixels cannot be read"):
            store.add_images(given[1:3])
    assert stored == ["b", "f"]
    assert [document.metadata["n"] for document in store.get_by_ids(stored)] == [1, 5]
    assert list_places(failures) == [0, 2, 3, 4]
    assert [failure.document for failure in failures] == [None] * 4
    assert "gone.png" in failures[0].error.reason


def test_a_file_that_may_not_be_read_is_an_error_of_its_document(store, tmp_path, monkeypatch):
    uri = draw(tmp_path / "a.png")
    really_open = os.open

    def refuse(path, *args, **options):
        if str(path) == uri:
            raise PermissionError(13, "Permission denied")
        return really_open(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert store.add_images([uri], on_error="skip") == []
    assert store.failures[0].error.reason == f"the file {uri!r} cannot be read: Permission denied"


def test_videos_and_captions_are_left_out_likewise(store, images, tmp_path):
    shutil.copyfile(images / "clip.mp4", tmp_path / "clip.mp4")
    assert len(store.add_videos([tmp_path / "gone.mp4", tmp_path / "clip.mp4"], on_error="skip")) == 1
    assert list_places(store.failures) == [0]
    gone = {"image": str(tmp_path / "gone.png")}
    assert store.add_texts(["a", "b"], metadatas=[gone, {}], ids=["a", "b"], on_error="skip") == ["b"]
    assert store.failures[0].document == Document("a", metadata=gone)
    assert store.get_by_ids(["a"]) == []


def test_what_chroma_cannot_keep_is_left_out(store):
    odd = Document("a", metadata={"nested": {"a": 1}})
    assert store.add_documents([odd, Document("b", id="b")], on_error="skip") == ["b"]
    assert store.failures[0].document is odd
    assert "the metadatum 'nested'" in str(store.failures[0].error)
    assert asyncio.run(store.aadd_documents([odd], on_error="skip")) == []
    assert len(store.failures) == 1


def test_what_qdrant_takes_no_id_of_is_left_out(hashing):
    client = QdrantClient(":memory:")
    client.create_collection("things", vectors_config=VectorParams(size=8, distance=Distance.COSINE))
    store = QdrantVectorStore(client, "things", hashing)
    failures = []
    given = [Document("a"), Document("b")]
    stored = add_multimodal_documents(
        store, given, hashing, ids=["image", "7"], on_error="skip", on_failure=failures.append
    )
    assert stored == ["7"]
    assert (list_places(failures), failures[0].document) == ([0], given[0])


def test_failures_are_those_of_the_last_call(store, tmp_path):
    assert store.failures == ()
    store.add_documents([miss(tmp_path / "gone.png")], on_error="skip")
    assert len(store.failures) == 1
    store.add_documents([Document("a")])
    assert store.failures == ()
    with pytest.raises(InputError, match=r"item 1: .*gone\.png"):
        store.add_documents([Document("a"), miss(tmp_path / "gone.png")])


def test_nothing_is_written_if_nothing_can_be(store, embedder, tmp_path):
    assert store.add_documents([miss(tmp_path / "a.png"), miss(tmp_path / "b.png")], on_error="skip") == []
    assert list_places(store.failures) == [0, 1]
    assert (store.get()["ids"], embedder.embedded) == ([], [])


def test_a_mistake_of_the_program_is_raised_nevertheless(store, hashing):
    with pytest.raises(InputError, match=r"item 1: got str, .* wrap a single one"):
        store.add_documents([Document("a"), "b"], on_error="skip")
    with pytest.raises(ValueError, match="on_error='ignore' must be 'raise' or 'skip'"):
        store.add_documents([], on_error="ignore")
    with pytest.raises(ValueError, match="on_error='ignore'"):
        add_multimodal_documents(InMemoryVectorStore(hashing), [], hashing, on_error="ignore")


def test_embeddings_of_texts_leave_out_what_shows_media():
    texts_only = DeterministicFakeEmbedding(size=6)
    store = InMemoryVectorStore(texts_only)
    failures = []
    page = Document("", metadata={"media_type": "page", "source": "a.pdf", "page": 1})
    nonsense = Document("", metadata={"video": "gone.mp4", "start": [1]})
    given = [miss("a.png"), Document("one"), page, Document("two"), nonsense]
    ids = list("abcde")
    stored = add_multimodal_documents(store, given, texts_only, ids=ids, on_error="skip", on_failure=failures.append)
    assert stored == ["b", "d"]
    assert store.store["d"]["vector"] == pytest.approx(texts_only.embed_documents(["two"])[0])
    assert list_places(failures) == [0, 2, 4]
    assert "embeds texts alone" in failures[0].error.reason
    assert add_multimodal_documents(store, [page], texts_only, on_error="skip") == []


def test_in_any_store_a_failure_is_told_and_logged(hashing, tmp_path, caplog):
    store = InMemoryVectorStore(hashing)
    failures = []
    given = [Document("a"), miss(tmp_path / "gone.png"), Document("b"), Document("c")]
    stored = add_multimodal_documents(store, given, hashing, batch_size=2, on_error="skip", on_failure=failures.append)
    assert list(store.store) == stored
    assert [document.page_content for document in store.get_by_ids(stored)] == ["a", "b", "c"]
    assert (list_places(failures), failures[0].document) == ([1], given[1])
    assert "document 1: " in caplog.text
    assert len(add_multimodal_documents(store, given, hashing, on_error="skip")) == 3


class SilentEmbedder(HashEmbedder):
    """Does not say which item is at fault."""

    def embed_documents(self, inputs):
        try:
            return super().embed_documents(inputs)
        except InputError as error:
            raise InputError(error.reason) from error


def test_an_embedder_that_does_not_say_which_is_asked_for_each(tmp_path):
    embeddings = Qwen3VLEmbeddings(model=SilentEmbedder())
    given = ["a", {"image": str(tmp_path / "gone.png")}, "b", {"image": str(tmp_path / "also.png")}]
    outcomes = embeddings.embed_each_document(given)
    assert [outcome.index for outcome in outcomes if isinstance(outcome, InputError)] == [1, 3]
    expected = embeddings.embed_documents_array(["a", "b"])
    assert np.array_equal(np.stack([outcomes[0], outcomes[2]]), expected)
    store = InMemoryVectorStore(embeddings)
    with pytest.raises(InputError, match=r"^'.*gone\.png' is missing"):
        add_multimodal_documents(store, [Document("a"), miss(tmp_path / "gone.png")], embeddings)


@pytest.mark.parametrize("is_core", [True, False])
def test_each_document_has_a_vector_or_an_error(embeddings, hashing, tmp_path, is_core):
    model = embeddings if is_core else hashing
    outcomes = model.embed_each_document(["a", 7, {"image": str(tmp_path / "gone.png")}, "b"])
    errors = [outcome if isinstance(outcome, InputError) else None for outcome in outcomes]
    assert [error is None for error in errors] == [True, False, False, True]
    assert str(errors[1]).startswith("item 1: got int 7")
    assert "gone.png" in str(errors[2])
    assert errors[2].index == 2
    expected = model.embed_documents_array(["a", "b"])
    assert np.abs(np.stack([outcomes[0], outcomes[3]]) - expected).max() < bound(1e-5)
    assert model.embed_each_document([]) == []
    assert [error.index for error in model.embed_each_document([7, 8])] == [0, 1]
