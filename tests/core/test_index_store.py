"""The store knows no models: these tests write made-up vectors."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from qwen3_vl_retrieval.documents.identity import Signature
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.fingerprint import Fingerprint
from qwen3_vl_retrieval.index.search import CandidateQuery, find_candidates
from qwen3_vl_retrieval.index.store.catalog import ITEM_PREFIX, FileState, Place, Record
from qwen3_vl_retrieval.index.store.filters import compile_filter
from qwen3_vl_retrieval.index.store.store import Batch, Store

DIMENSIONS = 64


def make_fingerprint(dimensions=DIMENSIONS):
    return Fingerprint(
        model="made-up",
        revision="1",
        dimensions=dimensions,
        precision="float32",
        instruction="Represent the user's input.",
        pixel_budget="none",
        frame_sampling="none",
        max_length=8192,
        prompt_version="1",
    )


def draw_vectors(count, dimensions=DIMENSIONS, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_store(folder, *, precision="float16", short_dimensions=DIMENSIONS, dimensions=DIMENSIONS):
    return Store.create(folder, make_fingerprint(dimensions), short_dimensions=short_dimensions, precision=precision)


def make_batch(ids, vectors, *, source=None, version="v1", media_type="text", pages=False, metadata=None):
    batch = Batch()
    for number, (unit_id, vector) in enumerate(zip(ids, vectors, strict=True), start=1):
        batch.records.append(
            Record(
                id=unit_id,
                unit=Unit(media_type=media_type, page=number if pages else None, text=f"text of {unit_id}"),
                sha256=unit_id,
            )
        )
        batch.vectors.append(vector)
        home = f"{ITEM_PREFIX}{unit_id}" if source is None else source
        batch.places.append(Place(source=home, unit_id=unit_id, version=version, metadata=metadata or {}))
    return batch


def make_file(source, version="v1"):
    look = Signature(size_bytes=1, modified_ns=1, changed_ns=1, inode=1, checked_ns=1)
    return FileState(source=source, sha256=version, signature=look)


def add(store, ids, vectors, **options):
    with store.write():
        store.add_batch(make_batch(ids, vectors, **options))


def find(store, vector, *, limit=5, oversample=4, where=None, words=""):
    query = CandidateQuery(vector=vector, words=words, limit=limit, oversample=oversample, where=where)
    found = find_candidates(store, query)
    units = store.catalog.load_units([one.row for one in found])
    return [units[one.row].record.id for one in found]


def name_ids(count, first=0):
    return [f"{number:08x}" for number in range(first, first + count)]


def test_what_was_added_is_found_and_is_there_after_reopening(tmp_path):
    vectors = draw_vectors(50)
    with make_store(tmp_path / "store") as store:
        add(store, name_ids(50), vectors)
        assert find(store, vectors[7])[0] == "00000007"
    with Store.open(tmp_path / "store") as store:
        assert store.catalog.count_units() == 50
        assert find(store, vectors[33])[0] == "00000021"


def test_ten_thousand_vectors_are_added_found_deleted_and_reopened(tmp_path):
    count = 10_000
    vectors = draw_vectors(count)
    with make_store(tmp_path / "store") as store:
        # One batch above the 5,461 rows that Chroma takes in a call.
        add(store, name_ids(6_000), vectors[:6_000], metadata={"half": 1})
        add(store, name_ids(4_000, 6_000), vectors[6_000:], metadata={"half": 2})
        exact = [[f"{place:08x}" for place in np.argsort(-(vectors @ vectors[i]))[:10]] for i in range(0, count, 500)]
        found = [find(store, vectors[i], limit=10) for i in range(0, count, 500)]
        recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])
        assert recall > 0.99
        with store.write():
            assert store.remove_where(compile_filter({"half": 1})) == 6_000
        assert store.catalog.count_units() == store.collection.count() == 4_000
    with Store.open(tmp_path / "store") as store:
        assert find(store, vectors[100])[0] not in set(name_ids(6_000))
        assert find(store, vectors[9_999])[0] == f"{9_999:08x}"


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "ubinary"])
def test_every_number_format_finds_a_vector_by_itself(tmp_path, precision):
    vectors = draw_vectors(40)
    with make_store(tmp_path / "store", precision=precision, short_dimensions=32) as store:
        add(store, name_ids(40), vectors)
        assert [find(store, vector)[0] for vector in vectors] == name_ids(40)
        bytes_per_vector = {"float32": 256, "float16": 128, "int8": 64, "ubinary": 8}[precision]
        assert store.layout.vectors.stat().st_size == 40 * bytes_per_vector


def test_short_vectors_are_rescored_with_the_full_ones(tmp_path):
    vectors = draw_vectors(4)
    # Alike in the first half, which the collection holds.
    vectors[:, :32] = vectors[0, :32]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with make_store(tmp_path / "store", short_dimensions=32, precision="float32") as store:
        add(store, name_ids(4), vectors)
        for number, vector in enumerate(vectors):
            assert find(store, vector, limit=1, oversample=4) == [f"{number:08x}"]


def test_a_unit_of_two_files_stays_until_both_are_gone(tmp_path):
    vectors = draw_vectors(1)
    with make_store(tmp_path / "store") as store:
        with store.write():
            batch = make_batch(["one"], vectors, source="/docs/a.txt")
            batch.places.append(Place(source="/docs/b.txt", unit_id="one", version="v1", metadata={}))
            batch.finished = [make_file("/docs/a.txt"), make_file("/docs/b.txt")]
            store.add_batch(batch)
            (unit,) = store.catalog.load_units([1]).values()
            assert unit.sources == ("/docs/a.txt", "/docs/b.txt")
            assert store.remove_files(["/docs/a.txt"]) == 0
            assert find(store, vectors[0], where={"source": "/docs/b.txt"}) == ["one"]
            assert find(store, vectors[0], where={"source": "/docs/a.txt"}) == []
            assert store.remove_files(["/docs/b.txt"]) == 1
        assert store.catalog.count_units() == store.collection.count() == 0


def test_a_file_is_replaced_when_its_new_version_is_finished_and_not_before(tmp_path):
    vectors = draw_vectors(2)
    with make_store(tmp_path / "store") as store, store.write():
        old = make_batch(["old"], vectors[:1], source="/docs/a.txt", version="v1")
        old.finished = [make_file("/docs/a.txt", "v1")]
        store.add_batch(old)
        store.add_batch(make_batch(["new"], vectors[1:], source="/docs/a.txt", version="v2"))
        assert sorted(find(store, vectors[0])) == ["new", "old"]
        finish = Batch(finished=[make_file("/docs/a.txt", "v2")])
        assert store.add_batch(finish) == 1
        assert find(store, vectors[0]) == ["new"]


def test_metadata_in_the_collection_follows_the_catalog(tmp_path):
    with make_store(tmp_path / "store") as store:
        add(store, ["one"], draw_vectors(1), source="/docs/a.txt", metadata={"customer": "acme"})
        retagged = Batch(places=[Place(source="/docs/a.txt", unit_id="one", version="v1", metadata={"customer": "x"})])
        with store.write():
            store.add_batch(retagged)
        import chromadb

        client = chromadb.PersistentClient(path=str(store.layout.collection))
        rows = client.get_collection("units", embedding_function=None).get()
        client.close()
        assert rows["metadatas"][0]["customer"] == "x"
        assert rows["metadatas"][0]["source"] == "/docs/a.txt"
        assert rows["documents"] == ["text of one"]


def test_words_are_found_that_vectors_do_not_tell_apart(tmp_path):
    vector = draw_vectors(1)[0]
    with make_store(tmp_path / "store") as store:
        batch = make_batch(["page-4812", "page-4813"], [vector, vector])
        with store.write():
            store.add_batch(batch)
        assert find(store, vector, words="page-4813", limit=2)[0] == "page-4813"
        assert find(store, vector, words="page-4812", limit=2)[0] == "page-4812"


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path):
    with make_store(tmp_path / "store") as store, Store.open(tmp_path / "store") as other:
        with store.write(), pytest.raises(StoreError, match="is being written by another process"), other.write():
            pass
        with store.write(), pytest.raises(StoreError, match="another thread"), store.write():
            pass
        with other.write():
            pass


def test_a_reader_finds_what_another_store_object_writes_meanwhile(tmp_path):
    vectors = draw_vectors(60)
    with make_store(tmp_path / "store") as writer:
        add(writer, name_ids(30), vectors[:30])
        with Store.open(tmp_path / "store") as reader:
            assert find(reader, vectors[3])[0] == "00000003"
            add(writer, name_ids(30, 30), vectors[30:])
            # Chroma's open client does not find these by vector; the store does.
            assert find(reader, vectors[45])[0] == f"{45:08x}"
            with writer.write():
                writer.remove_where(compile_filter({"id": {"$in": name_ids(10)}}))
            found = find(reader, vectors[3], limit=50)
            assert len(found) == 50
            assert not set(found) & set(name_ids(10))


def test_two_writers_in_turn_do_not_harm_each_other(tmp_path):
    vectors = draw_vectors(90)
    with make_store(tmp_path / "store") as one, Store.open(tmp_path / "store") as two:
        for turn, first in enumerate(range(0, 90, 10)):
            add(two if turn % 2 else one, name_ids(10, first), vectors[first : first + 10])
        for store in (one, two):
            assert [find(store, vector)[0] for vector in vectors] == name_ids(90)
    with Store.open(tmp_path / "store") as store:
        assert [find(store, vector)[0] for vector in vectors] == name_ids(90)


_WRITER = """
    import sys
    import numpy as np
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_index_store import Store, add, draw_vectors, name_ids
    vectors = draw_vectors(2000)
    with Store.open(Path({folder!r})) as store:
        begin = store.catalog.count_units()
        for first in range(begin, 2000, 20):
            add(store, name_ids(20, first), vectors[first : first + 20])
            print(first + 20, flush=True)
"""


def start_writer(folder):
    code = textwrap.dedent(_WRITER.format(tests=str(Path(__file__).parent), folder=str(folder)))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own


def test_a_killed_writer_leaves_a_store_that_is_whole(tmp_path):
    folder = tmp_path / "store"
    make_store(folder).close()
    vectors = draw_vectors(2000)
    for lines in (1, 7, 16):
        with start_writer(folder) as writer:
            for _ in range(lines):
                done = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
        with Store.open(folder) as store:
            count = store.catalog.count_units()
            assert count >= done
            assert find(store, vectors[count - 1])[0] == f"{count - 1:08x}"
            with store.write():
                assert store.catalog.list_unsettled() == []
            assert store.collection.count() == count
            np.testing.assert_allclose(store.sidecar.read(store.catalog.list_rows()), vectors[:count], atol=1e-3)


def test_a_process_that_searches_while_another_writes_never_finds_less_than_was_there(tmp_path):
    folder = tmp_path / "store"
    make_store(folder).close()
    vectors = draw_vectors(2000)
    searched = 0
    with start_writer(folder) as writer, Store.open(folder) as store:
        for line in writer.stdout:
            done = int(line)
            wanted = np.random.default_rng(done).integers(0, done, size=3)
            assert [find(store, vectors[i])[0] for i in wanted] == [f"{i:08x}" for i in wanted]
            assert len(find(store, vectors[0], limit=50)) == min(50, done) or store.catalog.count_units() > done
            searched += 1
    assert writer.returncode == 0
    assert searched == 100


def test_a_collection_with_missing_rows_is_refused_and_can_be_repaired(tmp_path):
    vectors = draw_vectors(30)
    with make_store(tmp_path / "store") as store:
        add(store, name_ids(30), vectors)
        store.collection.remove(name_ids(3))
    with Store.open(tmp_path / "store") as store:
        with pytest.raises(StoreError, match="corrupt: its collection holds 27 of 30 units"):
            store.refresh()
        assert store.repair() == 30
        assert [find(store, vector)[0] for vector in vectors] == name_ids(30)


def test_a_foreign_collection_is_refused(tmp_path):
    with make_store(tmp_path / "one") as one, make_store(tmp_path / "two") as two:
        add(one, name_ids(1), draw_vectors(1))
        add(two, name_ids(1), draw_vectors(1))
        foreign, own = two.layout.collection, one.layout.collection
    own.rename(tmp_path / "away")
    foreign.rename(own)
    with Store.open(tmp_path / "one") as store:
        with pytest.raises(StoreError, match="belongs to another store"):
            store.refresh()
        store.repair()
        assert find(store, draw_vectors(1)[0]) == name_ids(1)


def test_missing_vectors_are_refused(tmp_path):
    with make_store(tmp_path / "store") as store:
        add(store, name_ids(5), draw_vectors(5))
        file = store.layout.vectors
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"corrupt: vectors\.bin holds 4 vectors, and the catalog counts 5"):
        Store.open(tmp_path / "store")


def test_a_folder_with_other_files_is_no_place_for_a_store(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear all")
    with pytest.raises(StoreError, match=r"not empty \(it holds 'letter\.txt'\)"):
        make_store(tmp_path)
    with pytest.raises(StoreError, match="there is no store in"):
        Store.open(tmp_path)


def test_a_store_of_another_version_is_refused(tmp_path):
    with make_store(tmp_path / "store") as store, store.catalog.write():
        store.catalog.write_setting("format_version", "99")
    with pytest.raises(StoreError, match="has format 99, this version reads 1"):
        Store.open(tmp_path / "store")


def test_an_unfinished_store_says_so(tmp_path):
    with make_store(tmp_path / "store") as store, store.catalog.write():
        store.catalog._query("DELETE FROM settings")
    with pytest.raises(StoreError, match="never finished"):
        Store.open(tmp_path / "store")


def test_a_batch_that_fails_leaves_nothing_behind(tmp_path):
    vectors = draw_vectors(3)
    with make_store(tmp_path / "store") as store:
        add(store, name_ids(2), vectors[:2])
        broken = make_batch(["x"], vectors[2:])
        broken.places.append(Place(source="/a", unit_id="nobody", version="v", metadata={}))
        with store.write(), pytest.raises(TypeError):
            store.add_batch(broken)
        with store.write():
            assert store.collection.count() == 2
        assert find(store, vectors[2]) == find(store, vectors[2], limit=2)
        add(store, ["y"], vectors[2:])
        assert find(store, vectors[2])[0] == "y"


def test_failures_of_a_file_are_replaced_by_those_of_its_next_reading(tmp_path):
    with make_store(tmp_path / "store") as store, store.write():
        store.add_batch(Batch(lost=["/a.pdf"], failures={"/a.pdf": [(None, None, None, "MediaError", "damaged")]}))
        assert store.catalog.list_failures() == [
            {"source": "/a.pdf", "page": None, "start": None, "end": None, "error": "MediaError", "message": "damaged"}
        ]
        store.add_batch(Batch(finished=[make_file("/a.pdf")], failures={"/a.pdf": []}))
        assert store.catalog.list_failures() == []


def test_the_fingerprint_and_identity_are_stamped_on_the_collection(tmp_path):
    with make_store(tmp_path / "store") as store:
        import chromadb

        client = chromadb.PersistentClient(path=str(store.layout.collection))
        stamp = client.get_collection("units", embedding_function=None).metadata
        client.close()
        assert stamp["store_id"] == store.head.store_id
        assert stamp["fingerprint_model"] == "made-up"
        assert json.loads(store.catalog.read_settings()["fingerprint"])["model"] == "made-up"
