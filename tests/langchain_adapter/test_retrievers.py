"""The two-stage retriever: the order of the core, the scores of both stages, and what others get to see of a query."""

from __future__ import annotations

import asyncio
import base64
import json

import faiss
import numpy as np
import pytest
from langchain_chroma import Chroma
from langchain_community.docstore.in_memory import InMemoryDocstore
from langchain_community.vectorstores import FAISS
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import BaseTracer
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_qdrant import QdrantVectorStore
from PIL import Image
from pydantic import ValidationError
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, VectorParams

from langchain_adapter.hash_embedder import HashEmbedder
from langchain_qwen3_vl.documents import image_document
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.ingestion import add_multimodal_documents
from langchain_qwen3_vl.rerank import Qwen3VLRerank
from langchain_qwen3_vl.retrievers import Qwen3VLRetriever
from langchain_qwen3_vl.vectorstores import MultimodalChroma
from qwen3_vl_retrieval import FingerprintMismatchError, StoreError
from qwen3_vl_retrieval.index import MultimodalIndex
from rounding import bound


class Keep(BaseTracer):
    """Keeps what tracers are given."""

    def __init__(self):
        super().__init__()
        self.runs = []

    def _persist_run(self, run):
        self.runs.append(run)


class Starts(BaseCallbackHandler):
    """Keeps the queries that retrievers begin with, and their metadata."""

    def __init__(self):
        self.queries, self.metadata = [], []

    def on_retriever_start(self, serialized, query, *, metadata=None, **_):
        self.queries.append(query)
        self.metadata.append(metadata)


class Backwards(BaseDocumentCompressor):
    """A reranker of somebody else: two documents by default, and no scores."""

    top_n: int = 2

    def compress_documents(self, documents, query, callbacks=None):
        return list(documents)[::-1][: self.top_n]


class Fixed(BaseRetriever):
    documents: list[Document]

    def _get_relevant_documents(self, query, *, run_manager):
        return self.documents


class Plain(VectorStore):
    """A store that nothing is known of."""

    def similarity_search(self, query, k=4, **_):
        return [Document(str(number)) for number in range(k)]

    @classmethod
    def from_texts(cls, texts, embedding, metadatas=None, **_):
        raise NotImplementedError


@pytest.fixture(scope="module")
def store(embeddings, images):
    """The drawn images, whose ids are their numbers."""
    store = InMemoryVectorStore(embeddings)
    documents = [image_document(images / f"picture-{number}.png", id=str(number)) for number in range(4)]
    add_multimodal_documents(store, documents, embeddings)
    return store


@pytest.fixture(scope="module")
def index_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("index")


@pytest.fixture(scope="module")
def index(embeddings, rerank, images, index_folder):
    """All that was drawn, searched in two stages."""
    with MultimodalIndex.open(index_folder, embeddings.embedder, rerank.reranker) as index:
        index.add(images)
        yield index


def test_over_an_index_it_returns_what_the_index_returns(index, questions):
    retriever = Qwen3VLRetriever.from_index(index, k=3)
    for question in questions:
        hits = index.search(question, k=3)
        found = retriever.invoke(question)
        assert [document.id for document in found] == [hit.id for hit in hits]
        scores = [(document.metadata["similarity_score"], document.metadata["relevance_score"]) for document in found]
        assert np.allclose(scores, [(hit.similarity_score, hit.relevance_score) for hit in hits], atol=bound(1e-4))


def test_an_index_is_opened_by_its_folder(index, index_folder, questions, embeddings, rerank, images):
    retriever = Qwen3VLRetriever.from_index(index_folder, embedder=embeddings, reranker=rerank, k=2)
    hits = index.search({"image": images / "picture-2.png"}, k=2)
    assert [document.id for document in retriever.invoke({"image": images / "picture-2.png"})] == [h.id for h in hits]
    retriever.base.close()
    named = Qwen3VLRetriever.from_index(str(index_folder), embedder="pocket", reranker="pocket", k=1)
    assert named.invoke(questions[0])[0].id == index.search(questions[0], k=1)[0].id
    named.base.close()
    with pytest.raises(FingerprintMismatchError):
        Qwen3VLRetriever.from_index(index_folder, embedder=HashEmbedder())


def test_options_of_an_index_are_passed_on(index, questions):
    retriever = Qwen3VLRetriever.from_index(index, search_kwargs={"media_types": ["page"]}, filter={"page": 2})
    assert {(d.metadata["media_type"], d.metadata["page"]) for d in retriever.invoke(questions[0])} == {("page", 2)}
    assert retriever.invoke(questions[0], filter={"page": {"$gt": 99}}) == []
    assert retriever.invoke(questions[0], score_threshold=1.0) == []
    assert len(asyncio.run(Qwen3VLRetriever(base=index).ainvoke(questions[0], k=2))) == 2


def test_what_an_index_would_not_use_is_refused(index, index_folder, tmp_path, embeddings):
    with pytest.raises(ValueError, match="open index has its models"):
        Qwen3VLRetriever.from_index(index, embedder=embeddings)
    with pytest.raises(ValueError, match="embedder is missing"):
        Qwen3VLRetriever.from_index(tmp_path)
    with pytest.raises(StoreError, match="there is no index"):
        Qwen3VLRetriever.from_index(tmp_path / "none", embedder=embeddings)
    assert not (tmp_path / "none").exists()
    folder = index_folder
    with pytest.raises(ValueError, match="dimensions of Qwen3VLEmbeddings"):
        Qwen3VLRetriever.from_index(folder, embedder=Qwen3VLEmbeddings(model="pocket", dimensions=32))
    with pytest.raises(ValueError, match="instruction of Qwen3VLRerank"):
        Qwen3VLRetriever.from_index(
            folder, embedder=embeddings, reranker=Qwen3VLRerank(model="pocket", instruction="a")
        )


def test_both_stages_score_and_the_second_orders(store, embeddings, rerank, questions, images):
    retriever = Qwen3VLRetriever(base=store, reranker=rerank, k=4)
    items = [{"image": images / f"picture-{number}.png"} for number in range(4)]
    for question in questions:
        ranked = rerank.reranker.rank(question, items)
        cosines = embeddings.embed_documents_array(items) @ embeddings.embed_query_array(question)
        found = retriever.invoke(question)
        scores = {int(document.id): document.metadata for document in found}
        assert [scores[entry.index]["relevance_score"] for entry in ranked] == pytest.approx(
            [entry.score for entry in ranked], abs=1e-3
        )
        assert [document.metadata["relevance_score"] for document in found] == sorted(
            (document.metadata["relevance_score"] for document in found), reverse=True
        )
        assert [scores[number]["similarity_score"] for number in range(4)] == pytest.approx(cosines, abs=bound(1e-4))


def test_k_counts_whatever_the_reranker_would_return(store, rerank, questions):
    assert rerank.top_n == 3
    retriever = Qwen3VLRetriever(base=store, reranker=rerank, k=4)
    assert len(retriever.invoke(questions[0])) == 4
    assert len(retriever.invoke(questions[0], k=1)) == 1
    assert len(asyncio.run(retriever.ainvoke(questions[0]))) == 4
    backwards = Qwen3VLRetriever(base=store, reranker=Backwards(), k=4, fetch_k=2)
    assert len(backwards.invoke(questions[0])) == 4
    assert backwards.reranker.top_n == 2


def test_fetch_k_is_what_the_reranker_sees(store, questions):
    retriever = Qwen3VLRetriever(base=store, reranker=Backwards(), k=1, fetch_k=3)
    nearest = [document.id for document in Qwen3VLRetriever(base=store).invoke(questions[0])]
    assert retriever.invoke(questions[0])[0].id == nearest[2]
    assert retriever.invoke(questions[0], fetch_k=2)[0].id == nearest[1]
    assert asyncio.run(retriever.ainvoke(questions[0], fetch_k=4))[0].id == nearest[3]


def test_the_metadata_of_the_store_are_not_touched(store, rerank, questions):
    Qwen3VLRetriever(base=store, reranker=rerank).invoke(questions[0])
    assert all("similarity_score" not in row["metadata"] for row in store.store.values())


def test_a_threshold_is_about_the_last_score(store, rerank, questions):
    cosines = [d.metadata["similarity_score"] for d in Qwen3VLRetriever(base=store).invoke(questions[0])]
    middle = (cosines[1] + cosines[2]) / 2
    assert len(Qwen3VLRetriever(base=store, score_threshold=middle).invoke(questions[0])) == 2
    assert Qwen3VLRetriever(base=store, reranker=rerank, score_threshold=1.1).invoke(questions[0]) == []
    with pytest.raises(ValueError, match="Backwards gives no relevance_score"):
        Qwen3VLRetriever(base=store, reranker=Backwards()).invoke(questions[0], score_threshold=0.5)
    with pytest.raises(ValueError, match="Plain gives no similarity_score"):
        Qwen3VLRetriever(base=Plain(), score_threshold=0.5).invoke("a")
    with pytest.raises(ValueError, match="gives no similarity_score"):
        Qwen3VLRetriever(base=store, search_type="mmr", score_threshold=0.5).invoke("a")


def test_misspelt_and_impossible_options_fail(store):
    with pytest.raises(ValidationError, match="fetchk"):
        Qwen3VLRetriever(base=store, fetchk=3)
    with pytest.raises(ValidationError, match="from_index"):
        Qwen3VLRetriever(base="store/")
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Qwen3VLRetriever(base=store, k=0)
    with pytest.raises(ValidationError, match="search_type='mmr' is for a VectorStore"):
        Qwen3VLRetriever(base=Fixed(documents=[]), search_type="mmr")
    with pytest.raises(ValidationError, match="filter and search_kwargs are for stores"):
        Qwen3VLRetriever(base=Fixed(documents=[]), filter={"a": 1})
    with pytest.raises(ValueError, match="filter is for stores"):
        Qwen3VLRetriever(base=Fixed(documents=[])).invoke("a", filter={"a": 1})
    with pytest.raises(ValueError, match="k=0"):
        Qwen3VLRetriever(base=store).invoke("a", k=0)
    with pytest.raises(TypeError, match="kk"):
        Qwen3VLRetriever(base=store).invoke("a", kk=1)


def test_filter_and_search_options_reach_the_store(hash_store):
    retriever = Qwen3VLRetriever.from_vectorstore(hash_store, filter={"even": True})
    assert {document.id for document in retriever.invoke("text 3", k=9)} == {"0", "2", "4"}
    assert {document.id for document in retriever.invoke("text 3", k=9, filter={"even": False})} == {"1", "3"}
    worded = Qwen3VLRetriever(base=hash_store, search_kwargs={"where_document": {"$contains": "4"}})
    assert [document.id for document in worded.invoke("text 3")] == ["4"]
    varied = Qwen3VLRetriever(base=hash_store, search_type="mmr", search_kwargs={"lambda_mult": 0.0}, k=3)
    expected = hash_store.max_marginal_relevance_search("text 3", k=3, fetch_k=15, lambda_mult=0.0)
    assert [document.id for document in varied.invoke("text 3")] == [document.id for document in expected]
    assert [d.id for d in asyncio.run(varied.ainvoke("text 3"))] == [document.id for document in expected]


@pytest.fixture
def hashing():
    return Qwen3VLEmbeddings(model=HashEmbedder())


@pytest.fixture
def hash_store(hashing):
    store = MultimodalChroma("hashes", hashing)
    store.add_texts(
        [f"text {number}" for number in range(5)],
        metadatas=[{"even": number % 2 == 0} for number in range(5)],
        ids=[str(number) for number in range(5)],
    )
    yield store
    store.delete_collection()


def make_chroma(hashing, space):
    return Chroma(f"plain-{space}", hashing, collection_configuration={"hnsw": {"space": space}})


def make_faiss(hashing, index):
    return FAISS(hashing, index, InMemoryDocstore(), {})


def make_qdrant(hashing, distance):
    client = QdrantClient(":memory:")
    client.create_collection("texts", vectors_config=VectorParams(size=8, distance=distance))
    return QdrantVectorStore(client, "texts", hashing, distance=distance)


@pytest.mark.parametrize(
    "make",
    [
        lambda hashing: InMemoryVectorStore(hashing),
        lambda hashing: make_chroma(hashing, "cosine"),
        lambda hashing: make_chroma(hashing, "l2"),
        lambda hashing: make_chroma(hashing, "ip"),
        lambda hashing: make_faiss(hashing, faiss.IndexFlatL2(8)),
        lambda hashing: make_faiss(hashing, faiss.IndexFlatIP(8)),
        lambda hashing: make_qdrant(hashing, Distance.COSINE),
        lambda hashing: make_qdrant(hashing, Distance.DOT),
        lambda hashing: make_qdrant(hashing, Distance.EUCLID),
    ],
    ids=["memory", "chroma-cosine", "chroma-l2", "chroma-ip", "faiss-l2", "faiss-ip", "qdrant", "q-dot", "q-euclid"],
)
def test_the_first_score_is_the_cosine_in_every_known_store(make, hashing):
    store = make(hashing)
    texts = [f"text {number}" for number in range(4)]
    store.add_texts(texts, ids=[f"00000000-0000-0000-0000-00000000000{number}" for number in range(4)])
    cosines = dict(zip(texts, hashing.embed_documents_array(texts) @ hashing.embed_query_array("text 1"), strict=True))
    retriever = Qwen3VLRetriever(base=store)
    for found in (retriever.invoke("text 1"), asyncio.run(retriever.ainvoke("text 1"))):
        assert [document.page_content for document in found] == sorted(texts, key=cosines.__getitem__, reverse=True)
        assert [document.metadata["similarity_score"] for document in found] == pytest.approx(
            [float(cosines[document.page_content]) for document in found], abs=1e-3
        )
        assert found[0].id == "00000000-0000-0000-0000-000000000001"
    if isinstance(store, Chroma):
        store.delete_collection()


def test_stores_that_nothing_is_known_of_give_no_first_score():
    assert [document.metadata for document in Qwen3VLRetriever(base=Plain(), k=2).invoke("a")] == [{}, {}]
    assert len(asyncio.run(Qwen3VLRetriever(base=Plain(), k=2).ainvoke("a"))) == 2


def test_another_retriever_may_be_the_first_stage(rerank):
    documents = [Document("red circle", id="a"), Document("blue square", id="b"), Document("green star", id="c")]
    retriever = Qwen3VLRetriever(base=Fixed(documents=documents), reranker=rerank, k=1, fetch_k=3)
    expected = rerank.compress_documents(documents, "blue square")[0].id
    assert retriever.invoke("blue square")[0].id == expected
    assert asyncio.run(retriever.ainvoke("blue square"))[0].id == expected
    limited = Qwen3VLRetriever(base=Fixed(documents=documents), reranker=Backwards(), k=1, fetch_k=2)
    assert limited.invoke("x")[0].id == "b"


def test_nothing_found_is_nothing_judged(rerank, embeddings):
    retriever = Qwen3VLRetriever(base=InMemoryVectorStore(embeddings), reranker=rerank)
    assert retriever.invoke("anything") == []
    assert asyncio.run(retriever.ainvoke("anything")) == []


def open_pixels(path):
    with Image.open(path) as image:
        return image.copy()


def test_any_item_is_a_query(store, images):
    path = images / "picture-1.png"
    encoded = base64.b64encode(path.read_bytes()).decode()
    queries = [
        {"image": str(path)},
        path,
        open_pixels(path),
        [{"type": "image", "base64": encoded, "mime_type": "image/png"}],
        [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}],
    ]
    retriever = Qwen3VLRetriever(base=store, k=2)
    expected = [document.id for document in retriever.invoke(queries[0])]
    for found in (*retriever.batch(queries), *asyncio.run(retriever.abatch(queries))):
        assert [document.id for document in found] == expected


def test_batch_equals_one_by_one(store, rerank, questions):
    retriever = Qwen3VLRetriever(base=store, reranker=rerank, k=2)
    one_by_one = [[document.id for document in retriever.invoke(question)] for question in questions]
    assert [[document.id for document in found] for found in retriever.batch(questions)] == one_by_one
    assert [[d.id for d in found] for found in asyncio.run(retriever.abatch(questions))] == one_by_one


def test_callbacks_and_traces_never_hold_the_bytes_of_a_query(store, images):
    encoded = base64.b64encode((images / "picture-1.png").read_bytes()).decode()
    query = [{"type": "text", "text": "like this"}, {"type": "image", "base64": encoded, "mime_type": "image/png"}]
    tracer, starts = Keep(), Starts()
    for base in (store, store.as_retriever()):
        retriever = Qwen3VLRetriever(base=base, k=1)
        retriever.invoke(query, {"callbacks": [tracer, starts]})
        asyncio.run(retriever.ainvoke(query, {"callbacks": [tracer, starts]}))
    payloads = [json.dumps(run.inputs, default=str) for run in tracer.runs]
    assert len(payloads) == 4
    assert all(len(payload) < 500 and encoded[:40] not in payload for payload in payloads)
    assert all("like this" in payload and "characters" in payload for payload in payloads)
    assert all(type(query) is not list and "like this" in query for query in starts.queries)


def test_a_text_is_traced_as_it_is_and_base_retrievers_too(store):
    starts = Starts()
    Qwen3VLRetriever(base=store.as_retriever()).invoke("a red circle", {"callbacks": [starts]})
    assert starts.queries == ["a red circle", "a red circle"]


def test_traces_name_store_and_model(store, embeddings):
    starts = Starts()
    Qwen3VLRetriever(base=store).invoke("a", {"callbacks": [starts]})
    [about] = starts.metadata
    assert about["ls_retriever_name"] == "qwen3vl"
    assert about["ls_vector_store_provider"] == "InMemoryVectorStore"
    assert (about["ls_embedding_provider"], about["ls_embedding_model"]) == ("Qwen3VLEmbeddings", "pocket")
    plain = Qwen3VLRetriever(base=InMemoryVectorStore(DeterministicFakeEmbedding(size=4)))
    assert plain._get_ls_params()["ls_embedding_provider"] == "DeterministicFakeEmbedding"


def test_it_is_a_runnable(store, questions):
    chain = Qwen3VLRetriever(base=store, k=1) | RunnableLambda(lambda documents: documents[0].id)
    assert chain.invoke(questions[0]) == Qwen3VLRetriever(base=store).invoke(questions[0])[0].id
