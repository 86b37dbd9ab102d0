"""What LangChain's users build: compression, ensembles, chains, indexing, and many questions at once."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest
from langchain_classic.retrievers import (
    ContextualCompressionRetriever,
    EnsembleRetriever,
    MultiVectorRetriever,
)
from langchain_classic.retrievers.document_compressors import (
    CrossEncoderReranker,
    DocumentCompressorPipeline,
    EmbeddingsFilter,
)
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.stores import InMemoryStore
from langchain_core.vectorstores import InMemoryVectorStore
from PIL import Image

from langchain_adapter.hash_embedder import HashEmbedder
from langchain_qwen3_vl.cross_encoders import Qwen3VLCrossEncoder
from langchain_qwen3_vl.document_loaders import Qwen3VLFolderLoader
from langchain_qwen3_vl.documents import image_document, media_key_encoder
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.ingestion import add_multimodal_documents
from langchain_qwen3_vl.rerank import Qwen3VLRerank
from langchain_qwen3_vl.retrievers import Qwen3VLRetriever
from langchain_qwen3_vl.vectorstores import MultimodalChroma
from qwen3_vl_pocket.world.facts import draw_facts
from qwen3_vl_pocket.world.pictures import draw_picture
from qwen3_vl_pocket.world.sentences import ask
from qwen3_vl_retrieval.index import MultimodalIndex
from rounding import bound


@pytest.fixture(scope="module")
def store(embeddings, images):
    store = InMemoryVectorStore(embeddings)
    documents = [image_document(images / f"picture-{number}.png", id=str(number)) for number in range(4)]
    add_multimodal_documents(store, documents, embeddings)
    return store


def list_ids(documents):
    return [document.id for document in documents]


def test_contextual_compression_takes_images_and_images_as_queries(store, rerank, questions, images):
    retriever = ContextualCompressionRetriever(
        base_compressor=rerank, base_retriever=store.as_retriever(search_kwargs={"k": 4})
    )
    image = {"image": str(images / "picture-2.png")}
    for query in (questions[0], image, [{"type": "text", "text": questions[1]}]):
        expected = Qwen3VLRetriever(base=store, reranker=rerank, k=3).invoke(query)
        found = retriever.invoke(query)
        assert list_ids(found) == list_ids(expected)
        assert list_ids(asyncio.run(retriever.ainvoke(query))) == list_ids(expected)
        assert all(0 <= document.metadata["relevance_score"] <= 1 for document in found)


def test_a_pipeline_of_compressors_keeps_ids(store, rerank, embeddings, questions):
    pipeline = DocumentCompressorPipeline(transformers=[rerank, rerank.model_copy(update={"top_n": 1})])
    found = pipeline.compress_documents(store.similarity_search(questions[0], k=4), questions[0])
    assert list_ids(found) == list_ids(Qwen3VLRetriever(base=store, reranker=rerank, k=1).invoke(questions[0]))
    captions = [Document("red circle", id="a"), Document("blue square", id="b")]
    nearest = EmbeddingsFilter(embeddings=embeddings, k=1).compress_documents(captions, "red circle")
    cosines = embeddings.embed_documents_array(captions) @ embeddings.embed_query_array("red circle")
    assert [document.page_content for document in nearest] == [captions[int(cosines.argmax())].page_content]


def test_the_cross_encoder_of_others_runs_on_texts(rerank):
    documents = [Document("blue square", id="a"), Document("red circle", id="b"), Document("green star", id="c")]
    reranker = CrossEncoderReranker(model=Qwen3VLCrossEncoder(model="pocket"), top_n=2)
    expected = list_ids(rerank.compress_documents(documents, "red circle"))[:2]
    assert list_ids(reranker.compress_documents(documents, "red circle")) == expected


def test_an_ensemble_joins_two_orders_by_what_tells_images_apart(store, rerank, questions):
    """Without `id_key` it takes documents of equal text for one, and images have none."""
    stages = Qwen3VLRetriever(base=store, reranker=rerank)
    first, last = Qwen3VLRetriever(base=store), EnsembleRetriever(retrievers=[stages], weights=[1.0], id_key="image")
    assert list_ids(last.invoke(questions[0])) == list_ids(stages.invoke(questions[0]))
    both = EnsembleRetriever(retrievers=[first, stages], weights=[0.5, 0.5], id_key="image")
    places = [list_ids(retriever.invoke(questions[0])) for retriever in (first, stages)]
    scores = {row_id: sum(1 / (60 + 1 + place.index(row_id)) for place in places) for row_id in places[0]}
    found = list_ids(both.invoke(questions[0]))
    assert [scores[row_id] for row_id in found] == sorted(scores.values(), reverse=True)
    assert list_ids(asyncio.run(both.ainvoke(questions[0]))) == found
    # By their texts, which are empty, all images are one: docs/langchain.md says so.
    by_text = EnsembleRetriever(retrievers=[first, stages], weights=[0.5, 0.5])
    assert len(by_text.invoke(questions[0])) == 1


def test_parents_are_found_by_their_images(embeddings, images, questions):
    vectors, parents = InMemoryVectorStore(embeddings), InMemoryStore()
    retriever = MultiVectorRetriever(vectorstore=vectors, docstore=parents, id_key="parent", search_kwargs={"k": 1})
    children = [
        image_document(images / f"picture-{number}.png", id=str(number), metadata={"parent": f"report {number}"})
        for number in range(4)
    ]
    add_multimodal_documents(vectors, children, embeddings)
    parents.mset([(f"report {number}", Document(f"All of report {number}")) for number in range(4)])
    [nearest] = vectors.similarity_search(questions[3], k=1)
    [parent] = retriever.invoke(questions[3])
    assert parent.page_content == f"All of report {nearest.id}"


def test_a_chain_answers_from_what_was_retrieved(store, rerank, questions):
    retriever = Qwen3VLRetriever(base=store, reranker=rerank, k=1)
    [best] = retriever.invoke(questions[1])
    heard = []

    class Listening(GenericFakeChatModel):
        def _generate(self, messages, *arguments, **options):
            heard.extend(messages)
            return super()._generate(messages, *arguments, **options)

    chain = (
        {
            "context": retriever | (lambda documents: ", ".join(d.metadata["source"] for d in documents)),
            "question": RunnablePassthrough(),
        }
        | ChatPromptTemplate.from_template("Context: {context}\nQuestion: {question}")
        | Listening(messages=iter([AIMessage("It is there."), AIMessage("Still there.")]))
        | StrOutputParser()
    )
    assert chain.invoke(questions[1]) == "It is there."
    assert heard[0].content == f"Context: {best.metadata['source']}\nQuestion: {questions[1]}"
    assert asyncio.run(chain.ainvoke(questions[1])) == "Still there."


def draw(path, color):
    Image.new("RGB", (16, 12), color).save(path)


@pytest.fixture
def indexed(tmp_path):
    """A folder of two images and a note, a store, and what indexes the one into the other."""
    (tmp_path / "folder").mkdir()
    for color in ("red", "blue"):
        draw(tmp_path / "folder" / f"{color}.png", color)
    (tmp_path / "folder" / "note.txt").write_text("a note")
    embedder, records = HashEmbedder(), InMemoryRecordManager("things")
    records.create_schema()
    store = MultimodalChroma("things", Qwen3VLEmbeddings(model=embedder), persist_directory=tmp_path / "store")

    def run(documents, **options):
        embedder.embedded.clear()
        return index(documents, records, store, source_id_key="source", key_encoder=media_key_encoder, **options)

    return tmp_path / "folder", store, embedder, run


def list_documents(folder):
    return [
        *(image_document(path) for path in sorted(folder.glob("*.png"))),
        *(Document(path.read_text(), metadata={"source": str(path)}) for path in folder.glob("*.txt")),
    ]


def test_indexing_unchanged_documents_embeds_nothing(indexed):
    folder, store, embedder, run = indexed
    assert run(list_documents(folder), cleanup="incremental")["num_added"] == 3
    assert sum(map(len, embedder.embedded)) == 3
    again = run(list_documents(folder), cleanup="incremental")
    assert (again["num_skipped"], embedder.embedded) == (3, [])
    forced = run(list_documents(folder), cleanup="incremental", force_update=True)
    assert (forced["num_updated"], embedder.embedded) == (3, [])
    assert len(store.get()["ids"]) == 3


def test_indexing_embeds_an_image_that_was_replaced_behind_its_name(indexed):
    folder, store, embedder, run = indexed
    plain = [Document("", metadata={"image": str(folder / "red.png"), "source": "red"})]
    run(plain, cleanup="incremental")
    draw(folder / "red.png", "green")
    result = run(plain, cleanup="incremental")
    assert (result["num_added"], result["num_deleted"]) == (1, 1)
    assert len(embedder.embedded) == 1
    [(found, distance)] = store.similarity_search_with_score({"image": str(folder / "red.png")})
    assert abs(distance) < bound(1e-5)
    assert found.metadata["source"] == "red"


def test_indexing_with_full_cleanup_removes_what_is_gone(indexed):
    folder, store, embedder, run = indexed
    run(list_documents(folder), cleanup="full")
    (folder / "blue.png").unlink()
    result = run(list_documents(folder), cleanup="full")
    assert (result["num_deleted"], result["num_skipped"], embedder.embedded) == (1, 2, [])
    assert sorted(metadata["source"] for metadata in store.get()["metadatas"]) == [
        str(folder / "note.txt"),
        str(folder / "red.png"),
    ]


def test_indexing_takes_the_loader(indexed):
    folder, store, embedder, run = indexed
    loader = Qwen3VLFolderLoader(folder)
    assert run(loader, cleanup="full")["num_added"] == 3
    assert run(loader, cleanup="full")["num_skipped"] == 3
    assert embedder.embedded == []
    assert len(store.get()["ids"]) == 3


@pytest.fixture(scope="module")
def crowd():
    """A hundred questions."""
    rng = random.Random(11)
    return [ask(draw_facts("pair", rng, split="test"), "en", rng) for _ in range(100)]


@pytest.mark.parametrize("kind", ["memory", "chroma"])
def test_a_hundred_concurrent_questions_share_forward_passes(kind, store, embeddings, images, crowd, tmp_path):
    if kind == "chroma":
        base = MultimodalChroma("crowd", embeddings, persist_directory=tmp_path)
        base.add_images([images / f"picture-{number}.png" for number in range(4)], ids=["0", "1", "2", "3"])
    else:
        base = store
    retriever = Qwen3VLRetriever(base=base, k=1)
    before = embeddings.embedder.stats

    async def ask_all():
        return await asyncio.gather(*(retriever.ainvoke(question) for question in crowd))

    answers = asyncio.run(ask_all())
    done = embeddings.embedder.stats - before
    vectors = embeddings.embed_documents_array([{"image": images / f"picture-{number}.png"} for number in range(4)])
    queries = np.array(embeddings.embed_content_blocks(crowd, kind="query"))
    assert [int(found[0].id) for found in answers] == (queries @ vectors.T).argmax(axis=1).tolist()
    assert done.requests == 100
    assert done.batches < 25


def test_retrieval_on_a_drawn_collection_equals_the_core(embeddings, rerank, tmp_path):
    facts = [draw_facts("pair", random.Random(seed), split="test") for seed in range(8)]
    (tmp_path / "drawn").mkdir()
    for number, told in enumerate(facts):
        draw_picture(told, random.Random(number)).save(tmp_path / "drawn" / f"{number}.png")
    with MultimodalIndex.open(tmp_path / "index", embeddings.embedder, rerank.reranker) as opened:
        opened.add(tmp_path / "drawn")
        over_index = Qwen3VLRetriever.from_index(opened, k=5)
        over_store = Qwen3VLRetriever(
            base=MultimodalChroma("drawn", embeddings, persist_directory=tmp_path / "chroma"),
            reranker=Qwen3VLRerank(model="pocket"),
            k=5,
        )
        over_store.base.add_documents(Qwen3VLFolderLoader(tmp_path / "drawn").lazy_load())
        for number in range(3):
            question = ask(facts[number], "en", random.Random(number))
            hits = opened.search(question, k=5, match_words=False)
            assert list_ids(over_index.invoke(question)) == [hit.id for hit in opened.search(question, k=5)]
            found = over_store.invoke(question)
            assert [document.metadata["source"] for document in found] == [hit.source for hit in hits]
            assert [document.metadata["relevance_score"] for document in found] == pytest.approx(
                [hit.relevance_score for hit in hits], abs=1e-3
            )
