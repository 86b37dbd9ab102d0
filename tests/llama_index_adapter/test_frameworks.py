"""The retriever inside LlamaIndex's engines, fusion, citations and evaluation; and a crowd that asks at once."""

from __future__ import annotations

import asyncio
import random

import pytest
from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.evaluation import RetrieverEvaluator
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import MediaResource, Node, QueryBundle, TextNode

from llama_index.indices.qwen3_vl import UnifiedMultiModalIndex
from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from llama_index.retrievers.qwen3_vl import MultiModalQueryBundle, Qwen3VLRetriever
from llama_index_adapter.scripted_llms import ScriptedLLM, join_text, open_images
from qwen3_vl_pocket.world.facts import draw_facts
from qwen3_vl_pocket.world.sentences import ask
from qwen3_vl_retrieval.index import MultimodalIndex


class Generating(ScriptedLLM):
    """Generates queries, for which LlamaIndex asks it to complete a text."""

    queries: list[str]

    def complete(self, prompt, formatted=False, **_):
        return CompletionResponse(text="\n".join(self.queries))


def ids(nodes):
    return [one.node.node_id for one in nodes]


def sent(llm):
    return [block for message in llm.requests[-1] for block in message.blocks]


@pytest.fixture(scope="module", params=["chroma", "simple"])
def index(request, embedding, pictures, tmp_path_factory):
    nodes = [
        Node(
            id_=f"picture-{n}",
            image_resource=MediaResource(path=pictures / f"picture-{n}.png"),
            text_resource=MediaResource(text=f"caption {n}"),
            metadata={"media_type": "image"},
        )
        for n in range(4)
    ]
    persist_dir = tmp_path_factory.mktemp("store") if request.param == "chroma" else None
    return UnifiedMultiModalIndex.from_nodes(
        [*nodes, TextNode(id_="note", text="The overdue invoice is from March.")],
        embed_model=embedding,
        persist_dir=persist_dir,
    )


@pytest.mark.parametrize("is_async", [False, True])
def test_retriever_query_engine(index, questions, pictures, is_async):
    llm = ScriptedLLM()
    engine = RetrieverQueryEngine.from_args(
        index.as_retriever(similarity_top_k=2),
        llm=llm,
        multimodal=True,
        node_postprocessors=[Qwen3VLRerank(model="pocket", top_n=1)],
    )
    query = MultiModalQueryBundle("the same", images=[pictures / "picture-3.png"])
    response = asyncio.run(engine.aquery(query)) if is_async else engine.query(query)
    assert len(response.source_nodes) == 1
    assert len(open_images(sent(llm))) == 1
    assert "caption" in join_text(sent(llm))


@pytest.mark.parametrize("is_async", [False, True])
def test_query_fusion_retriever(index, questions, pictures, is_async):
    fusion = QueryFusionRetriever(
        [index.as_retriever(similarity_top_k=4), index.as_retriever(similarity_top_k=4, modalities=["image"])],
        llm=ScriptedLLM(),
        num_queries=1,
        mode="reciprocal_rerank",
        similarity_top_k=5,
        use_async=False,
    )
    query = MultiModalQueryBundle("", images=[pictures / "picture-2.png"])
    found = asyncio.run(fusion.aretrieve(query)) if is_async else fusion.retrieve(query)
    # What both have found is one node, and first.
    assert ids(found)[0] == "picture-2"
    assert len(set(ids(found))) == len(found)
    assert query.embedding is None


def test_fusion_of_generated_queries_knows_a_node_again(index, questions):
    llm = Generating(queries=[questions[1], questions[2]])
    fusion = QueryFusionRetriever(
        [index.as_retriever(similarity_top_k=5, keep_scores=False)],
        llm=llm,
        num_queries=3,
        mode="reciprocal_rerank",
        similarity_top_k=99,
        use_async=False,
    )
    assert sorted(ids(fusion.retrieve(questions[0]))) == ["note", *(f"picture-{n}" for n in range(4))]


@pytest.mark.parametrize("is_multimodal", [True, False])
def test_citation_query_engine(index, questions, is_multimodal):
    llm = ScriptedLLM()
    engine = CitationQueryEngine.from_args(
        index, llm=llm, retriever=index.as_retriever(similarity_top_k=3), multimodal=is_multimodal
    )
    for response in (engine.query(questions[1]), asyncio.run(engine.aquery(questions[1]))):
        assert str(response) == "an answer"
        assert response.source_nodes
        assert bool(open_images(sent(llm))) is is_multimodal


def test_retriever_evaluator(index, questions):
    evaluator = RetrieverEvaluator.from_metric_names(
        ["hit_rate", "mrr"], retriever=index.as_retriever(similarity_top_k=3, modalities=["image"])
    )
    result = asyncio.run(evaluator.aevaluate(questions[1], ["picture-1"]))
    assert result.metric_vals_dict["hit_rate"] == 1.0
    assert len(result.retrieved_texts) == 3
    judged = RetrieverEvaluator.from_metric_names(
        ["hit_rate"],
        retriever=index.as_retriever(similarity_top_k=2, reranker=Qwen3VLRerank(model="pocket")),
    )
    assert len(asyncio.run(judged.aevaluate(questions[1], ["picture-1"])).retrieved_texts) == 2


@pytest.fixture(scope="module")
def crowd():
    """A hundred questions."""
    rng = random.Random(11)
    return [ask(draw_facts("pair", rng, split="test"), "en", rng) for _ in range(100)]


def test_a_hundred_concurrent_questions_share_forward_passes(index, embedding, crowd):
    retriever = index.as_retriever(similarity_top_k=1, modalities=["image"])
    retriever.retrieve(crowd[0])

    async def ask_all():
        return await asyncio.gather(*(retriever.aretrieve(question) for question in crowd))

    before = embedding.embedder.stats
    answers = asyncio.run(ask_all())
    done = embedding.embedder.stats - before
    assert [len(found) for found in answers] == [1] * 100
    vectors = {f"picture-{n}": embedding.get_node_embeddings([node])[0] for n, node in enumerate_pictures(index)}
    for question, found in list(zip(crowd, answers, strict=True))[::10]:
        asked = embedding.get_query_embedding(question)
        best = max(vectors, key=lambda name: embedding.similarity(asked, vectors[name]))
        assert ids(found) == [best]
    assert done.requests == 100
    assert done.batches < 25


def enumerate_pictures(index):
    found = index.as_retriever(similarity_top_k=9, modalities=["image"]).retrieve("picture")
    return [(int(one.node.node_id[-1]), one.node) for one in found]


def test_a_crowd_over_an_index_of_the_command_line(embedding, pictures, crowd, tmp_path):
    with MultimodalIndex.open(tmp_path, embedding.embedder) as opened:
        opened.add(pictures)
        retriever = Qwen3VLRetriever(opened, similarity_top_k=1)

        async def ask_all():
            return await asyncio.gather(*(retriever.aretrieve(question) for question in crowd))

        answers = asyncio.run(ask_all())
        for question, found in list(zip(crowd, answers, strict=True))[::20]:
            assert ids(found) == [hit.id for hit in opened.search(question, k=1)]


def test_an_image_query_never_reaches_arbitrary_rows(index, pictures):
    query = QueryBundle("", image_path=str(pictures / "picture-1.png"))
    found = index.as_retriever(similarity_top_k=1).retrieve(query)
    assert ids(found) == ["picture-1"]
    assert found[0].score is not None
