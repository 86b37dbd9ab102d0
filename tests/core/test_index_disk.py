"""A store and its disk: room given back, formats of older versions, folders that are read-only, disks that are full."""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import sqlite3
import sys
import tarfile
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from index_runs import context as processes
from limited_processes import (
    fill_limited,
    list_hits,
    make_store_nowhere,
    note_names,
    open_index,
    read_old_store_only,
    read_store_only,
    run_without_permission,
)
from made_up_embedder import MadeUpEmbedder
from qwen3_vl_retrieval.chroma.collection import Collection
from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.index import export_store, import_store
from qwen3_vl_retrieval.index.store.catalog import Catalog
from qwen3_vl_retrieval.index.store.store import Sidecar, Store

DATA = Path(__file__).parents[1] / "data"

FORMAT_1 = DATA / "store-format-1.tar.xz"
"""A store that commit 43e27bc wrote: texts, pictures, a PDF and a failure, rows given up, metadata of two kinds. Beside
it, in `expected.json`, the hits of some queries."""


@pytest.fixture
def old_store(tmp_path):
    with tarfile.open(FORMAT_1) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    return tmp_path / "old"


def fill(path, *, texts=20, prefix="text"):
    with open_index(path, short_dimensions=32) as index:
        index.add([f"{prefix} {number}" for number in range(texts)])


def search_all(index):
    return [(hit.id, round(hit.similarity_score, 4)) for hit in index.search("a query", k=100, match_words=False)]


def require_whole(path):
    """A store that can be opened, searched, written to and counted on."""
    with open_index(path) as index:
        store = index.store
        with store.write():
            assert store.catalog.list_unsettled() == []
        assert store.collection.count() == len(index)
        slots = [slot for slot, _ in store.catalog.list_slots()]
        slots += [
            slot for (slot,) in store.catalog._query("SELECT slot FROM retired UNION ALL SELECT slot FROM free_slots")
        ]
        assert len(slots) == len(set(slots))
        names = {part.name for part in store.layout.list_parts()}
        assert names == {store.sidecar.path.name, store.collection.folder.name}
        for hit in index.search("a query", k=100)[:3]:
            assert index.search(hit.text, k=1, match_words=False)[0].id == hit.id
        return search_all(index)


# Formats


def read_version(path):
    with sqlite3.connect(path / "catalog.sqlite3") as connection:
        return connection.execute("SELECT value FROM settings WHERE name = 'format_version'").fetchone()[0]


def test_a_store_of_format_1_gives_the_same_hits_before_and_after_it_is_written_to(old_store):
    with open_index(old_store) as index:
        found, expected = list_hits(index)
        assert found == expected
        assert (index.stats().units, index.stats().retired_units, len(index.stats().failures)) == (12, 0, 1)
        assert read_version(old_store) == "1"
        with index.store.write():
            pass
        assert read_version(old_store) == "2"
        assert list_hits(index)[0] == expected
        assert index.stats().free_bytes == 2 * 128
        index.add(["one more text", "and another"])
        assert index.stats().free_bytes == 0
        assert index.stats().bytes_by_part["vectors"] == 14 * 128
        assert index.search("one more text", k=1)[0].similarity_score > 0.999
    with open_index(old_store) as index:
        index.compact()
        assert len(index) == 14
        assert index.search("and another", k=1)[0].similarity_score > 0.999


def test_a_reader_goes_on_when_another_process_migrates_and_reuses_rows(old_store):
    with open_index(old_store) as reader, open_index(old_store) as writer:
        found, expected = list_hits(reader)
        assert found == expected
        writer.delete({"media_type": "page"})
        writer.add([f"more {number}" for number in range(4)])
        for number in range(4):
            assert reader.search(f"more {number}", k=1)[0].similarity_score > 0.999


def test_a_migration_that_is_interrupted_happens_not_at_all(old_store, monkeypatch):
    def fail(self, name, value):
        raise KeyboardInterrupt

    with open_index(old_store) as index:
        with monkeypatch.context() as patched:
            patched.setattr(Catalog, "write_setting", fail)
            with pytest.raises(KeyboardInterrupt):
                index.add(["more"])
        assert read_version(old_store) == "1"
        found, expected = list_hits(index)
        assert found == expected
        index.add(["more"])
        assert read_version(old_store) == "2"


# Compact


def test_compact_gives_room_back_and_keeps_every_hit(tmp_path):
    fill(tmp_path / "index", texts=300)
    with open_index(tmp_path / "index") as index:
        index.add([Image.new("RGB", (64, 48), color) for color in ("red", "green")])
        index.delete({"id": {"$in": [hit.id for hit in index.search("x", k=100) if hit.media_type == "text"]}})
        index.delete({"id": next(hit.id for hit in index.search("x", k=300) if hit.media_type == "image")})
        before, hits = index.stats(), search_all(index)
        report = index.compact()
        after = index.stats()
        assert search_all(index) == hits
        assert report.units == len(index)
        assert report.media_files == 1
        assert (report.bytes_before, report.bytes_after) == (
            sum(before.bytes_by_part.values()),
            sum(after.bytes_by_part.values()),
        )
        assert report.bytes_after < report.bytes_before
        assert after.bytes_by_part["vectors"] == len(index) * 128
        assert after.bytes_by_part["collection"] <= before.bytes_by_part["collection"]
        assert index.search("x", k=300, media_types=["image"])[0].image().mode == "RGB"
        # Again, and written to afterwards.
        index.compact()
        index.add(["after it"])
        assert index.search("after it", k=1)[0].similarity_score > 0.999
    require_whole_with_media(tmp_path / "index")


def require_whole_with_media(path):
    with open_index(path) as index, index.store.write():
        assert index.store.collection.count() == len(index)
        assert {part.name for part in index.store.layout.list_parts()} == {"vectors-3.bin", "collection-3"}


def test_readers_find_everything_while_another_process_compacts_and_writes(tmp_path):
    fill(tmp_path / "index", texts=60)
    wrong = []
    done = threading.Event()

    def search():
        with open_index(tmp_path / "index") as reader:
            turn = 0
            while not done.is_set() or turn < 5:
                turn += 1
                hits = reader.search(f"text {turn % 20}", k=3, match_words=bool(turn % 2))
                # One that is deleted in this moment is no hit.
                if hits[0].text != f"text {turn % 20}" or hits[0].similarity_score < 0.999 or len(hits) < 2:
                    wrong.append((turn, hits))

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with open_index(tmp_path / "index") as writer:
            for turn in range(4):
                writer.delete({"id": {"$in": [writer.search(f"text {40 + turn}", k=1)[0].id]}})
                writer.add([f"other {turn} {number}" for number in range(3)])
                writer.compact()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_slot_that_is_used_again_while_it_is_read_is_not_taken_for_the_old_unit(tmp_path, monkeypatch):
    fill(tmp_path / "index", texts=10)
    with open_index(tmp_path / "index") as reader, open_index(tmp_path / "index") as writer:
        rows = reader.store.catalog.list_rows()
        first = reader.search("text 0", k=1)[0]
        read = Sidecar.read

        def interfere(sidecar, slots):
            monkeypatch.setattr(Sidecar, "read", read)
            writer.delete({"id": first.id})
            writer.add(["what came instead"])
            return read(sidecar, slots)

        monkeypatch.setattr(Sidecar, "read", interfere)
        known, vectors = reader.store.read_vectors(rows)
        assert len(known) == len(vectors) == 9
        units = reader.store.catalog.load_units(known)
        for row, vector in zip(known, vectors, strict=True):
            (wanted,) = MadeUpEmbedder().embed_queries([units[row].record.unit.text])
            np.testing.assert_allclose(vector, wanted, atol=1e-3)


class Killed(BaseException):
    """Ends a process: nothing that it does afterwards has an effect."""


class Death:
    """Lets every step that reaches the disk fail from one of them on."""

    def __init__(self, monkeypatch, steps):
        self.left = steps
        self.steps = 0
        for owner, name in (
            (Catalog, "_query"),
            (Catalog, "_query_each"),
            (Catalog, "shrink"),
            (Sidecar, "write"),
            (Sidecar, "copy"),
            (Collection, "_connect"),
            (Collection, "add"),
            (Collection, "remove"),
            (shutil, "rmtree"),
            (Path, "unlink"),
        ):
            monkeypatch.setattr(owner, name, self.wrap(getattr(owner, name)))

    def wrap(self, function):
        def step(*arguments, **options):
            self.steps += 1
            if self.steps > self.left:
                raise Killed
            return function(*arguments, **options)

        return step


@pytest.mark.parametrize("work", ["compact", "add", "delete", "repair"])
def test_a_process_that_is_killed_at_any_step_leaves_a_store_that_is_whole(tmp_path, monkeypatch, work):
    fill(tmp_path / "origin", texts=8)
    with open_index(tmp_path / "origin") as index:
        index.delete({"id": index.search("text 3", k=1)[0].id})

    def do(index):
        match work:
            case "compact":
                index.compact()
            case "add":
                index.add(["one more", "and more", "and another"])
            case "delete":
                index.delete({"id": index.search("text 5", k=1)[0].id})
            case "repair":
                index.store.repair()

    with open_index(tmp_path / "origin") as index:
        before = search_all(index)
    shutil.copytree(tmp_path / "origin", tmp_path / "counted")
    with monkeypatch.context() as patched, open_index(tmp_path / "counted") as index:
        death = Death(patched, math.inf)
        do(index)
    after = require_whole(tmp_path / "counted")
    assert (before == after) == (work in ("compact", "repair"))
    for last in range(0, death.steps, max(1, death.steps // 9)):
        store = tmp_path / f"killed-{last}"
        shutil.copytree(tmp_path / "origin", store)
        with monkeypatch.context() as patched:
            index = open_index(store)
            Death(patched, last)
            with pytest.raises(Killed):
                do(index)
        index.close()
        assert require_whole(store) in (before, after), last
        shutil.rmtree(store)


# Read-only folders


@pytest.fixture
def open_folder():
    """A folder that another user reaches, unlike pytest's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_store_is_searched_looked_at_and_exported(open_folder):
    fill(open_folder / "index")
    note_names(open_folder / "index")
    run_without_permission(read_store_only, open_folder / "index")


def test_a_read_only_store_whose_writer_was_killed_is_read_to_its_last_commit(open_folder):
    folder = open_folder / "index"
    fill(folder, texts=10)
    with open_index(folder) as index:
        index.add([f"text {number}" for number in range(20)])
        # As a killed writer leaves it: the log not yet in the database, and no shared memory.
        shutil.copytree(folder, open_folder / "left", ignore=shutil.ignore_patterns("*-shm"))
    assert (open_folder / "left" / "catalog.sqlite3-wal").stat().st_size > 0
    note_names(open_folder / "left")
    run_without_permission(read_store_only, open_folder / "left")


def test_a_read_only_store_is_read_beside_its_writer(open_folder):
    fill(open_folder / "index")
    with open_index(open_folder / "index") as index:
        index.search("x")
        note_names(open_folder / "index")
        run_without_permission(read_store_only, open_folder / "index")


def test_a_read_only_store_after_compact_is_read(open_folder):
    fill(open_folder / "index")
    with open_index(open_folder / "index") as index:
        index.compact()
    note_names(open_folder / "index")
    run_without_permission(read_store_only, open_folder / "index")


def test_a_read_only_store_of_format_1_gives_the_same_hits(open_folder):
    with tarfile.open(FORMAT_1) as archive:
        archive.extractall(open_folder / "old", filter="data")
    run_without_permission(read_old_store_only, open_folder / "old")
    assert read_version(open_folder / "old") == "1"


def test_no_store_is_made_in_a_read_only_folder(open_folder):
    run_without_permission(make_store_nowhere, open_folder)


def test_a_read_only_reader_notices_what_is_written_from_elsewhere(tmp_path, monkeypatch):
    def close_folder(patched):
        patched.setattr(os, "access", lambda *_: False)

    fill(tmp_path / "index")
    with monkeypatch.context() as patched:
        close_folder(patched)
        reader = open_index(tmp_path / "index")
        assert reader.search("text 2", k=1)[0].similarity_score > 0.999
    fill(tmp_path / "index", texts=3, prefix="later")
    with open_index(tmp_path / "index") as writer, monkeypatch.context() as patched:
        writer.compact()
        close_folder(patched)
        assert reader.store.is_read_only
        assert len(reader) == 23
        assert reader.search("later 2", k=1)[0].similarity_score > 0.999
    reader.close()


# Disks that are full

_FULL = r"there is no room left for the store .*free some, .*then run the same again; what it holds is intact"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_where_no_more_can_be_written_one_error_says_so_and_the_next_run_goes_on(tmp_path):
    fill(tmp_path / "index")
    with open_index(tmp_path / "index") as index:
        largest = max(file.stat().st_size for file in (tmp_path / "index").rglob("*"))
        before = search_all(index)
    said = processes.Queue()
    process = processes.Process(target=fill_limited, args=(tmp_path / "index", largest + 200_000, said))
    process.start()
    error, message = said.get(timeout=200)
    process.join(60)
    process.kill()
    assert (error, message.count("\n")) == ("StoreError", 0)
    assert re.search(_FULL, message)
    assert len(message) < 1000
    with open_index(tmp_path / "index") as index:
        kept = len(index)
        assert kept >= 20
        assert set(before) <= {(hit.id, round(hit.similarity_score, 4)) for hit in index.search("a query", k=kept)}
        index.add([f"text {number}" for number in range(30)])
        assert index.search("text 25", k=1)[0].similarity_score > 0.999
        with index.store.write():
            assert index.store.collection.count() == len(index)


@pytest.mark.parametrize("part", ["vectors", "catalog", "collection", "media", "compact"])
def test_each_part_that_cannot_be_written_is_one_error_and_harms_nothing(tmp_path, monkeypatch, part):
    fill(tmp_path / "index")
    before = require_whole(tmp_path / "index")
    index = open_index(tmp_path / "index")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*_, **__):
        raise full

    def fail_in_chroma(*_, **__):
        raise RuntimeError("error returned from database: (code: 13) database or disk is full")

    with monkeypatch.context() as patched:
        match part:
            case "vectors":
                patched.setattr("qwen3_vl_retrieval.index.store.store.os.fsync", fail)
            case "catalog":
                (pages,) = index.store.catalog._query("PRAGMA page_count").fetchone()
                index.store.catalog._query(f"PRAGMA max_page_count = {pages}")
            case "collection":
                index.search("x")
                patched.setattr(type(index.store.collection._collection), "add", fail_in_chroma)
            case "media":
                patched.setattr(Path, "write_bytes", fail)
            case "compact":
                patched.setattr(Sidecar, "copy", fail)
        items = [f"one more {number} " + "with many words " * 100 for number in range(20)]
        with pytest.raises(StoreError, match=_FULL) as caught:  # noqa: PT012 - whichever writes the part
            if part == "compact":
                index.compact()
            else:
                index.add([*items, Image.new("RGB", (30, 20), "red")])
        assert len(str(caught.value)) < 1000
        assert set(before) <= set(search_all(index))
    index.close()
    assert set(before) <= set(require_whole_text(tmp_path / "index"))
    with open_index(tmp_path / "index") as index:
        index.add([Image.new("RGB", (30, 20), "red"), "one more"])
        index.compact()
        assert {file.suffix for file in (tmp_path / "index" / "media").iterdir()} == {".png"}
        assert index.search("one more", k=1)[0].similarity_score > 0.999


def require_whole_text(path):
    with open_index(path) as index, index.store.write():
        assert index.store.collection.count() == len(index)
        return search_all(index)


def test_a_lock_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fill(tmp_path / "index")
    with open_index(tmp_path / "index") as index:
        monkeypatch.setattr("filelock.FileLock.acquire", fail)
        with pytest.raises(StoreError, match=_FULL):
            index.add(["one more"])


def test_a_store_that_cannot_be_begun_says_so(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(StoreError, match="no room left"):
        open_index(tmp_path / "index")


def test_an_export_that_cannot_be_written_says_so(tmp_path):
    fill(tmp_path / "index")
    with open_index(tmp_path / "index") as index, pytest.raises(StoreError, match="cannot be written"):
        index.export_parquet(tmp_path / "no" / "folder" / "units.parquet")


# Metadata that older versions let in


def spoil(path, unit_text, metadata):
    """As commit 43e27bc wrote it."""
    with sqlite3.connect(path / "catalog.sqlite3") as connection:
        (row,) = connection.execute("SELECT row FROM units WHERE text = ?", (unit_text,)).fetchone()
        connection.execute("UPDATE places SET metadata = ? WHERE unit = ?", (metadata, row))
    connection.close()


@pytest.mark.parametrize(
    ("spoiled", "mended", "dropped"),
    [
        ('{"a": NaN, "b": 2}', {"b": 2}, "'a' was nan"),
        ('{"a": Infinity, "b": 2}', {"b": 2}, "'a' was inf"),
        ('{"a": -Infinity}', {}, "'a' was -inf"),
        ('{"a": "x\\ud800", "b": true}', {"b": True}, "'a' was"),
        ('{"k\\udfff": 1, "b": 0.5}', {"b": 0.5}, "was 1"),
        ('{"a": 1180591620717411303424, "b": "c"}', {"b": "c"}, "'a' was 1180"),
        ('{"a": [1]', {}, "metadata that are no JSON"),
    ],
)
def test_metadata_that_cannot_be_searched_are_mended_and_named(tmp_path, spoiled, mended, dropped):
    with open_index(tmp_path / "index", short_dimensions=32) as index:
        index.add([f"text {number}" for number in range(5)], metadata={"shelf": 3})
    spoil(tmp_path / "index", "text 2", spoiled)
    with open_index(tmp_path / "index") as index:
        if "ud800" not in spoiled and "udfff" not in spoiled:
            assert len(index.search("x", where={"shelf": 3}, k=9)) == 4
        (line,) = index.store.mend_metadata()
        assert dropped in line
        assert index.store.mend_metadata() == []
        assert index.store.repair() == 5
        assert len(index.search("x", where={"shelf": 3}, k=9)) == 4
        (hit,) = index.search("text 2", k=1)
        assert hit.metadata == mended
        index.export_parquet(tmp_path / "units.parquet")
        assert import_store(tmp_path / "units.parquet", tmp_path / "copy", short_dimensions=32) == 5


def test_repair_alone_mends_metadata_too(tmp_path):
    fill(tmp_path / "index", texts=3)
    spoil(tmp_path / "index", "text 1", '{"a": NaN}')
    with Store.open(tmp_path / "index") as store:
        assert store.repair() == 3
        assert store.mend_metadata() == []
        assert export_store(store, tmp_path / "units.parquet") == 3
