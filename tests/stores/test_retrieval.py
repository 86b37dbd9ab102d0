"""What `qwen3vl load` has entered is found by the stores of both frameworks, and judged by its pixels in a bucket."""

from __future__ import annotations

import io
import random
from contextlib import ExitStack
from dataclasses import replace

import fsspec
import numpy as np
import pytest
from store_servers import serve_chroma, serve_postgres

from bucket_servers import serve_bucket
from qwen3_vl_pocket.world.facts import draw_facts
from qwen3_vl_pocket.world.files import write_clip, write_pdf
from qwen3_vl_pocket.world.pictures import draw_frames, draw_picture
from qwen3_vl_pocket.world.sentences import ask
from qwen3_vl_retrieval import MediaPolicy, MediaPolicyError, Qwen3VLEmbedder, Qwen3VLReranker, StoreError
from qwen3_vl_retrieval.items import DocumentPage
from qwen3_vl_retrieval.jobs import LanceDbSink, QdrantSink, RunVectors, embed_source, load_run
from stores.framework_stores import choose_sink, open_with_langchain, open_with_llama_index

PAGES = [draw_facts("page", random.Random(number), split="test") for number in range(3)]
QUESTION = ask(PAGES[2], "en", random.Random(1))
PAPER = "s3://bucket/docs/paper.pdf"
WORDS = "The code of the cellar door is quokka."
SHORT = 32

LANGCHAIN = ("postgres", "qdrant", "milvus", "chroma")
LLAMA_INDEX = (*LANGCHAIN, "lancedb")


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    path = tmp_path_factory.mktemp("paper") / "paper.pdf"
    write_pdf([draw_picture(facts, random.Random(7)) for facts in PAGES], path)
    return path


@pytest.fixture(scope="module")
def policy(paper):
    """What may be opened: the objects of the bucket, and no file."""
    with serve_bucket() as address, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "key")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        s3 = fsspec.filesystem("s3", endpoint_url=address)
        rng = random.Random(5)
        for number in range(3):
            image = io.BytesIO()
            draw_picture(draw_facts("pair", rng, split="test"), rng).save(image, "PNG")
            s3.pipe_file(f"bucket/docs/image {number}.png", image.getvalue())
        clip = io.BytesIO()
        write_clip(draw_frames(draw_facts("motion", rng, split="test"), rng), clip)
        s3.pipe_file("bucket/docs/clip.mp4", clip.getvalue())
        s3.pipe_file("bucket/docs/paper.pdf", paper.read_bytes())
        s3.pipe_file("bucket/docs/note.txt", WORDS.encode())
        yield MediaPolicy(allow_storage=("s3://bucket/docs",), storage_options={"endpoint_url": address}, allow_dirs=())


@pytest.fixture(scope="module")
def embedder(policy):
    # What is fetched to be embedded lies in a folder.
    return Qwen3VLEmbedder.from_pretrained("pocket", media_policy=replace(policy, allow_dirs=None))


@pytest.fixture(scope="module")
def reranker(policy):
    return Qwen3VLReranker.from_pretrained("pocket", media_policy=policy)


@pytest.fixture(scope="module")
def run(tmp_path_factory, policy, embedder):
    folder = tmp_path_factory.mktemp("run")
    report = embed_source("s3://bucket/docs", folder, embedder, storage_options=dict(policy.storage_options))
    assert (report.units, report.is_complete) == (8, True)
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory, request, run):
    """Where each store is that has been filled, by its name; each is filled when it is first asked for."""
    folder = tmp_path_factory.mktemp("stores")
    servers, filled = {}, {}

    def fill(name):
        if name == "postgres" and name not in servers:
            server = serve_postgres(folder / "postgres")
        elif name == "chroma" and name not in servers:
            server = serve_chroma(folder / "chroma")
        else:
            server = None
        if server is not None:
            servers[name] = server.__enter__()
            request.addfinalizer(lambda: server.__exit__(None, None, None))
        if name not in filled:
            sink, place = choose_sink(name, folder, servers)
            assert load_run(run, sink).units == 8
            filled[name] = place
        return filled[name]

    return fill


@pytest.fixture
def resources():
    """Closes what a test has opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def page_score(paper, reranker):
    """How the third page is judged if it is given as it is."""
    (score,) = reranker.score(QUESTION, [{"image": DocumentPage(paper.read_bytes(), 3)}])
    return float(score)


@pytest.mark.parametrize("name", LANGCHAIN)
def test_langchain_finds_a_page_in_a_bucket_and_judges_its_pixels(
    name, places, embedder, reranker, policy, page_score, resources
):
    from langchain_qwen3_vl import Qwen3VLEmbeddings, Qwen3VLRerank, Qwen3VLRetriever

    store = open_with_langchain(name, places(name), Qwen3VLEmbeddings(model=embedder), resources)
    judge = Qwen3VLRerank(model=reranker, media_policy=policy)
    found = Qwen3VLRetriever(base=store, reranker=judge, k=8).invoke(QUESTION)
    assert len(found) == 8
    (page,) = [one for one in found if one.metadata.get("page") == 3]
    assert (page.metadata["media_type"], page.metadata["source"]) == ("page", PAPER)
    assert page.metadata["relevance_score"] == pytest.approx(page_score, abs=1e-4)
    vectors = {one.metadata["source"]: one.metadata["similarity_score"] for one in found}
    query, image = embedder.embed_queries([QUESTION])[0], {"image": "s3://bucket/docs/image 1.png"}
    assert vectors[image["image"]] == pytest.approx(float(embedder.embed_documents([image])[0] @ query), abs=1e-3)
    # Whoever judges decides what is opened.
    refusing = Qwen3VLRerank(model=reranker, media_policy=MediaPolicy(allow_dirs=()))
    with pytest.raises(MediaPolicyError, match="allow_storage"):
        Qwen3VLRetriever(base=store, reranker=refusing, k=8).invoke(QUESTION)


@pytest.mark.parametrize("name", LLAMA_INDEX)
def test_llama_index_finds_a_page_in_a_bucket_and_judges_its_pixels(
    name, places, embedder, reranker, policy, page_score, resources
):
    from llama_index.core.llms import ImageBlock

    from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
    from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
    from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever

    store = open_with_llama_index(name, places(name), embedder.dimensions, resources)
    embedding = Qwen3VLEmbedding(embedder=embedder, media_policy=policy)
    judge = Qwen3VLRerank(reranker=reranker, media_policy=policy)
    found = Qwen3VLRetriever(store, embed_model=embedding, reranker=judge, similarity_top_k=8).retrieve(QUESTION)
    assert len({one.node.node_id for one in found}) == 8
    (page,) = [one for one in found if one.metadata.get("page") == 3]
    assert (page.metadata["media_type"], page.metadata["source"]) == ("page", PAPER)
    assert page.score == pytest.approx(page_score, abs=1e-4)
    # A language model is shown the page.
    assert any(isinstance(block, ImageBlock) for block in page.node.get_content_blocks())
    images = Qwen3VLRetriever(store, embed_model=embedding, similarity_top_k=3).text_to_image_retrieve(QUESTION)
    assert {one.metadata["media_type"] for one in images} <= {"image", "page"}


@pytest.fixture(scope="module")
def short_places(tmp_path_factory, run):
    """A folder of Qdrant and one of LanceDB with the beginning of each vector."""
    folder = tmp_path_factory.mktemp("short")
    for sink in (
        QdrantSink(str(folder / "qdrant"), collection="units"),
        LanceDbSink(str(folder / "lancedb"), table="units"),
    ):
        load_run(run, sink, dimensions=SHORT)
    return folder


def test_a_second_pass_orders_by_full_vectors_in_both_frameworks(short_places, run, embedder, resources):
    from langchain_qwen3_vl import Qwen3VLEmbeddings, Qwen3VLRetriever
    from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
    from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever as Qwen3VLNodeRetriever

    vectors = RunVectors(run)
    exact = np.sort(vectors.score(embedder.embed_queries([QUESTION])[0], vectors_ids(run)))[::-1]
    short = Qwen3VLEmbeddings(model=embedder, dimensions=SHORT)
    store = open_with_langchain("qdrant", str(short_places / "qdrant"), short, resources)
    found = Qwen3VLRetriever(base=store, k=4, full_vectors=vectors).invoke(QUESTION)
    assert [one.metadata["similarity_score"] for one in found] == pytest.approx(exact[:4].tolist(), abs=1e-4)
    nodes = open_with_llama_index("lancedb", str(short_places / "lancedb"), SHORT, resources)
    embedding = Qwen3VLEmbedding(embedder=embedder, dimensions=SHORT)
    retrieved = Qwen3VLNodeRetriever(nodes, embed_model=embedding, similarity_top_k=4, full_vectors=vectors).retrieve(
        QUESTION
    )
    assert [one.score for one in retrieved] == pytest.approx(exact[:4].tolist(), abs=1e-4)


def vectors_ids(run):
    from job_runs import read_parts

    return list(read_parts(run))


def test_full_vectors_are_refused_where_they_cannot_be_used(run, tmp_path, embedder):
    from langchain_core.vectorstores import InMemoryVectorStore

    from langchain_qwen3_vl import Qwen3VLEmbeddings, Qwen3VLRetriever
    from qwen3_vl_retrieval.index import MultimodalIndex

    vectors = RunVectors(run)
    with MultimodalIndex.open(tmp_path / "index", embedder) as index, pytest.raises(ValueError, match="full_vectors"):
        Qwen3VLRetriever(base=index, full_vectors=vectors)
    store = InMemoryVectorStore(Qwen3VLEmbeddings(model=embedder))
    store.add_texts(["not of the run"], ids=["a"])
    with pytest.raises(StoreError, match="has no unit 'a'"):
        Qwen3VLRetriever(base=store, full_vectors=vectors).invoke("text")


def test_words_and_vectors_are_searched_together_where_the_store_can(places, embedder, resources):
    from langchain_postgres.v2.hybrid_search_config import HybridSearchConfig

    from langchain_qwen3_vl import Qwen3VLEmbeddings, Qwen3VLRetriever
    from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
    from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever as Qwen3VLNodeRetriever

    by_words = HybridSearchConfig(tsv_lang="simple", primary_top_k=1, secondary_top_k=8)
    store = open_with_langchain("postgres", places("postgres"), Qwen3VLEmbeddings(model=embedder), resources)
    retriever = Qwen3VLRetriever(base=store, k=8, search_kwargs={"hybrid_search_config": by_words})
    assert "note.txt" in " ".join(one.metadata["source"] for one in retriever.invoke("quokka"))
    # The words of a query are those of no other.
    assert "note.txt" not in " ".join(one.metadata["source"] for one in retriever.invoke(QUESTION))
    embedding = Qwen3VLEmbedding(embedder=embedder)
    nodes = open_with_llama_index(
        "postgres", places("postgres"), embedder.dimensions, resources, hybrid_search=True, text_search_config="simple"
    )
    retriever = Qwen3VLNodeRetriever(
        nodes, embed_model=embedding, similarity_top_k=1, vector_store_query_mode="text_search"
    )
    assert retriever.retrieve("quokka")[0].metadata["source"].endswith("note.txt")
    nodes = open_with_llama_index("lancedb", places("lancedb"), embedder.dimensions, resources, query_type="fts")
    retriever = Qwen3VLNodeRetriever(nodes, embed_model=embedding, similarity_top_k=1)
    assert retriever.retrieve("quokka")[0].metadata["source"].endswith("note.txt")
