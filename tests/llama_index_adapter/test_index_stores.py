"""Where an index keeps its nodes: bound to one vector space, opened again, shared with LangChain."""

from __future__ import annotations

import asyncio
import json

import chromadb
import pytest
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.schema import MediaResource, Node, QueryBundle, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.vector_stores.chroma import ChromaVectorStore

from langchain_qwen3_vl import MultimodalChroma, Qwen3VLEmbeddings
from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding
from llama_index.indices.qwen3_vl import UnifiedMultiModalIndex
from llama_index.indices.qwen3_vl.stores import (
    areplace_nodes,
    list_document_ids,
    list_stored_ids,
    open_chroma_store,
    replace_nodes,
)
from llama_index.retrievers.qwen3_vl import Qwen3VLRetriever
from llama_index.retrievers.qwen3_vl.vector_stores import read_fingerprint
from qwen3_vl_retrieval import FingerprintMismatchError


def make_nodes(pictures):
    return [Node(id_=str(n), image_resource=MediaResource(path=pictures / f"picture-{n}.png")) for n in range(4)]


def ids(nodes):
    return [one.node.node_id for one in nodes]


def open_other():
    return Qwen3VLEmbedding("pocket", dimensions=64)


def test_a_new_collection_has_the_cosine_and_keeps_it(embedding, pictures, tmp_path):
    index = UnifiedMultiModalIndex.from_nodes(make_nodes(pictures), embed_model=embedding, persist_dir=tmp_path)
    assert index.vector_store.client.configuration["hnsw"]["space"] == "cosine"
    opened = open_chroma_store(tmp_path, "multimodal")
    assert opened.client.configuration["hnsw"]["space"] == "cosine"
    assert read_fingerprint(opened) == embedding.fingerprint


def test_a_collection_is_bound_to_its_vector_space(embedding, pictures, tmp_path):
    UnifiedMultiModalIndex.from_nodes(make_nodes(pictures), embed_model=embedding, persist_dir=tmp_path)
    for make in (
        lambda: UnifiedMultiModalIndex.from_persist_dir(tmp_path, embed_model=open_other()),
        lambda: UnifiedMultiModalIndex.from_nodes([], persist_dir=tmp_path, embed_model=open_other()),
        lambda: UnifiedMultiModalIndex.from_vector_store(open_chroma_store(tmp_path, "multimodal"), open_other()),
    ):
        with pytest.raises(FingerprintMismatchError, match="dimensions"):
            make()


def test_a_relative_folder_is_meant_where_it_was_given(embedding, pictures, tmp_path, monkeypatch):
    for name, nodes in (("one", make_nodes(pictures)), ("two", make_nodes(pictures)[:1])):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        index = UnifiedMultiModalIndex.from_nodes(nodes, embed_model=embedding, persist_dir="store")
        assert len(list_stored_ids(index.vector_store, list("0123"))) == len(nodes)
    opened = UnifiedMultiModalIndex.from_persist_dir("../one/store", embed_model=embedding)
    monkeypatch.chdir(tmp_path)
    assert len(list_stored_ids(opened.vector_store, list("0123"))) == 4


def test_an_empty_collection_of_the_user_is_bound_and_keeps_its_metadata(embedding, pictures):
    collection = chromadb.EphemeralClient().get_or_create_collection("own-empty", metadata={"owner": "me"})
    store = ChromaVectorStore(chroma_collection=collection)
    context = StorageContext.from_defaults(vector_store=store)
    index = UnifiedMultiModalIndex(make_nodes(pictures), storage_context=context, embed_model=embedding)
    assert collection.metadata["owner"] == "me"
    assert read_fingerprint(store) == embedding.fingerprint
    query = QueryBundle("", image_path=str(pictures / "picture-1.png"))
    assert ids(index.as_retriever(similarity_top_k=1).retrieve(query)) == ["1"]


def test_vectors_of_an_unknown_space_are_refused(embedding):
    collection = chromadb.EphemeralClient().get_or_create_collection("own-filled")
    store = ChromaVectorStore(chroma_collection=collection)
    store.add([TextNode(text="a", embedding=[0.0] * 8)])
    with pytest.raises(FingerprintMismatchError, match="1 vectors of an unknown space"):
        UnifiedMultiModalIndex.from_vector_store(store, embedding)
    collection.modify(metadata={"qwen3vl_fingerprint": "{"})
    with pytest.raises(FingerprintMismatchError, match="damaged"):
        UnifiedMultiModalIndex.from_vector_store(store, embedding)


def test_the_simple_store_is_persisted_and_loaded(embedding, pictures, tmp_path, questions):
    index = UnifiedMultiModalIndex.from_nodes(make_nodes(pictures), embed_model=embedding)
    index.storage_context.persist(tmp_path)

    def load():
        return StorageContext.from_defaults(persist_dir=str(tmp_path))

    opened = UnifiedMultiModalIndex.from_storage(load(), embed_model=embedding)
    for question in questions:
        found = opened.as_retriever().retrieve(question)
        assert ids(found) == ids(index.as_retriever().retrieve(question))
        assert all(one.node.image_resource.path.parent == pictures for one in found)
    with pytest.raises(FingerprintMismatchError, match="dimensions"):
        UnifiedMultiModalIndex.from_storage(load(), embed_model=open_other())
    with pytest.raises(FingerprintMismatchError, match="unknown space"):
        UnifiedMultiModalIndex([], storage_context=load(), embed_model=embedding)
    # LlamaIndex's own way loads a plain index; the retriever makes up for that.
    plain = load_index_from_storage(load(), embed_model=embedding)
    assert type(plain) is VectorStoreIndex
    assert ids(Qwen3VLRetriever(plain).retrieve(questions[0])) == ids(index.as_retriever().retrieve(questions[0]))
    opened.insert_nodes([TextNode(id_="new", text="new")])
    assert len(opened.as_retriever().retrieve("new")) == 5


def test_a_storage_context_with_several_indexes_is_asked_for_one(embedding):
    context = StorageContext.from_defaults()
    first = UnifiedMultiModalIndex([TextNode(id_="a", text="a")], storage_context=context, embed_model=embedding)
    VectorStoreIndex([], storage_context=context, embed_model=embedding)
    with pytest.raises(Exception, match="has 2 such indexes; give index_id"):
        UnifiedMultiModalIndex.from_storage(context, embed_model=embedding)
    opened = UnifiedMultiModalIndex.from_storage(context, index_id=first.index_id, embed_model=embedding)
    assert ids(opened.as_retriever().retrieve("a")) == ["a"]


def test_a_summary_of_the_user_is_no_obstacle(embedding):
    index = UnifiedMultiModalIndex.from_nodes([], embed_model=embedding)
    assert json.loads(index.summary)["qwen3vl_fingerprint"] == embedding.fingerprint.to_dict()
    index.summary = "about invoices"
    assert UnifiedMultiModalIndex.from_storage(index.storage_context, embed_model=embedding).summary == "about invoices"


def test_chroma_by_itself_keeps_the_old_row_and_we_the_new_one():
    store = ChromaVectorStore(chroma_collection=chromadb.EphemeralClient().get_or_create_collection("twice-of-nodes"))
    store.add([TextNode(id_="a", text="old", embedding=[1.0, 0.0])])
    assert store.add([TextNode(id_="a", text="new", embedding=[1.0, 0.0])]) == ["a"]
    assert store.get_nodes([])[0].text == "old"
    replace_nodes(store, [TextNode(id_="a", text="new", embedding=[1.0, 0.0])])
    assert [node.text for node in store.get_nodes([])] == ["new"]
    asyncio.run(areplace_nodes(store, [TextNode(id_="a", text="newer", embedding=[1.0, 0.0])]))
    assert [node.text for node in store.get_nodes([])] == ["newer"]


def test_a_store_with_asynchronous_methods_of_its_own_is_written_by_them():
    calls = []

    class Own(SimpleVectorStore):
        async def async_add(self, nodes, **_):
            calls.append("add")
            return self.add(nodes)

        async def adelete_nodes(self, node_ids=None, filters=None, **_):
            calls.append("delete")

    asyncio.run(areplace_nodes(Own(), [TextNode(id_="a", text="a", embedding=[1.0])]))
    assert calls == ["delete", "add"]


@pytest.mark.parametrize("kind", ["chroma", "simple"])
def test_what_a_store_holds_is_listed(kind, embedding, pictures, tmp_path):
    index = UnifiedMultiModalIndex.from_files(
        pictures, embed_model=embedding, persist_dir=tmp_path if kind == "chroma" else None
    )
    rows = list_document_ids(index.vector_store, str(pictures / "paper.pdf"))
    assert len(rows) == 2
    assert list_stored_ids(index.vector_store, [*rows, "none"]) == set(rows)
    assert list_stored_ids(index.vector_store, []) == set()


def test_a_collection_of_langchain_is_searched_with_its_pixels(embedding, pictures, tmp_path, questions):
    embeddings = Qwen3VLEmbeddings(model="pocket")
    store = MultimodalChroma("shared", embeddings, persist_directory=tmp_path)
    store.add_images([pictures / f"picture-{n}.png" for n in range(4)], ids=["0", "1", "2", "3"])
    store.add_texts(["The overdue invoice is from March."], ids=["note"])
    expected = [store.similarity_search(question, k=5) for question in questions]
    retriever = Qwen3VLRetriever(open_chroma_store(tmp_path, "shared"), embed_model=embedding)
    for question, documents in zip(questions, expected, strict=True):
        found = retriever.retrieve(question)
        assert ids(found) == [document.id for document in documents]
    pictured = next(one.node for one in found if one.node.node_id == "2")
    assert pictured.image_resource.path == pictures / "picture-2.png"
    assert ids(retriever.text_retrieve("invoice")) == ["note"]
    with pytest.raises(FingerprintMismatchError):
        Qwen3VLRetriever(open_chroma_store(tmp_path, "shared"), embed_model=open_other()).retrieve("a")


def test_without_chroma_the_message_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "chromadb", None)
    with pytest.raises(ImportError, match=r"llama-index-qwen3-vl\[chroma\]"):
        open_chroma_store(tmp_path, "any")
