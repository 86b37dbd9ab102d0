"""What stores must hold whatever the caller has: odd names of files, odd metadata, and very many ids."""

from __future__ import annotations

import gc
import math
import os
import sys

import chromadb
import numpy as np
import pytest
from chromadb.config import Settings
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from PIL import Image

from langchain_adapter.hash_embedder import HashEmbedder
from langchain_qwen3_vl.document_loaders import Qwen3VLFolderLoader
from langchain_qwen3_vl.documents import image_document, media_key_encoder
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.ingestion import add_multimodal_documents
from langchain_qwen3_vl.vectorstores import MultimodalChroma
from qwen3_vl_retrieval import InputError, StoreError
from qwen3_vl_retrieval.paths import decode_path, encode_path

NAMES = [b"caf\xe9.png", b"gr\xfc\xdfe 100%41#1?2.png", b"line\nbreak.png", b"data:,x.png", "👩‍🔬 \u202e.png".encode()]

needs_bytes = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")


@pytest.fixture
def embedder():
    return HashEmbedder()


@pytest.fixture
def hashing(embedder):
    return Qwen3VLEmbeddings(model=embedder)


@pytest.fixture
def store(hashing, tmp_path):
    return MultimodalChroma("things", hashing, persist_directory=tmp_path / "store")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / os.fsdecode(b"ordner \xfc")
    folder.mkdir()
    for place, name in enumerate(NAMES):
        Image.new("RGB", (16, 12), (40 * place, 0, 0)).save(folder / os.fsdecode(name))
    return folder


BAD_METADATA = [
    {"sizes": [1.0, math.nan]},
    {"price": math.inf},
    {"price": np.float32("nan")},
    {"count": 2**64},
    {"note": "half \ud83d"},
    {"half \udc80": 1},
    {"": 1},
    {"$and": 1},
    {"nested": {"a": 1}},
    {"mixed": [1, "a"]},
    {"none": []},
]


@pytest.mark.parametrize("metadata", BAD_METADATA, ids=lambda metadata: ascii(metadata))
def test_of_a_batch_the_one_document_of_bad_metadata_is_left_out_and_named(store, embedder, metadata):
    documents = [Document(f"text {number}", id=str(number), metadata={"year": number}) for number in range(5)]
    documents[2] = Document("text 2", id="2", metadata=metadata)
    assert store.add_documents(documents, on_error="skip") == ["0", "1", "3", "4"]
    assert [failure.error.index for failure in store.failures] == [2]
    assert str(store.failures[0].error).startswith("item 2: ")
    assert [item for call in embedder.embedded for item in call] == ["text 0", "text 1", "text 3", "text 4"]
    assert sorted(store.get()["ids"]) == ["0", "1", "3", "4"]
    assert len(store.similarity_search("text 4", k=4, filter={"year": {"$gte": 0}})) == 4
    with pytest.raises(InputError, match="item 0: "):
        store.add_documents([documents[2]])


def test_ids_and_texts_that_no_database_holds_are_left_out_and_named(store, tmp_path):
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png")
    caption = Document("half \ud83d", metadata={"media_type": "image", "image": str(tmp_path / "a.png")})
    documents = [Document("fine", id="a"), Document("b", id="half \udc80"), Document("c", id=""), caption]
    assert store.add_documents(documents, on_error="skip") == ["a"]
    assert [failure.error.index for failure in store.failures] == [1, 2, 3]


def test_a_document_that_is_replaced_by_a_bad_one_stays_as_it_was(store):
    store.add_documents([Document("old", id="a", metadata={"year": 1})])
    store.add_documents([Document("new", id="a", metadata={"year": math.nan})], on_error="skip")
    assert store.get_by_ids(["a"]) == [Document("old", id="a", metadata={"year": 1})]


def test_numbers_of_numpy_are_numbers_in_filters(store):
    store.add_documents(
        [Document("a", id="a", metadata={"year": np.int64(2024), "price": np.float32(0.5), "no": None})]
    )
    assert store.similarity_search("a", k=1, filter={"year": 2024})[0].metadata == {"year": 2024, "price": 0.5}


def test_stores_of_langchain_get_no_bad_metadata_either(hashing):
    store = InMemoryVectorStore(hashing)
    failures: list[object] = []
    documents = [Document("a", id="a"), Document("b", id="b", metadata={"x": [math.nan]}), Document("c", id="c")]
    stored = add_multimodal_documents(store, documents, hashing, on_error="skip", on_failure=failures.append)
    assert (stored, len(failures)) == (["a", "c"], 1)


def test_a_store_that_plain_chroma_has_damaged_says_so_and_is_mended(hashing, tmp_path):
    folder = tmp_path / "store"
    with_documents = MultimodalChroma("things", hashing, persist_directory=folder)
    with_documents.add_documents([Document("one", id="a"), Document("two", id="b")])
    client = chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))
    with pytest.raises(chromadb.errors.ChromaError):
        client.get_collection("things", embedding_function=None).add(
            ids=["c", "d"], embeddings=[[0.0] * 8] * 2, documents=["c", "d"], metadatas=[{"x": [math.nan]}, {"y": 1}]
        )
    client.close()
    # As in another process: what is open goes on with what it has read.
    del with_documents
    gc.collect()
    with pytest.raises(StoreError, match=r"MultimodalChroma\.repair"):
        MultimodalChroma("things", hashing, persist_directory=folder)
    [row] = MultimodalChroma.repair(folder)
    assert (row.collection, row.id, row.lost) == ("things", "c", ("x",))
    mended = MultimodalChroma("things", hashing, persist_directory=folder)
    assert [document.page_content for document in mended.get_by_ids(["a", "b", "c", "d"])] == ["one", "two", "c", "d"]
    mended.add_documents([Document("three", id="e")])
    assert mended.similarity_search("three", k=1)[0].id == "e"


def test_more_ids_than_sqlite_has_variables_are_asked_for_and_deleted(store):
    store.add_documents([Document("a", id="a", metadata={"y": 1}), Document("b", id="b"), Document("c", id="c")])
    many = ["a", *(f"none {number}" for number in range(40_000)), "b", "c"]
    assert [document.id for document in store.get_by_ids(many)] == ["a", "b", "c"]
    assert store.get(many, limit=1, offset=1)["ids"] == ["b"]
    assert store.get(many, where={"y": 1})["ids"] == ["a"]
    assert store.get(many, include=["embeddings"])["embeddings"] is not None
    store.delete(many[:-1])
    assert store.get()["ids"] == ["c"]


@needs_bytes
def test_a_folder_with_names_that_are_no_utf8_is_loaded_stored_found_and_opened(store, folder):
    documents = Qwen3VLFolderLoader(folder).load()
    assert {decode_path(document.metadata["image"]) for document in documents} == set(folder.iterdir())
    store.add_documents(documents)
    found = store.similarity_search({"image": folder / os.fsdecode(NAMES[0])}, k=1)[0]
    assert decode_path(found.metadata["source"]) == folder / os.fsdecode(NAMES[0])
    assert len({media_key_encoder(document) for document in documents}) == len(NAMES)
    embedded = len(store.get()["ids"])
    store.add_documents(documents)
    assert len(store.get()["ids"]) == embedded == len(NAMES)


@needs_bytes
def test_images_of_such_names_are_added_by_path_and_text_and_uri(store, folder):
    paths = [folder / os.fsdecode(name) for name in NAMES]
    store.add_images([paths[0], str(paths[1]), encode_path(paths[2]), paths[3].as_uri()])
    assert {decode_path(metadata["image"]) for metadata in store.get()["metadatas"]} == set(paths[:4])
    assert image_document(str(paths[0])).metadata["image"] == encode_path(paths[0])


@needs_bytes
def test_a_broken_file_of_such_a_name_is_named_and_the_others_are_loaded(folder):
    (folder / os.fsdecode(b"broken\xff.png")).write_bytes(b"no image")
    loader = Qwen3VLFolderLoader(folder, on_error="skip")
    assert len(loader.load()) == len(NAMES)
    assert [os.fsencode(failure.path.name) for failure in loader.failures] == [b"broken\xff.png"]
    with pytest.raises(InputError, match="broken\N{REPLACEMENT CHARACTER}"):
        Qwen3VLFolderLoader(folder).load()
