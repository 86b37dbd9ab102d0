"""Documents with media in stores that by themselves embed texts."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from langchain_community.docstore.in_memory import InMemoryDocstore
from langchain_community.vectorstores import FAISS
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_qdrant import QdrantVectorStore
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, VectorParams

from langchain_adapter.hash_embedder import HashEmbedder
from langchain_qwen3_vl.documents import image_document, video_document
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.ingestion import add_multimodal_documents
from langchain_qwen3_vl.vectorstores import MultimodalChroma
from qwen3_vl_retrieval import InputError

IDS = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(5)]


def make_memory(embeddings):
    return InMemoryVectorStore(embeddings)


def make_faiss(embeddings):
    return FAISS(embeddings, faiss.IndexFlatL2(len(embeddings.embed_query("a"))), InMemoryDocstore(), {})


def make_qdrant(embeddings, *, vector_name=""):
    client = QdrantClient(":memory:")
    params = VectorParams(size=len(embeddings.embed_query("a")), distance=Distance.COSINE)
    client.create_collection("things", vectors_config={vector_name: params} if vector_name else params)
    return QdrantVectorStore(client, "things", embeddings, vector_name=vector_name)


def make_named_qdrant(embeddings):
    return make_qdrant(embeddings, vector_name="media")


def make_chroma(embeddings):
    return MultimodalChroma("ingested", embeddings)


STORES = [make_memory, make_faiss, make_qdrant, make_named_qdrant, make_chroma]


@pytest.fixture
def hashing():
    return Qwen3VLEmbeddings(model=HashEmbedder())


@pytest.fixture(params=STORES)
def make(request):
    made = []

    def make_once(embeddings):
        made.append(request.param(embeddings))
        return made[-1]

    yield make_once
    for store in made:
        if isinstance(store, MultimodalChroma):
            store.delete_collection()


def test_images_and_videos_are_found_by_text_and_by_image(make, embeddings, images, questions):
    store = make(embeddings)
    documents = [image_document(images / f"picture-{number}.png") for number in range(4)]
    documents.append(video_document(images / "clip.mp4"))
    assert add_multimodal_documents(store, documents, embeddings, ids=IDS) == IDS
    vectors = embeddings.embed_documents_array(documents)
    for query in (questions[0], questions[2], {"image": str(images / "picture-1.png")}):
        order = np.argsort(-(vectors @ embeddings.embed_query_array(query)))
        expected = [documents[place].metadata["source"] for place in order]
        assert [document.metadata["source"] for document in store.similarity_search(query, k=5)] == expected


def test_documents_of_the_same_ids_are_replaced(make, hashing):
    store = make(hashing)
    add_multimodal_documents(store, [Document("old"), Document("kept")], hashing, ids=IDS[:2])
    add_multimodal_documents(store, [Document("a"), Document("new", metadata={"year": 2025})], hashing, ids=IDS[:1] * 2)
    found = store.similarity_search("new", k=9)
    assert sorted(document.page_content for document in found) == ["kept", "new"]
    assert found[0].page_content == "new"
    assert found[0].metadata["year"] == 2025


def test_a_generator_is_embedded_in_batches_and_ids_are_made(hashing):
    store = InMemoryVectorStore(hashing)
    own = add_multimodal_documents(
        store, (Document(str(number), id="mine" if number == 3 else None) for number in range(5)), hashing, batch_size=2
    )
    assert [len(call) for call in hashing.model.embedded] == [2, 2, 1]
    assert own[3] == "mine"
    assert len(set(own)) == 5


def test_errors_name_the_position_and_what_came_before_is_kept(hashing, tmp_path):
    store = InMemoryVectorStore(hashing)
    broken = Document("", metadata={"image": str(tmp_path / "missing.png")})
    with pytest.raises(InputError, match=r"item 3: .*missing\.png"):
        add_multimodal_documents(store, [Document("a"), Document("b"), Document("c"), broken], hashing, batch_size=2)
    assert len(store.store) == 2


def test_qdrant_takes_no_ids_but_uuids_and_numbers(hashing):
    store = make_qdrant(hashing)
    hashing.model.embedded.clear()
    with pytest.raises(InputError, match=r"item 1: the id 'image' .*uuid5"):
        add_multimodal_documents(store, [Document("a"), Document("b")], hashing, ids=["7", "image"])
    assert hashing.model.embedded == []
    add_multimodal_documents(store, [Document("a")], hashing, ids=["7"])
    assert store.client.retrieve("things", [7])[0].payload["page_content"] == "a"


def test_a_store_that_takes_no_vectors_is_named(hashing):
    class TextsOnly(VectorStore):
        def similarity_search(self, query, k=4, **_):
            return []

        @classmethod
        def from_texts(cls, texts, embedding, metadatas=None, **_):
            raise NotImplementedError

    with pytest.raises(TypeError, match=r"TextsOnly takes no vectors .*add_embeddings"):
        add_multimodal_documents(TextsOnly(), [Document("a")], hashing)
    assert hashing.model.embedded == []


def test_counts_must_fit(hashing):
    store = InMemoryVectorStore(hashing)
    with pytest.raises(ValueError, match="1 documents and 2 ids"):
        add_multimodal_documents(store, [Document("a")], hashing, ids=["1", "2"])
    with pytest.raises(ValueError, match="batch_size=0"):
        add_multimodal_documents(store, [Document("a")], hashing, batch_size=0)
