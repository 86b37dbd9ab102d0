"""Nodes of every type in what LlamaIndex makes vectors of: pipelines, indexes and stores."""

from __future__ import annotations

import asyncio

import chromadb
import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.retrievers import VectorIndexRetriever
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    QueryBundle,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.vector_stores.chroma import ChromaVectorStore

from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from qwen3_vl_retrieval import InputError, MediaError, MediaPolicy
from qwen3_vl_retrieval.index import build_item, describe_unit, read_units
from rounding import bound


def assert_close(left, right):
    np.testing.assert_allclose(left, right, atol=bound(1e-5))


@pytest.fixture
def nodes(pictures):
    """A node of every type, each with the item that the core is given for it."""
    paths = [str(pictures / f"picture-{number}.png") for number in range(4)]
    clip = str(pictures / "clip.mp4")
    page = {"media_type": "page", "source": str(pictures / "paper.pdf"), "page": 2}
    caption = MediaResource(text="sold out")
    given = [
        (TextNode(text="a red ball", metadata={"shop": "north"}), "shop: north\n\na red ball"),
        (IndexNode(text="about mugs", index_id="mugs"), "about mugs"),
        (Document(text="an invoice"), "an invoice"),
        (ImageNode(image_path=paths[0]), {"image": paths[0]}),
        (ImageNode(image_path=paths[1], text="sold out"), {"image": paths[1], "text": "sold out"}),
        (Node(image_resource=MediaResource(path=paths[2])), {"image": paths[2]}),
        (
            Node(image_resource=MediaResource(path=paths[3]), text_resource=caption, metadata={"file_path": paths[3]}),
            {"image": paths[3], "text": "sold out"},
        ),
        (Node(video_resource=MediaResource(path=clip), metadata={"start": 0.0, "end": 1.0}), None),
        (ImageDocument(image_path=paths[0], text="sold out"), {"image": paths[0], "text": "sold out"}),
        (TextNode(text="the text layer", metadata=page), build_item("the text layer", page)),
    ]
    clip_item = {"video": clip, "start": 0.0, "end": 1.0}
    return [node for node, _ in given], [clip_item if item is None else item for _, item in given]


def list_vectors(nodes):
    return [node.embedding for node in nodes]


def test_a_pipeline_embeds_every_type_of_node_by_what_it_shows(embedding, nodes):
    given, items = nodes
    expected = embedding.embedder.embed_documents(items)
    found = IngestionPipeline(transformations=[embedding]).run(nodes=given)
    assert [node.node_id for node in found] == [node.node_id for node in given]
    assert_close(list_vectors(found), expected)
    for node in given:
        node.embedding = [0.0]
    found = asyncio.run(IngestionPipeline(transformations=[embedding]).arun(nodes=given))
    assert_close(list_vectors(found), expected)
    assert_close(embedding.get_node_embeddings(given, show_progress=True), expected)


def test_captions_may_be_left_out(nodes):
    given, items = nodes
    embedding = Qwen3VLEmbedding("pocket", caption_mode="image_only")
    expected = embedding.embedder.embed_documents([{"image": items[4]["image"]}, {"image": items[6]["image"]}])
    assert_close(list_vectors(embedding([given[4], given[6]])), expected)


def test_nothing_is_set_if_a_node_cannot_be_embedded(embedding, pictures):
    given = [ImageNode(image_path=str(pictures / "picture-0.png")), ImageNode(image_path="gone.png")]
    with pytest.raises(MediaError, match=r"^node 1: .*gone\.png"):
        embedding(given)
    with pytest.raises(MediaError, match=r"^node 1: .*gone\.png"):
        asyncio.run(embedding.acall(given))
    assert list_vectors(given) == [None, None]
    lost = ImageNode(text="a caption", image_resource=MediaResource(data=b"\x89PNG"))
    with pytest.raises(InputError, match=r"^node 0: the image of the ImageNode"):
        embedding([lost])


def test_rows_of_the_core_are_the_same_items_here(embedding, pictures):
    names = ("picture-0.png", "paper.pdf", "clip.mp4")
    units = [unit for name in names for unit in read_units(pictures / name, MediaPolicy())]
    rows = [TextNode(text=unit.text or "", metadata=describe_unit(unit)) for unit in units]
    items = [build_item(unit.text or "", describe_unit(unit)) for unit in units]
    assert {unit.media_type for unit in units} == {"image", "page", "video"}
    assert_close(embedding.get_node_embeddings(rows), embedding.embedder.embed_documents(items))


def test_vectors_go_through_a_pipeline_into_chroma_and_are_found_by_an_image(embedding, pictures):
    client = chromadb.EphemeralClient()
    collection = client.create_collection("pipeline", configuration={"hnsw": {"space": "cosine"}})
    store = ChromaVectorStore(chroma_collection=collection)
    given = [ImageNode(image_path=str(pictures / f"picture-{number}.png"), id_=str(number)) for number in range(4)]
    IngestionPipeline(transformations=[embedding], vector_store=store).run(nodes=given)
    index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    query = QueryBundle("", image_path=str(pictures / "picture-2.png"))
    query.embedding = embedding.get_query_bundle_embedding(query)
    found = VectorIndexRetriever(index, similarity_top_k=4).retrieve(query)
    vectors = embedding.embedder.embed_documents([{"image": node.image_path} for node in given])
    order = (vectors @ np.asarray(query.embedding)).argsort()[::-1]
    assert [node.node.node_id for node in found] == [str(number) for number in order]
    assert found[0].node.image_path.endswith("picture-2.png")
    client.delete_collection("pipeline")


def test_a_docstore_keeps_known_images_from_being_embedded_again(embedding, pictures):
    embedded = []

    class Counted(Qwen3VLEmbedding):
        def get_node_embeddings(self, nodes, show_progress=False):
            embedded.append(len(nodes))
            return super().get_node_embeddings(nodes, show_progress)

    pipeline = IngestionPipeline(
        transformations=[Counted("pocket")],
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.DUPLICATES_ONLY,
        # The cache of LlamaIndex takes no images, and two images, for the same.
        disable_cache=True,
    )
    documents = [
        Document(image_resource=MediaResource(path=pictures / f"picture-{number}.png"), id_=str(number))
        for number in range(2)
    ]
    assert len(pipeline.run(documents=documents)) == 2
    assert pipeline.run(documents=documents) == []
    assert sum(embedded) == 2


def test_an_index_drops_images_without_text_unless_they_are_inserted(embedding, pictures):
    """The trap of LlamaIndex, and the way around it that works with its own index."""
    context = StorageContext.from_defaults(vector_store=SimpleVectorStore())
    given = [ImageNode(image_path=str(pictures / f"picture-{number}.png"), id_=str(number)) for number in range(4)]
    index = VectorStoreIndex(nodes=embedding(given), embed_model=embedding, storage_context=context)
    assert index.index_struct.nodes_dict == {}
    index.insert_nodes(embedding(given))
    assert sorted(index.index_struct.nodes_dict) == ["0", "1", "2", "3"]
    query = QueryBundle("", image_path=given[1].image_path)
    query.embedding = embedding.get_query_bundle_embedding(query)
    [best, *_] = index.as_retriever(similarity_top_k=4).retrieve(query)
    assert best.node.node_id == "1"


def test_documents_of_llama_index_are_embedded_with_their_images_where_this_is_a_transformation(embedding, pictures):
    documents = [
        ImageDocument(image_path=str(pictures / f"picture-{number}.png"), text=f"photo {number}", id_=str(number))
        for number in range(3)
    ]
    index = VectorStoreIndex.from_documents(documents, transformations=[embedding], embed_model=embedding)
    stored = index.vector_store.data.embedding_dict
    items = [{"image": document.image_path, "text": document.text} for document in documents]
    assert_close([stored[str(number)] for number in range(3)], embedding.embedder.embed_documents(items))


def test_plain_user_code_runs_on_texts(embedding):
    documents = [Document(text="a red ball", id_="red"), Document(text="an invoice of May", id_="invoice")]
    index = VectorStoreIndex.from_documents(documents, embed_model=embedding)
    retriever = index.as_retriever(similarity_top_k=2)
    texts = embedding.embedder.embed_documents([document.text for document in documents])
    [query] = embedding.embedder.embed_queries(["a red ball"])
    found = retriever.retrieve("a red ball")
    assert_close([node.score for node in found], sorted(texts @ query)[::-1])
    assert [node.node.ref_doc_id for node in asyncio.run(retriever.aretrieve("a red ball"))] == [
        node.node.ref_doc_id for node in found
    ]
