"""An index in Chroma that several processes use: telemetry off, one writer at a time, readers that keep up."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from contextlib import contextmanager

import chromadb
import pytest
from llama_index.core.schema import TextNode

from langchain_adapter.hash_embedder import HashEmbedder
from langchain_qwen3_vl import MultimodalChroma, Qwen3VLEmbeddings
from llama_index.indices.qwen3_vl.stores import hold_store
from llama_index_adapter.chroma_writers import WAIT_SECONDS, add_by_index, hold_by_index, open_index
from qwen3_vl_retrieval import FingerprintMismatchError, StoreError
from qwen3_vl_retrieval.chroma import SharedCollection

SPAWN = multiprocessing.get_context("spawn")


@contextmanager
def another_writer(folder):
    """Runs the block while another process writes; yields what ends its writing."""
    begun, may_end = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=hold_by_index, args=(folder, begun, may_end))
    process.start()
    try:
        assert begun.wait(WAIT_SECONDS)
        yield may_end
    finally:
        may_end.set()
        process.join(WAIT_SECONDS)
        process.kill()
    assert process.exitcode == 0


def open_langchain(folder, **options):
    embeddings = Qwen3VLEmbeddings(model=HashEmbedder())
    return MultimodalChroma("multimodal", embeddings, persist_directory=folder, **options)


def find(index, text):
    return [hit.node.node_id for hit in index.as_retriever(similarity_top_k=1).retrieve(text)]


@pytest.mark.parametrize("open_store", [open_index, open_langchain])
def test_telemetry_is_off(open_store, tmp_path, monkeypatch):
    opened, open_client = [], chromadb.PersistentClient

    def note(path, settings, **options):
        opened.append(settings.anonymized_telemetry)
        return open_client(path, settings, **options)

    monkeypatch.setattr(chromadb, "PersistentClient", note)
    open_store(tmp_path)
    assert opened == [False]


def test_a_second_process_that_writes_is_named_and_searching_goes_on(tmp_path):
    index = open_index(tmp_path, lock_timeout_seconds=0.0)
    index.insert_nodes([TextNode(id_="mine", text="mine")])
    with another_writer(tmp_path):
        reader = open_index(tmp_path, lock_timeout_seconds=0.0)
        for write in (
            lambda: index.insert_nodes([TextNode(text="more")]),
            lambda: asyncio.run(index.ainsert_nodes([TextNode(text="more")])),
            lambda: index.delete_nodes(["mine"]),
            lambda: index.delete_ref_doc("mine"),
            lambda: index.vector_store.clear(),
            lambda: open_langchain(tmp_path, lock_timeout_seconds=0.0).add_texts(["more"]),
        ):
            with pytest.raises(StoreError, match="is being written by another process"):
                write()
        assert find(index, "mine") == find(reader, "mine") == ["mine"]
    index.insert_nodes([TextNode(id_="more", text="more")])
    assert find(reader, "more") == ["more"]


def test_a_second_process_that_writes_waits(tmp_path):
    index = open_index(tmp_path, lock_timeout_seconds=WAIT_SECONDS)
    with another_writer(tmp_path) as may_end:
        threading.Timer(0.5, may_end.set).start()
        index.insert_nodes([TextNode(id_="mine", text="mine")])
    assert find(index, "mine") == ["mine"]


def test_nothing_is_embedded_while_another_writes(tmp_path):
    index = open_index(tmp_path, lock_timeout_seconds=0.0)
    embedder = index._embed_model._ready
    with hold_store(open_index(tmp_path).vector_store):
        for write in (index.insert_nodes, lambda nodes: asyncio.run(index.ainsert_nodes(nodes))):
            with pytest.raises(StoreError, match="is being written"):
                write([TextNode(text="more")])
    assert embedder.embedded == []


def test_what_another_process_adds_is_found_by_its_vector(tmp_path):
    index = open_index(tmp_path)
    index.insert_nodes([TextNode(id_="mine", text="mine")])
    assert find(index, "mine") == ["mine"]
    process = SPAWN.Process(target=add_by_index, args=(tmp_path, "theirs", "theirs"))
    process.start()
    process.join(WAIT_SECONDS)
    assert process.exitcode == 0
    assert find(index, "theirs") == ["theirs"]
    open_langchain(tmp_path).add_texts(["of another framework"], ids=["other"])
    assert find(index, "of another framework") == ["other"]
    index.insert_nodes([TextNode(id_="new", text="new")])
    assert [find(index, text) for text in ("mine", "theirs", "new")] == [["mine"], ["theirs"], ["new"]]


def test_a_collection_that_was_made_anew_for_another_space_is_refused(tmp_path):
    index = open_index(tmp_path)
    index.insert_nodes([TextNode(id_="mine", text="mine")])
    other = MultimodalChroma("multimodal", persist_directory=tmp_path)
    other.delete_collection()
    embeddings = Qwen3VLEmbeddings(model=HashEmbedder(revision="2"))
    MultimodalChroma("multimodal", embeddings, persist_directory=tmp_path).add_texts(["theirs"])
    with pytest.raises(FingerprintMismatchError, match="revision: stored '2', now '1'"):
        find(index, "mine")


def test_stores_of_one_process_share_a_client(tmp_path):
    first, second = open_index(tmp_path), open_index(tmp_path, collection_name="other")
    clients = {one.vector_store.shared_collection.client for one in (first, second, open_index(tmp_path))}
    assert len(clients) == 1
    assert isinstance(first.vector_store.shared_collection, SharedCollection)
    second.insert_nodes([TextNode(id_="theirs", text="theirs")])
    first.insert_nodes([TextNode(id_="mine", text="mine")])
    assert find(open_index(tmp_path), "mine") == ["mine"]
    assert find(second, "theirs") == ["theirs"]
    assert {one.vector_store.shared_collection.client for one in (first, second)} == clients
