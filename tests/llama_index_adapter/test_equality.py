"""The same ids in the same order: as the core's own search, and as LangChain's retriever over the same store."""

from __future__ import annotations

import random

import numpy as np
import pytest
from typer.testing import CliRunner

from langchain_qwen3_vl import Qwen3VLEmbeddings
from langchain_qwen3_vl import Qwen3VLRerank as LangChainRerank
from langchain_qwen3_vl import Qwen3VLRetriever as LangChainRetriever
from llama_index.indices.qwen3_vl import UnifiedMultiModalIndex
from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from llama_index.retrievers.qwen3_vl import MultiModalQueryBundle, Qwen3VLRetriever
from qwen3_vl_pocket.world.facts import draw_facts
from qwen3_vl_pocket.world.files import write_clip, write_pdf
from qwen3_vl_pocket.world.pictures import draw_frames, draw_picture
from qwen3_vl_pocket.world.sentences import ask
from qwen3_vl_retrieval.cli import app
from qwen3_vl_retrieval.index import MultimodalIndex
from rounding import bound


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Four images, a PDF of two pages, a video and a note."""
    folder = tmp_path_factory.mktemp("drawn")
    for number in range(4):
        draw_picture(draw_facts("pair", random.Random(number), split="test"), random.Random(number)).save(
            folder / f"{number}.png"
        )
    rng = random.Random(9)
    write_pdf([draw_picture(draw_facts("page", rng, split="test"), rng) for _ in range(2)], folder / "paper.pdf")
    write_clip(draw_frames(draw_facts("motion", rng, split="test"), rng), folder / "clip.mp4")
    (folder / "note.txt").write_text("The overdue invoice is from March.")
    return folder


@pytest.fixture(scope="module")
def store(drawn, embedding, tmp_path_factory):
    """A store that the command line wrote."""
    folder = tmp_path_factory.mktemp("index") / "store"
    done = CliRunner().invoke(app, ["index", str(drawn), "--to", str(folder), "--model", "pocket"])
    assert done.exit_code == 0, done.output
    return folder


def list_queries(drawn):
    """As the core, as LlamaIndex and as LangChain take them."""
    for number in range(2):
        question = ask(draw_facts("pair", random.Random(number), split="test"), "en", random.Random(number))
        yield question, question, question
    picture = str(drawn / "2.png")
    item = {"image": picture, "text": "the same in blue"}
    yield item, MultiModalQueryBundle("the same in blue", images=[picture]), item
    yield {"image": picture}, MultiModalQueryBundle("", images=[picture]), {"image": picture}


def test_one_store_gives_one_order_in_core_and_both_frameworks(store, drawn, embedding, rerank):
    ours = Qwen3VLRetriever(store, embed_model=embedding, reranker=rerank, similarity_top_k=5)
    theirs = LangChainRetriever.from_index(
        store, embedder=Qwen3VLEmbeddings(model="pocket"), reranker=LangChainRerank(model="pocket"), k=5
    )
    with MultimodalIndex.open(store, embedding.embedder, rerank.reranker) as index:
        for item, bundle, query in list_queries(drawn):
            hits = index.search(item, k=5)
            found = ours.retrieve(bundle)
            documents = theirs.invoke(query)
            expected = [hit.id for hit in hits]
            assert [one.node.node_id for one in found] == expected
            assert [document.id for document in documents] == expected
            scores = [hit.relevance_score for hit in hits]
            assert np.allclose([one.score for one in found], scores, atol=bound(1e-4))
            for one, document in zip(found, documents, strict=True):
                shared = {
                    name: one.node.metadata.get(name) for name in ("media_type", "source", "page", "start", "end")
                }
                assert shared == {name: document.metadata.get(name) for name in shared}
    ours.multimodal_index.close()
    theirs.base.close()


def test_rows_of_the_store_mean_the_same_to_our_models(store, drawn, embedding, rerank):
    with MultimodalIndex.open(store, embedding.embedder) as index:
        question = next(list_queries(drawn))[0]
        first = Qwen3VLRetriever(index, similarity_top_k=50).retrieve(question)
        judged = Qwen3VLRerank(model="pocket", top_n=5).postprocess_nodes(first, query_str=question)
        with MultimodalIndex.open(store, embedding.embedder, rerank.reranker) as both:
            hits = both.search(question, k=5)
        assert [one.node.node_id for one in judged] == [hit.id for hit in hits]
        assert np.allclose([one.score for one in judged], [hit.relevance_score for hit in hits], atol=1e-3)


@pytest.mark.parametrize("kind", ["chroma", "simple"])
def test_our_own_index_ranks_files_as_the_core_does(kind, drawn, embedding, rerank, tmp_path):
    ours = UnifiedMultiModalIndex.from_files(
        drawn, embed_model=embedding, persist_dir=tmp_path / "chroma" if kind == "chroma" else None
    )
    with MultimodalIndex.open(tmp_path / "core", embedding.embedder, rerank.reranker, precision="float32") as index:
        index.add(drawn)
        for item, bundle, _ in list_queries(drawn):
            hits = index.search(item, k=5, match_words=False)
            found = ours.as_retriever(similarity_top_k=5, reranker=rerank).retrieve(bundle)
            places = [(one.node.metadata["source"], one.node.metadata.get("page")) for one in found]
            assert places == [(hit.source, hit.page) for hit in hits]
            assert np.allclose([one.score for one in found], [hit.relevance_score for hit in hits], atol=1e-3)
    with MultimodalIndex.open(tmp_path / "core", embedding.embedder) as plain:
        for item, bundle, _ in list_queries(drawn):
            hits = plain.search(item, k=5, match_words=False)
            found = ours.as_retriever(similarity_top_k=5).retrieve(bundle)
            places = [(one.node.metadata["source"], one.node.metadata.get("page")) for one in found]
            assert places == [(hit.source, hit.page) for hit in hits]
            assert np.allclose([one.score for one in found], [hit.similarity_score for hit in hits], atol=1e-3)
