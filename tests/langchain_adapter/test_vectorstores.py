"""MultimodalChroma: what is embedded, what is kept, who may write, and in which order things are found."""

from __future__ import annotations

import asyncio
import base64
import multiprocessing
import shutil
from concurrent.futures import ThreadPoolExecutor

import chromadb
import numpy as np
import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from PIL import Image

from langchain_adapter.chroma_writers import add_by_chroma, add_by_store
from langchain_adapter.hash_embedder import HashEmbedder
from langchain_qwen3_vl.documents import image_document, video_document
from langchain_qwen3_vl.embeddings import Qwen3VLEmbeddings
from langchain_qwen3_vl.vectorstores import MultimodalChroma
from qwen3_vl_retrieval import FingerprintMismatchError, InputError, StoreError
from rounding import bound


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
def drawn(embeddings, images, tmp_path):
    """The drawn images, with their URIs as ids, in a store of the pocket model."""
    store = MultimodalChroma("drawn", embeddings, persist_directory=tmp_path / "drawn")
    store.add_images(list_images(images), ids=["0", "1", "2", "3"])
    return store


def list_images(folder):
    return [str(folder / f"picture-{number}.png") for number in range(4)]


def draw(path, color):
    Image.new("RGB", (16, 12), color).save(path)
    return str(path)


def count_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def rank(embeddings, query, items):
    return np.argsort(-(np.array(embeddings.embed_documents(items)) @ np.array(embeddings.embed_query(query)))).tolist()


def test_it_is_a_chroma(store):
    assert isinstance(store, Chroma)
    assert store.as_retriever().vectorstore is store


def test_images_are_found_by_text_in_the_order_of_the_embedder(drawn, embeddings, images, questions):
    expected = rank(embeddings, questions[0], [{"image": uri} for uri in list_images(images)])
    assert [int(document.id) for document in drawn.similarity_search(questions[0], k=4)] == expected


def test_documents_are_embedded_by_what_their_metadata_say(embeddings, images):
    """langchain#38186: the base class passes texts on, and nothing else."""
    image, video = images / "picture-0.png", images / "clip.mp4"
    documents = [
        image_document(image, id="image"),
        image_document(image, text="from the catalogue", id="mixed"),
        video_document(video, id="video"),
        Document("from the catalogue", id="text"),
        Document("", metadata={"media_type": "page", "source": str(images / "paper.pdf"), "page": 2}, id="page"),
    ]
    store = MultimodalChroma("media", embeddings)
    try:
        assert store.add_documents(documents) == ["image", "mixed", "video", "text", "page"]
        found = store.get(include=["embeddings"])
        vectors = dict(zip(found["ids"], found["embeddings"], strict=True))
    finally:
        store.delete_collection()
    expected = embeddings.embed_documents_array(documents)
    assert all(
        np.abs(vectors[document.id] - row).max() < bound(1e-5)
        for document, row in zip(documents, expected, strict=True)
    )
    assert np.abs(vectors["image"] - vectors["mixed"]).max() > 1e-3


def test_uris_are_kept_and_never_base64(store, tmp_path):
    rng = np.random.default_rng(0)
    uris = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)).save(path)
        uris.append(str(path))
    empty = count_bytes(tmp_path / "store")
    ids = store.add_images(uris, metadatas=[{"number": 0}])
    found = store.get_by_ids(ids)
    assert [document.page_content for document in found] == [""] * 6
    assert [document.metadata["image"] for document in found] == uris
    assert found[0].metadata["number"] == 0
    database = tmp_path / "store" / "chroma.sqlite3"
    encoded = base64.b64encode((tmp_path / "0.png").read_bytes())[:60]
    assert encoded not in database.read_bytes()
    assert count_bytes(tmp_path / "store") - empty < sum((tmp_path / f"{n}.png").stat().st_size for n in range(6))


def test_documents_without_text_are_found_and_read(drawn):
    assert drawn.get_by_ids(["2", "nothing", "0"])[0].id == "2"
    assert len(drawn.get_by_ids(["2", "nothing", "0"])) == 2
    assert all(document.page_content == "" for document in drawn.similarity_search("a shape", k=4))
    assert drawn.get_by_ids([]) == []


def test_videos_are_added_with_their_window(store, tmp_path, images):
    [row_id] = store.add_videos([images / "clip.mp4"], metadatas=[{"start": 0.5, "end": 1.5}], texts=["a shape moves"])
    [document] = store.get_by_ids([row_id])
    assert document.metadata["video"] == str(images / "clip.mp4")
    assert (document.metadata["start"], document.metadata["end"]) == (0.5, 1.5)
    assert document.metadata["media_type"] == "mixed"
    assert document.page_content == "a shape moves"


def test_an_image_in_memory_is_kept_beside_the_database(store, tmp_path):
    [row_id] = store.add_images([Image.new("RGB", (16, 12), "red")])
    [document] = store.get_by_ids([row_id])
    assert (tmp_path / "store" / "media" / f"{document.metadata['sha256']}.png").is_file()


def test_an_image_in_memory_needs_a_folder(hashing, tmp_path):
    store = MultimodalChroma("memory", hashing)
    try:
        with pytest.raises(InputError, match=r"item 1: .*media_dir"):
            store.add_images([draw(tmp_path / "a.png", "red"), Image.new("RGB", (16, 12))])
    finally:
        store.delete_collection()


def test_unchanged_documents_are_not_embedded_again(store, embedder, tmp_path):
    documents = [Document("one", id="1"), image_document(draw(tmp_path / "a.png", "red"), id="2")]
    store.add_documents(documents)
    store.add_documents(documents)
    assert [len(call) for call in embedder.embedded] == [2]
    assert len(store.get()["ids"]) == 2


def test_an_image_replaced_behind_the_same_name_is_embedded_again(store, embedder, tmp_path):
    uri = draw(tmp_path / "a.png", "red")
    document = Document("", metadata={"image": uri}, id="1")
    store.add_documents([document])
    draw(tmp_path / "a.png", "blue")
    store.add_documents([document])
    assert len(embedder.embedded) == 2
    [(_, distance)] = store.similarity_search_with_score({"image": uri}, k=4)
    assert abs(distance) < bound(1e-5)


def test_a_new_caption_and_other_metadata_are_kept_without_embedding(store, embedder, tmp_path):
    uri = draw(tmp_path / "a.png", "red")
    store.add_documents([Document("old", metadata={"image": uri, "media_type": "image", "seen": True}, id="1")])
    store.add_documents([Document("new", metadata={"image": uri, "media_type": "image", "year": 2025}, id="1")])
    assert len(embedder.embedded) == 1
    [found] = store.get_by_ids(["1"])
    assert found.page_content == "new"
    assert found.metadata == {"image": uri, "media_type": "image", "year": 2025}
    assert abs(store.similarity_search_with_score({"image": uri})[0][1]) < bound(1e-5)


def test_embeddings_without_a_fingerprint_embed_each_time():
    class Counting(DeterministicFakeEmbedding):
        calls: int = 0

        def embed_documents(self, texts):
            self.calls += 1
            return super().embed_documents(texts)

    counting = Counting(size=6)
    store = MultimodalChroma("plain", counting)
    try:
        store.add_documents([Document("one", id="1")])
        store.add_documents([Document("one", id="1")])
        assert counting.calls == 2
        with pytest.raises(InputError, match="item 0: the document shows media"):
            store.add_documents([Document("", metadata={"image": "a.png"})])
    finally:
        store.delete_collection()


def test_a_generator_is_read_batch_by_batch(store, embedder):
    read = []

    def produce():
        for number in range(10):
            read.append(number)
            yield Document(f"text {number}")
            assert len(read) - sum(map(len, embedder.embedded)) <= 4

    ids = store.add_documents(produce(), batch_size=4)
    assert [len(call) for call in embedder.embedded] == [4, 4, 2]
    assert len(set(ids)) == 10
    assert len(store.add_texts(f"other {number}" for number in range(3))) == 3


def test_what_was_embedded_before_an_error_is_kept(store, embedder, tmp_path):
    documents = [Document(f"text {number}", id=str(number)) for number in range(5)]
    broken = Document("", metadata={"image": str(tmp_path / "missing.png")}, id="broken")
    with pytest.raises(InputError, match=r"item 5: .*missing\.png"):
        store.add_documents([*documents, broken], batch_size=2)
    assert sorted(store.get()["ids"]) == ["0", "1", "2", "3"]


def test_more_rows_than_a_call_of_chroma_takes_are_added_and_deleted(store, embedder):
    texts = [f"text {number}" for number in range(5462)]
    ids = store.add_texts(texts, ids=[str(number) for number in range(5462)], batch_size=10_000)
    assert [len(call) for call in embedder.embedded] == [5461, 1]
    assert store.similarity_search("text 5461", k=1)[0].id == "5461"
    store.delete(ids)
    assert store.get()["ids"] == []


def test_metadata_that_chroma_cannot_keep_are_refused_before_anything_is_embedded(store, embedder):
    with pytest.raises(InputError, match="item 1: the metadatum 'nested'"):
        store.add_documents([Document("a"), Document("b", metadata={"nested": {"a": 1}})])
    assert embedder.embedded == []


def test_paths_become_texts_and_nothing_is_left_out_of_lists(store, tmp_path):
    [row_id] = store.add_documents([Document("a", metadata={"file": tmp_path, "tags": ["a", "b"], "none": None})])
    assert store.get_by_ids([row_id])[0].metadata == {"file": str(tmp_path), "tags": ["a", "b"]}


def test_of_several_documents_with_one_id_the_last_stays(store):
    assert store.add_documents([Document("a", id="1"), Document("b", id="1")]) == ["1", "1"]
    assert [document.page_content for document in store.get_by_ids(["1"])] == ["b"]


def test_ids_and_texts_must_be_as_many_as_items(store):
    with pytest.raises(ValueError, match="2 documents and 1 ids"):
        store.add_documents([Document("a"), Document("b")], ids=["1"])
    with pytest.raises(ValueError, match="1 texts were given for 2 items"):
        store.add_images(["a.png", "b.png"], texts=["a"])
    with pytest.raises(ValueError, match="2 metadatas"):
        store.add_texts(["a"], metadatas=[{}, {}])
    with pytest.raises(InputError, match="wrap a single one"):
        store.add_documents(["a"])
    with pytest.raises(ValueError, match="batch_size=0"):
        store.add_documents([], batch_size=0)


def test_update_documents_embeds_what_is_shown(store, tmp_path):
    store.add_documents([Document("a", id="1")])
    uri = draw(tmp_path / "a.png", "red")
    store.update_documents(["1"], [image_document(uri)])
    assert abs(store.similarity_search_with_score({"image": uri}, k=1)[0][1]) < bound(1e-5)
    store.update_document("1", Document("b"))
    assert abs(store.similarity_search_with_score("b", k=1)[0][1]) < bound(1e-5)


def test_search_by_image_is_a_query_with_that_image(drawn, embeddings, images):
    uri = list_images(images)[1]
    expected = rank(embeddings, {"image": uri}, [{"image": name} for name in list_images(images)])
    assert [int(document.id) for document in drawn.similarity_search_by_image(uri, k=4)] == expected
    found = drawn.similarity_search_by_image_with_relevance_score(uri, k=4)
    cosines = embeddings.embed_documents_array(
        [{"image": drawn.get_by_ids([d.id])[0].metadata["image"]} for d, _ in found]
    )
    assert [score for _, score in found] == pytest.approx(
        cosines @ embeddings.embed_query_array({"image": uri}), abs=bound(1e-4)
    )


def test_search_by_image_works_with_embeddings_of_others():
    class Images(DeterministicFakeEmbedding):
        def embed_image(self, uris):
            return [self.embed_query(uri) for uri in uris]

    store = MultimodalChroma("others", Images(size=6))
    try:
        store.add_texts(["a.png", "b.png"])
        [(document, score)] = store.similarity_search_by_image_with_relevance_score("b.png", k=1)
        assert (document.page_content, score) == ("b.png", pytest.approx(1.0))
        with pytest.raises(StoreError, match="embeds texts alone"):
            MultimodalChroma("others", DeterministicFakeEmbedding(size=6)).similarity_search_by_image("a.png")
    finally:
        store.delete_collection()


def test_mmr_comes_in_its_own_order(hashing):
    store = MultimodalChroma("mmr", hashing)
    try:
        store.add_texts([f"text {number}" for number in range(30)])
        query = hashing.embed_query("text 3")
        found = store.max_marginal_relevance_search("text 3", k=5, fetch_k=30, lambda_mult=0.1)
        vectors = hashing.embed_documents([document.page_content for document in found])
        chosen = [vectors[0]]
        assert found[0].page_content == "text 3"
        for vector in vectors[1:]:
            others = [hashing.embed_query(f"text {number}") for number in range(30)]
            scores = [
                0.1 * float(np.dot(query, other)) - 0.9 * max(float(np.dot(other, kept)) for kept in chosen)
                for other in others
                if other not in chosen
            ]
            own = 0.1 * float(np.dot(query, vector)) - 0.9 * max(float(np.dot(vector, kept)) for kept in chosen)
            assert own == pytest.approx(max(scores), abs=bound(1e-5))
            chosen.append(vector)
        same = asyncio.run(store.amax_marginal_relevance_search("text 3", k=5, fetch_k=30, lambda_mult=0.1))
        assert [document.id for document in same] == [document.id for document in found]
        assert store.max_marginal_relevance_search("text 3", filter={"no": "such"}) == []
    finally:
        store.delete_collection()


def test_async_searches_equal_the_others(drawn, questions):
    found = [(document.id, score) for document, score in drawn.similarity_search_with_score(questions[1], k=3)]
    same = asyncio.run(drawn.asimilarity_search_with_score(questions[1], k=3))
    assert [document.id for document, _ in same] == [row_id for row_id, _ in found]
    assert [score for _, score in same] == pytest.approx([score for _, score in found], abs=bound(1e-4))
    assert [document.id for document in asyncio.run(drawn.asimilarity_search(questions[1], k=1))] == [found[0][0]]


def test_conditions_hold(drawn):
    drawn.add_documents([Document("a text", metadata={"year": 2025}, id="text")])
    assert [document.id for document in drawn.similarity_search("a shape", filter={"year": 2025})] == ["text"]
    found = asyncio.run(drawn.asimilarity_search("a shape", filter={"media_type": "image"}, k=9))
    assert sorted(document.id for document in found) == ["0", "1", "2", "3"]
    drawn.delete(where={"year": 2025})
    assert drawn.get_by_ids(["text"]) == []
    drawn.delete([])


def test_vectors_are_compared_by_cosine_unless_told_otherwise(hashing):
    cosine = MultimodalChroma("cosine", hashing)
    squared = MultimodalChroma("squared", hashing, collection_configuration={"hnsw": {"space": "l2"}})
    old = MultimodalChroma("old", hashing, collection_metadata={"hnsw:space": "ip"})
    try:
        spaces = [store._collection.configuration["hnsw"]["space"] for store in (cosine, squared, old)]
        assert spaces == ["cosine", "l2", "ip"]
    finally:
        for store in (cosine, squared, old):
            store.delete_collection()


def test_another_vector_space_is_refused(store, tmp_path):
    store.add_texts(["a"])
    other = Qwen3VLEmbeddings(model=HashEmbedder(revision="2"))
    with pytest.raises(FingerprintMismatchError, match="revision: stored '1', now '2'"):
        MultimodalChroma("things", other, persist_directory=tmp_path / "store")
    with pytest.raises(FingerprintMismatchError, match="do not say"):
        MultimodalChroma("things", DeterministicFakeEmbedding(size=8), persist_directory=tmp_path / "store")
    assert MultimodalChroma("things", persist_directory=tmp_path / "store").get()["documents"] == ["a"]


def test_rows_of_an_unknown_space_are_refused_and_an_empty_collection_is_taken(hashing, tmp_path):
    fake, folder = DeterministicFakeEmbedding(size=8), str(tmp_path)
    plain = Chroma("things", fake, persist_directory=folder, collection_metadata={"a": 1})
    taken = MultimodalChroma("things", hashing, persist_directory=tmp_path)
    assert taken._collection.metadata["a"] == 1
    with pytest.raises(FingerprintMismatchError, match="revision"):
        MultimodalChroma("things", Qwen3VLEmbeddings(model=HashEmbedder(revision="2")), persist_directory=tmp_path)
    other = Chroma("others", fake, persist_directory=folder)
    other.add_texts(["a"])
    with pytest.raises(FingerprintMismatchError, match="1 vectors of an unknown space"):
        MultimodalChroma("others", hashing, persist_directory=tmp_path)
    plain._client.close()
    other._client.close()


def test_an_emptied_store_is_used_on(store, hashing):
    store.add_texts(["a"])
    store.reset_collection()
    assert store.get()["ids"] == []
    store.add_texts(["b"])
    assert store.similarity_search("b", k=1)[0].page_content == "b"
    assert "qwen3vl_fingerprint" in store._collection.metadata
    store.delete_collection()
    with pytest.raises(ValueError, match="reset_collection"):
        store.get()
    store.reset_collection()
    assert store.get()["ids"] == []


def test_a_store_without_embeddings_says_so(tmp_path):
    store = MultimodalChroma("things", persist_directory=tmp_path)
    with pytest.raises(StoreError, match="without embeddings"):
        store.add_texts(["a"])
    with pytest.raises(StoreError, match="without embeddings"):
        asyncio.run(store.asimilarity_search("a"))


def test_a_folder_beside_a_server_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Only one of"):
        MultimodalChroma("things", persist_directory=tmp_path, host="localhost")


def test_from_documents_takes_images(hashing, tmp_path):
    uri = draw(tmp_path / "a.png", "red")
    store = MultimodalChroma.from_documents(
        [image_document(uri, id="1")], hashing, persist_directory=str(tmp_path / "made"), collection_name="made"
    )
    assert abs(store.similarity_search_with_score({"image": uri})[0][1]) < bound(1e-5)


def run_in_process(function, *arguments):
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join(120)
    assert process.exitcode == 0


def test_what_another_process_adds_is_found_by_its_vector(store, hashing, tmp_path):
    store.add_texts(["mine"], ids=["1"])
    assert len(store.similarity_search("mine", k=9)) == 1
    run_in_process(add_by_store, tmp_path / "store", ["theirs"], ["2"])
    assert store.similarity_search("theirs", k=1)[0].id == "2"
    run_in_process(add_by_store, tmp_path / "store", ["changed"], ["2"])
    assert store.similarity_search_with_score("changed", k=1)[0][1] == pytest.approx(0.0, abs=bound(1e-5))
    run_in_process(add_by_chroma, tmp_path / "store", "3", hashing.embed_query("by another program"))
    assert store.similarity_search("by another program", k=1)[0].id == "3"
    store.add_texts(["mine too"], ids=["4"])
    assert {document.id for document in store.similarity_search("mine", k=9)} == {"1", "2", "3", "4"}


def test_two_objects_of_one_process_see_each_other(store, hashing, tmp_path):
    other = MultimodalChroma("things", hashing, persist_directory=tmp_path / "store")
    store.add_texts(["mine"], ids=["1"])
    assert other.similarity_search("mine", k=1)[0].id == "1"
    other.add_texts(["theirs"], ids=["2"])
    assert store.similarity_search("theirs", k=1)[0].id == "2"


def test_a_second_writer_is_named_and_searching_goes_on(store, hashing, tmp_path):
    other = MultimodalChroma("things", hashing, persist_directory=tmp_path / "store", lock_timeout_seconds=0.0)

    def produce():
        yield Document("first", id="1")
        with pytest.raises(StoreError, match="is being written by another process"):
            other.add_texts(["second"])
        with pytest.raises(StoreError, match="is being written"):
            other.delete(["1"])
        assert other.similarity_search("first", k=1)[0].id == "1"
        yield Document("third", id="3")

    store.add_documents(produce(), batch_size=1)
    other.add_texts(["second"], ids=["2"])
    assert {document.id for document in store.similarity_search("first", k=9)} == {"1", "2", "3"}


def test_threads_of_one_store_take_turns(store):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.add_texts([f"text {number}"], ids=[str(number)]), range(24)))
    assert {document.id for document in store.similarity_search("text 1", k=99)} == set(map(str, range(24)))


def test_queries_that_run_while_the_store_is_opened_afresh_are_answered(store, hashing, tmp_path):
    store.add_texts(["mine"], ids=["1"])
    other = MultimodalChroma("things", hashing, persist_directory=tmp_path / "store")
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(store.similarity_search, "mine", 1) for _ in range(40)]
        for number in range(5):
            other.add_texts([f"theirs {number}"])
        assert {future.result()[0].id for future in asked} == {"1"}


def test_a_store_that_is_dropped_lets_go_of_its_files(hashing, tmp_path):
    before = len(chromadb.api.shared_system_client.SharedSystemClient._identifier_to_system)
    store = MultimodalChroma("things", hashing, persist_directory=tmp_path / "store")
    store.add_texts(["a"])
    del store
    assert len(chromadb.api.shared_system_client.SharedSystemClient._identifier_to_system) == before
    shutil.rmtree(tmp_path / "store")


def test_a_damaged_folder_is_named(tmp_path, hashing):
    (tmp_path / "chroma.sqlite3").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="Chroma cannot open"):
        MultimodalChroma("things", hashing, persist_directory=tmp_path)
