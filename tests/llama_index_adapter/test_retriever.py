"""The retriever: queries of every kind over every kind of store, one stage or two, sync and async."""

from __future__ import annotations

import asyncio
import copy
import random

import chromadb
import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.base.embeddings.base import similarity
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent, RetrievalStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import ImageNode, IndexNode, MediaResource, Node, QueryBundle, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.vector_stores.chroma import ChromaVectorStore
from PIL import Image

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.indices.qwen3_vl import UnifiedMultiModalIndex
from llama_index.postprocessor.qwen3_vl_rerank import Qwen3VLRerank
from llama_index.retrievers.qwen3_vl import MultiModalQueryBundle, Qwen3VLRetriever
from llama_index.retrievers.qwen3_vl.found_nodes import PageNode
from qwen3_vl_retrieval import FingerprintMismatchError, InputError, StoreError
from qwen3_vl_retrieval.index import MultimodalIndex
from rounding import bound


class Keep(BaseEventHandler):
    """Keeps the events of retrieval."""

    events: list

    @classmethod
    def class_name(cls):
        return "Keep"

    def handle(self, event, **_):
        if isinstance(event, (RetrievalStartEvent, RetrievalEndEvent)):
            self.events.append(event)


class Backwards(BaseNodePostprocessor):
    """A reranker of somebody else, without scores."""

    def _postprocess_nodes(self, nodes, query_bundle=None):
        return nodes[::-1]


def make_nodes(pictures):
    images = [
        Node(
            id_=f"picture-{n}", image_resource=MediaResource(path=pictures / f"picture-{n}.png"), metadata={"number": n}
        )
        for n in range(4)
    ]
    return [
        *images,
        Node(id_="clip", video_resource=MediaResource(path=pictures / "clip.mp4"), metadata={"number": 4}),
        TextNode(id_="note", text="The overdue invoice is from March.", metadata={"number": 5}),
        ImageNode(id_="old", image_path=str(pictures / "picture-0.png"), text="an older scan", metadata={"number": 6}),
    ]


@pytest.fixture(scope="module", params=["chroma", "simple"])
def index(request, embedding, pictures, tmp_path_factory):
    persist_dir = tmp_path_factory.mktemp("store") if request.param == "chroma" else None
    return UnifiedMultiModalIndex.from_nodes(make_nodes(pictures), embed_model=embedding, persist_dir=persist_dir)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, embedding, pictures):
    """The folder of an index as the command line writes it."""
    folder = tmp_path_factory.mktemp("index")
    with MultimodalIndex.open(folder, embedding.embedder) as index:
        index.add(pictures, metadata={"year": 2025})
    return folder


def ids(nodes):
    return [one.node.node_id for one in nodes]


def test_it_is_a_multimodal_retriever_of_llama_index():
    assert issubclass(Qwen3VLRetriever, MultiModalRetriever)


def test_every_question_finds_its_image_with_the_true_cosine(index, embedding, questions):
    retriever = Qwen3VLRetriever(index, similarity_top_k=3)
    for number, question in enumerate(questions):
        found = retriever.retrieve(question)
        assert len(found) == 3
        assert f"picture-{number}" in ids(found)[:2]
        vector = embedding.get_query_embedding(question)
        node = next(one for one in found if one.node.node_id == f"picture-{number}")
        own = embedding.get_node_embeddings([node.node])[0]
        assert node.score == pytest.approx(similarity(vector, own), abs=bound(1e-4))
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_sync_and_async_agree(index, questions):
    retriever = Qwen3VLRetriever(index, similarity_top_k=4)
    found = asyncio.run(retriever.aretrieve(questions[1]))
    expected = retriever.retrieve(questions[1])
    assert ids(found) == ids(expected)
    assert np.allclose([one.score for one in found], [one.score for one in expected], atol=bound(1e-5))


@pytest.mark.parametrize("kind", ["image_path", "images", "pil", "data"])
def test_an_image_alone_is_a_query(index, pictures, kind):
    path = pictures / "picture-2.png"
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    query = {
        "image_path": QueryBundle("", image_path=str(path)),
        "images": MultiModalQueryBundle("", images=[path]),
        "pil": MultiModalQueryBundle("", images=[picture]),
        "data": MultiModalQueryBundle("", images=[path.read_bytes()]),
    }[kind]
    assert ids(Qwen3VLRetriever(index).retrieve(query))[0] == "picture-2"
    assert ids(asyncio.run(Qwen3VLRetriever(index).aretrieve(query)))[0] == "picture-2"


def test_a_video_is_a_query(index, pictures):
    query = MultiModalQueryBundle("", videos=[pictures / "clip.mp4"])
    assert ids(Qwen3VLRetriever(index).retrieve(query))[0] == "clip"


def test_an_empty_query_is_an_error_and_never_arbitrary_rows(index):
    for query in ("", "  ", QueryBundle(""), MultiModalQueryBundle("")):
        with pytest.raises(InputError, match="the query is empty"):
            Qwen3VLRetriever(index).retrieve(query)
        with pytest.raises(InputError, match="the query is empty"):
            asyncio.run(Qwen3VLRetriever(index).aretrieve(query))


def test_a_bundle_is_never_changed(index, pictures, rerank):
    query = MultiModalQueryBundle("the same", images=[str(pictures / "picture-1.png")], instruction="Find it.")
    before = copy.deepcopy(query)
    retriever = Qwen3VLRetriever(index, reranker=rerank, fetch_k=3)
    retriever.retrieve(query)
    asyncio.run(retriever.aretrieve(query))
    retriever.image_to_image_retrieve(query)
    retriever.text_to_image_retrieve(query)
    assert query == before
    assert query.embedding is None


def test_a_query_that_has_its_vector_is_not_embedded(index, embedding, pictures):
    vector = embedding.get_image_embedding(str(pictures / "picture-3.png"))
    found = Qwen3VLRetriever(index, similarity_top_k=1).retrieve(QueryBundle("", embedding=vector))
    assert ids(found) == ["picture-3"]
    assert found[0].score == pytest.approx(1.0, abs=bound(1e-4))


def test_an_instruction_of_a_query_changes_its_vector(index, questions):
    retriever = Qwen3VLRetriever(index, similarity_top_k=7)
    plain = retriever.retrieve(questions[0])
    instructed = retriever.retrieve(MultiModalQueryBundle(questions[0], instruction="Find clips of traffic."))
    scores = [{one.node.node_id: one.score for one in found} for found in (plain, instructed)]
    assert any(abs(scores[0][name] - scores[1][name]) > 1e-3 for name in scores[0])


def test_a_reranker_judges_more_than_it_returns_whatever_its_top_n(index, questions, rerank):
    first = Qwen3VLRetriever(index, similarity_top_k=6).retrieve(questions[0])
    expected = rerank.model_copy(update={"top_n": 3}).postprocess_nodes(first, query_str=questions[0])
    own = Qwen3VLRerank(model="pocket", top_n=1)
    retriever = Qwen3VLRetriever(index, similarity_top_k=3, fetch_k=6, reranker=own)
    found = retriever.retrieve(questions[0])
    assert ids(found) == ids(expected)
    assert np.allclose([one.score for one in found], [one.score for one in expected], atol=bound(1e-4))
    assert ids(asyncio.run(retriever.aretrieve(questions[0]))) == ids(expected)
    assert own.top_n == 1


def test_any_postprocessor_is_a_second_stage(index, questions):
    first = Qwen3VLRetriever(index, similarity_top_k=5).retrieve(questions[0])
    found = Qwen3VLRetriever(index, similarity_top_k=2, fetch_k=5, reranker=Backwards()).retrieve(questions[0])
    assert ids(found) == ids(first)[::-1][:2]


def test_both_scores_are_kept_where_they_are_wanted_and_hidden_from_models(index, questions, rerank):
    plain = Qwen3VLRetriever(index, similarity_top_k=2, reranker=rerank).retrieve(questions[0])
    kept = Qwen3VLRetriever(index, similarity_top_k=2, reranker=rerank, keep_scores=True).retrieve(questions[0])
    assert "similarity_score" not in plain[0].node.metadata
    assert kept[0].node.metadata["relevance_score"] == pytest.approx(kept[0].score)
    assert -1 <= kept[0].node.metadata["similarity_score"] <= 1
    assert "relevance_score" in kept[0].node.excluded_llm_metadata_keys
    assert "relevance_score" in kept[0].node.excluded_embed_metadata_keys
    again = Qwen3VLRetriever(index, similarity_top_k=2).retrieve(questions[1])
    assert all("relevance_score" not in one.node.metadata for one in again)


def test_raw_scores_are_those_of_the_store(embedding, pictures, tmp_path, questions):
    index = UnifiedMultiModalIndex.from_nodes(make_nodes(pictures)[:2], embed_model=embedding, persist_dir=tmp_path)
    raw = index.as_retriever(score="raw").retrieve(questions[0])[0].score
    cosine = index.as_retriever().retrieve(questions[0])[0].score
    assert raw == pytest.approx(np.exp(cosine - 1), abs=bound(1e-5))


@pytest.mark.parametrize("modality", ["text", "image", "video", "mixed"])
def test_modalities_choose_kinds_of_nodes(index, questions, modality):
    expected = {"text": {"note"}, "image": {f"picture-{n}" for n in range(4)}, "video": {"clip"}, "mixed": {"old"}}
    found = Qwen3VLRetriever(index, modalities=[modality]).retrieve(questions[0])
    assert set(ids(found)) == expected[modality]


def test_modalities_are_found_in_an_index_that_does_not_name_them(embedding, pictures, questions):
    index = VectorStoreIndex([TextNode(text="nothing")], embed_model=embedding)
    index.insert_nodes(make_nodes(pictures))
    retriever = Qwen3VLRetriever(index, similarity_top_k=1, modalities=["video", "text"])
    found = retriever.retrieve(questions[0])
    assert len(found) == 1
    assert found[0].node.node_id not in {f"picture-{n}" for n in range(4)}
    assert ids(Qwen3VLRetriever(index, similarity_top_k=1, modalities=["video"]).retrieve(questions[0])) == ["clip"]


def test_filters_and_modalities_hold_together(index, questions):
    filters = MetadataFilters(filters=[MetadataFilter(key="number", value=2, operator=FilterOperator.GTE)])
    found = Qwen3VLRetriever(index, filters=filters, modalities=["image"]).retrieve(questions[0])
    assert set(ids(found)) == {"picture-2", "picture-3"}
    either = MetadataFilters(
        filters=[MetadataFilter(key="number", value=1), MetadataFilter(key="number", value=5)],
        condition=FilterCondition.OR,
    )
    assert set(ids(Qwen3VLRetriever(index, filters=either).retrieve(questions[0]))) == {"picture-1", "note"}
    found = Qwen3VLRetriever(index, filters=either, modalities=["image"], similarity_top_k=1).retrieve(questions[0])
    assert ids(found) == ["picture-1"]


def test_the_methods_of_a_multimodal_retriever(index, pictures, questions):
    retriever = Qwen3VLRetriever(index)
    picture = str(pictures / "picture-2.png")
    assert ids(retriever.text_retrieve("invoice")) == ["note"]
    shown = {*(f"picture-{n}" for n in range(4)), "old"}
    assert set(ids(retriever.text_to_image_retrieve(questions[0]))) == shown
    found = retriever.image_to_image_retrieve(picture)
    assert ids(found)[0] == "picture-2"
    assert set(ids(found)) == shown
    # The words of a mixed query are not searched by.
    mixed = MultiModalQueryBundle("invoice", images=[picture])
    assert ids(retriever.image_to_image_retrieve(mixed)) == ids(found)
    assert ids(retriever.text_to_image_retrieve(QueryBundle(questions[0], image_path=picture))) == ids(
        retriever.text_to_image_retrieve(questions[0])
    )
    with pytest.raises(InputError, match="no image to search by"):
        retriever.image_to_image_retrieve(QueryBundle("words"))

    async def run():
        return (
            await retriever.atext_retrieve("invoice"),
            await retriever.atext_to_image_retrieve(questions[0]),
            await retriever.aimage_to_image_retrieve(picture),
        )

    text, pictured, same = asyncio.run(run())
    assert (ids(text), set(ids(pictured)), ids(same)) == (["note"], shown, ids(found))


def test_events_are_emitted_once(index, questions):
    handler = Keep(events=[])
    dispatcher = get_dispatcher()
    dispatcher.add_event_handler(handler)
    try:
        query = MultiModalQueryBundle(questions[0])
        Qwen3VLRetriever(index).retrieve(query)
        asyncio.run(Qwen3VLRetriever(index).aretrieve(query))
    finally:
        dispatcher.event_handlers.remove(handler)
    assert [type(event) for event in handler.events] == [RetrievalStartEvent, RetrievalEndEvent] * 2
    assert handler.events[0].str_or_query_bundle.query_str == questions[0]


def test_nodes_that_are_found_have_a_text_to_ask_for(index, questions):
    for one in Qwen3VLRetriever(index).retrieve(questions[0]):
        assert isinstance(one.text, str)
        assert one.get_text() == one.text


def test_an_index_node_leads_to_what_it_stands_for(embedding, pictures, questions):
    inner = UnifiedMultiModalIndex.from_nodes(make_nodes(pictures)[:4], embed_model=embedding).as_retriever(
        similarity_top_k=1
    )
    outer = UnifiedMultiModalIndex(
        objects=[IndexNode(text="all pictures", index_id="pictures", obj=inner)], embed_model=embedding
    )
    assert ids(outer.as_retriever().retrieve(questions[2])) == ids(inner.retrieve(questions[2]))


def test_a_bare_store_is_searched_with_an_embedding(embedding, pictures, tmp_path, questions):
    index = UnifiedMultiModalIndex.from_nodes(make_nodes(pictures), embed_model=embedding, persist_dir=tmp_path)
    retriever = Qwen3VLRetriever(index.vector_store, embed_model=embedding, similarity_top_k=3)
    assert ids(retriever.retrieve(questions[1])) == ids(index.as_retriever(similarity_top_k=3).retrieve(questions[1]))
    with pytest.raises(ValueError, match="embed_model is missing"):
        Qwen3VLRetriever(index.vector_store)
    with pytest.raises(ValueError, match="keeps vectors alone"):
        Qwen3VLRetriever(SimpleVectorStore(), embed_model=embedding)
    other = Qwen3VLRetriever(index.vector_store, embed_model=Qwen3VLEmbedding("pocket", dimensions=64))
    with pytest.raises(FingerprintMismatchError, match="dimensions"):
        other.retrieve(questions[0])


def test_a_plain_index_over_chroma_gives_true_cosines_whatever_its_space(embedding, pictures, questions):
    collection = chromadb.EphemeralClient().get_or_create_collection("squared-of-nodes")
    context = StorageContext.from_defaults(vector_store=ChromaVectorStore(chroma_collection=collection))
    index = VectorStoreIndex([], storage_context=context, embed_model=embedding)
    index.insert_nodes(embedding(make_nodes(pictures)[:4]))
    found = Qwen3VLRetriever(index, similarity_top_k=1).retrieve(
        QueryBundle("", image_path=str(pictures / "picture-1.png"))
    )
    assert ids(found) == ["picture-1"]
    same = embedding.get_query_bundle_embedding(QueryBundle("", image_path=str(pictures / "picture-1.png")))
    own = embedding.get_node_embeddings([found[0].node])[0]
    assert found[0].score == pytest.approx(similarity(same, own), abs=bound(1e-4))


def test_mmr_chooses_different_nodes_with_true_cosines(index, embedding, questions):
    retriever = Qwen3VLRetriever(
        index, similarity_top_k=3, vector_store_query_mode="mmr", vector_store_kwargs={"mmr_threshold": 0.5}
    )
    vector = embedding.get_query_embedding(questions[0])
    found = retriever.retrieve(questions[0])
    assert len(found) == 3
    for one in found:
        own = embedding.get_node_embeddings([one.node])[0]
        assert one.score == pytest.approx(similarity(vector, own), abs=bound(1e-4))


def test_over_an_index_of_the_command_line_it_returns_what_that_returns(folder, embedding, rerank, questions, pictures):
    retriever = Qwen3VLRetriever(folder, embed_model=embedding, reranker=rerank, similarity_top_k=3)
    with MultimodalIndex.open(folder, embedding.embedder, rerank.reranker) as index:
        for query in (questions[0], {"image": str(pictures / "picture-1.png"), "text": "the same"}):
            hits = index.search(query, k=3)
            bundle = query if isinstance(query, str) else MultiModalQueryBundle(query["text"], images=[query["image"]])
            found = retriever.retrieve(bundle)
            assert ids(found) == [hit.id for hit in hits]
            assert np.allclose([one.score for one in found], [hit.relevance_score for hit in hits], atol=bound(1e-4))
            assert ids(asyncio.run(retriever.aretrieve(bundle))) == [hit.id for hit in hits]
    retriever.multimodal_index.close()


def test_an_open_index_is_searched_and_judged_again_where_a_reranker_is_given(folder, embedding, rerank, questions):
    with MultimodalIndex.open(folder, embedding.embedder) as index:
        plain = Qwen3VLRetriever(index, similarity_top_k=4).retrieve(questions[0])
        hits = index.search(questions[0], k=4)
        assert ids(plain) == [hit.id for hit in hits]
        assert np.allclose([one.score for one in plain], [hit.similarity_score for hit in hits], atol=bound(1e-5))
        judged = Qwen3VLRetriever(index, similarity_top_k=2, reranker=rerank).retrieve(questions[0])
        with MultimodalIndex.open(folder, embedding.embedder, rerank.reranker) as both:
            assert ids(judged) == [hit.id for hit in both.search(questions[0], k=2)]


def test_filters_are_told_to_an_index_of_the_command_line(folder, embedding, questions):
    with MultimodalIndex.open(folder, embedding.embedder) as index:

        def search(*members, condition=FilterCondition.AND, **options):
            filters = MetadataFilters(filters=list(members), condition=condition)
            return Qwen3VLRetriever(index, filters=filters, **options).retrieve(questions[0])

        def member(key, operator, value):
            return MetadataFilter(key=key, operator=operator, value=value)

        pages = search(member("media_type", "==", "page"), member("page", ">=", 2))
        assert [(one.node.metadata["media_type"], one.node.metadata["page"]) for one in pages] == [("page", 2)]
        either = search(member("page", "==", 1), member("media_type", "in", ["video"]), condition=FilterCondition.OR)
        assert {one.node.metadata["media_type"] for one in either} == {"page", "video"}
        nested = search(MetadataFilters(filters=[member("year", "==", 2025)]), member("page", "<=", 1))
        assert [one.node.metadata["page"] for one in nested] == [1]
        assert search(member("year", "!=", 2025)) == []
        assert {one.node.metadata["media_type"] for one in search(modalities=["image"])} == {"image"}
        with pytest.raises(InputError, match=r"text_match.*allowed are"):
            search(member("source", "text_match", "x"))
        with pytest.raises(InputError, match="condition 'not'"):
            search(member("page", "==", 1), condition=FilterCondition.NOT)
        with pytest.raises(InputError, match="compared with None"):
            search(member("page", "==", None))
        with pytest.raises(InputError, match="custom_embedding_strs"):
            Qwen3VLRetriever(index).retrieve(QueryBundle("a", custom_embedding_strs=["b"]))


def test_hits_are_nodes_with_their_pixels(folder, embedding, questions, pictures):
    with MultimodalIndex.open(folder, embedding.embedder) as index:
        found = {one.node.metadata["media_type"]: one.node for one in Qwen3VLRetriever(index).retrieve(questions[0])}
    assert found["image"].image_resource.path.parent == pictures
    assert found["video"].video_resource.path == pictures / "clip.mp4"
    assert isinstance(found["page"], PageNode)
    assert found["page"].class_name() == "Node"
    blocks = found["page"].get_content_blocks()
    assert [block.block_type for block in blocks] == ["image"]
    with Image.open(blocks[0].resolve_image()) as drawn:
        assert drawn.width > 100
    assert found["page"].ref_doc_id == str(pictures / "paper.pdf")
    assert "similarity_score" not in found["page"].metadata
    assert "sha256" not in found["page"].get_content_blocks("llm")[0].text


def test_a_page_whose_file_is_gone_is_shown_by_its_text(tmp_path, caplog):
    page = PageNode(metadata={"media_type": "page", "source": str(tmp_path / "gone.pdf"), "page": 1})
    page.set_content("the text layer")
    assert [block.block_type for block in page.get_content_blocks()] == ["text"]
    assert "shown by its text alone" in caplog.text


def test_options_that_do_not_fit_are_refused(index, folder, embedding, tmp_path):
    with pytest.raises(TypeError, match="similarty_top_k"):
        Qwen3VLRetriever(index, similarty_top_k=3)
    with pytest.raises(ValueError, match="at least 1"):
        Qwen3VLRetriever(index, similarity_top_k=0)
    with pytest.raises(ValueError, match="modalities"):
        Qwen3VLRetriever(index, modalities=["sound"])
    with pytest.raises(ValueError, match="'cosine' and 'raw'"):
        Qwen3VLRetriever(index, score="percent")
    with pytest.raises(ValueError, match="give a VectorStoreIndex"):
        Qwen3VLRetriever(embedding)
    with pytest.raises(ValueError, match="MockEmbedding"):
        Qwen3VLRetriever(VectorStoreIndex([], embed_model=MockEmbedding(embed_dim=8)))
    with pytest.raises(ValueError, match="embed_model is missing"):
        Qwen3VLRetriever(folder)
    with pytest.raises(StoreError, match="there is no index"):
        Qwen3VLRetriever(tmp_path / "none", embed_model=embedding)
    with MultimodalIndex.open(folder, embedding.embedder) as opened:
        with pytest.raises(ValueError, match="leave out embed_model"):
            Qwen3VLRetriever(opened, embed_model=embedding)
        with pytest.raises(ValueError, match="vector_store_query_mode is for vector stores"):
            Qwen3VLRetriever(opened, vector_store_query_mode="mmr")
    with pytest.raises(ValueError, match="query_instruction of Qwen3VLEmbedding"):
        Qwen3VLRetriever(folder, embed_model=Qwen3VLEmbedding("pocket", query_instruction="Find."))


def test_a_reranker_with_options_of_its_own_judges_what_the_index_finds(folder, embedding, questions):
    own = Qwen3VLRerank(model="pocket", instruction="Find pages.", top_n=1)
    retriever = Qwen3VLRetriever(folder, embed_model=embedding, reranker=own, similarity_top_k=2)
    first = Qwen3VLRetriever(retriever.multimodal_index, similarity_top_k=50).retrieve(questions[0])
    expected = own.model_copy(update={"top_n": 2}).postprocess_nodes(first, query_str=questions[0])
    assert ids(retriever.retrieve(questions[0])) == ids(expected)
    retriever.multimodal_index.close()


def test_the_number_of_nodes_can_be_changed(index, questions):
    retriever = Qwen3VLRetriever(index, similarity_top_k=1)
    retriever.similarity_top_k = 3
    assert retriever.similarity_top_k == 3
    assert len(retriever.retrieve(questions[0])) == 3
    with pytest.raises(ValueError, match="at least 1"):
        retriever.similarity_top_k = 0


def test_every_question_is_answered_whatever_the_order_of_rows(embedding, pictures, questions, tmp_path):
    nodes = make_nodes(pictures)[:4]
    random.Random(1).shuffle(nodes)
    index = UnifiedMultiModalIndex.from_nodes(nodes, embed_model=embedding, persist_dir=tmp_path)
    expected = UnifiedMultiModalIndex.from_nodes(make_nodes(pictures)[:4], embed_model=embedding)
    for question in questions:
        assert ids(index.as_retriever().retrieve(question)) == ids(expected.as_retriever().retrieve(question))
