"""A source embedded in shards: the vectors of an index, nothing twice, nothing lost, whatever happens in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pyarrow.parquet
import pytest
from PIL import Image
from typer.testing import CliRunner

from bucket_servers import serve_bucket
from job_runs import FILES, SMALL, read_parts, write_texts
from qwen3_vl_retrieval import FingerprintMismatchError, InputError, MediaPolicy, RemoteError, StoreError
from qwen3_vl_retrieval.cli import app
from qwen3_vl_retrieval.index import MultimodalIndex, Store, import_store
from qwen3_vl_retrieval.jobs import InProcessExecutor, ReadingOptions, embed_source, read_status
from qwen3_vl_retrieval.jobs.entries import Entry
from qwen3_vl_retrieval.jobs.shards import cut_shards
from qwen3_vl_retrieval.jobs.staging import make_folder
from qwen3_vl_retrieval.testing import FakeEmbedder


class Interruption(Exception):  # noqa: N818 - not an error of ours
    """Stands for the end of the process."""


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    write_texts(folder)
    Image.new("RGB", (32, 16), "red").save(folder / "red.png")
    return folder


def test_a_run_has_the_units_of_an_index(source, tmp_path):
    report = embed_source(source, tmp_path / "run", FakeEmbedder(), **SMALL)
    assert report.is_complete
    assert report.units == FILES + 1
    assert len(report.parts) > 2
    rows = read_parts(tmp_path / "run")
    with MultimodalIndex.open(tmp_path / "index", FakeEmbedder(), precision="float32") as index:
        index.sync(source)
        index.export_parquet(tmp_path / "index.parquet")
    exported = {row["id"]: row for row in pyarrow.parquet.read_table(tmp_path / "index.parquet").to_pylist()}
    assert rows == exported


def test_a_part_can_be_imported_as_a_store(source, tmp_path):
    embed_source(source, tmp_path / "run", FakeEmbedder(), shard_units=10**9)
    (part,) = (tmp_path / "run").glob("**/part-*.parquet")
    assert import_store(part, tmp_path / "store", short_dimensions=32) == FILES + 1
    with Store.open(tmp_path / "store") as store:
        assert store.head.fingerprint == FakeEmbedder().fingerprint


def test_what_is_finished_is_not_embedded_again(source, tmp_path):
    embed_source(source, tmp_path / "run", FakeEmbedder(), **SMALL)
    before = read_parts(tmp_path / "run")
    embedder = FakeEmbedder()
    report = embed_source(source, tmp_path / "run", embedder)
    assert embedder.embedded == []
    assert report.finished_shards == 0
    assert read_parts(tmp_path / "run") == before


def test_an_interrupted_run_goes_on(source, tmp_path):
    def stop(progress):
        if progress.shards_done == 2:
            raise Interruption

    first = FakeEmbedder()
    with pytest.raises(Interruption):
        embed_source(source, tmp_path / "run", first, on_progress=stop, **SMALL)
    status = read_status(tmp_path / "run")
    assert (status.state, status.shards_done) == ("interrupted", 2)
    assert 0 < status.units < FILES
    second = FakeEmbedder()
    report = embed_source(source, tmp_path / "run", second)
    assert report.is_complete
    assert sorted(first.embedded[: status.units] + second.embedded) == sorted(set(first.embedded + second.embedded))
    embed_source(source, tmp_path / "whole", FakeEmbedder(), **SMALL)
    assert read_parts(tmp_path / "run") == read_parts(tmp_path / "whole")
    assert read_status(tmp_path / "run").state == "complete"


def test_only_what_changed_is_embedded_again(source, tmp_path):
    embed_source(source, tmp_path / "run", FakeEmbedder(), **SMALL)
    (source / "0" / "text-000.txt").write_text("What is said now.")
    (source / "1" / "text-001.txt").unlink()
    (source / "2" / "text-002.txt").rename(source / "2" / "renamed.txt")
    embedder = FakeEmbedder()
    report = embed_source(source, tmp_path / "run", embedder)
    assert embedder.embedded == [b"What is said now."]
    assert report.units == FILES
    assert 0 < report.finished_shards < len(report.parts)
    assert report.obsolete_parts
    assert all("/obsolete-" in name for name in report.obsolete_parts)
    embed_source(source, tmp_path / "anew", FakeEmbedder(), **SMALL)
    assert read_parts(tmp_path / "run") == read_parts(tmp_path / "anew")
    # What was there before is there again, without the model.
    (source / "0" / "text-000.txt").write_text("What is said in text 0.")
    (source / "1" / "text-001.txt").write_text("What is said in text 1.")
    (source / "2" / "renamed.txt").rename(source / "2" / "text-002.txt")
    last = FakeEmbedder()
    assert embed_source(source, tmp_path / "run", last).units == FILES + 1
    assert last.embedded == []


def test_shards_away_from_a_change_stay():
    def list_shards(entries):
        return {shard.hash for shard in cut_shards(entries, shard_units=16, settings="s")}

    entries = [
        Entry(sources=(f"/{number:05}.png",), identity=f"sha256:{number}", size_bytes=1, kind="image")
        for number in range(2000)
    ]
    before = list_shards(entries)
    assert 60 < len(before) < 400
    assert len(before - list_shards(entries[1:])) <= 2
    assert len(before - list_shards(entries[:1000] + entries[1001:])) <= 2


def test_what_cannot_be_read_is_named_and_tried_again_only_if_asked_for(source, tmp_path):
    (source / "broken.png").write_bytes(b"no image")
    report = embed_source(source, tmp_path / "run", FakeEmbedder(refused={"What is said in text 7."}), **SMALL)
    assert report.is_complete
    assert report.units == FILES
    named = {failure.source.rpartition("/")[2]: failure for failure in report.failures}
    assert set(named) == {"broken.png", "text-007.txt"}
    lines = [line for path in (tmp_path / "run").glob("**/failures-*.jsonl") for line in path.read_text().splitlines()]
    assert {json.loads(line)["source"].rpartition("/")[2] for line in lines} == set(named)
    assert embed_source(source, tmp_path / "run", FakeEmbedder()).finished_shards == 0
    again = FakeEmbedder()
    report = embed_source(source, tmp_path / "run", again, retry_failed=True)
    assert [failure.source.rpartition("/")[2] for failure in report.failures] == ["broken.png"]
    assert again.embedded == [b"What is said in text 7."]
    assert report.units == FILES + 1


def test_equal_contents_are_embedded_once_and_all_their_files_are_named(source, tmp_path):
    for folder in ("a", "z"):
        (source / folder).mkdir()
        Image.new("RGB", (32, 16), "red").save(source / folder / "copy.png")
    embedder = FakeEmbedder()
    report = embed_source(source, tmp_path / "run", embedder, **SMALL)
    assert (report.files, report.duplicate_files, report.units) == (FILES + 3, 2, FILES + 1)
    assert len(embedder.embedded) == FILES + 1
    (row,) = (row for row in read_parts(tmp_path / "run").values() if row["media_type"] == "image")
    assert row["sources"] == [str(source / name) for name in ("a/copy.png", "red.png", "z/copy.png")]


def test_a_text_of_two_shards_counts_once_and_outlives_the_first(source, tmp_path):
    # Files of the same text with other endings are other contents, cut into the same chunk.
    for name in ("0/first.txt", "4/second.md"):
        (source / name).write_text("What everybody says.")
    report = embed_source(source, tmp_path / "run", FakeEmbedder(), **SMALL)
    assert report.is_complete
    assert (report.units, report.duplicate_units) == (FILES + 2, 1)

    def find_shared():
        (row,) = (row for row in read_parts(tmp_path / "run").values() if row["text"] == "What everybody says.")
        return row["source"].rpartition("/")[2]

    assert find_shared() == "first.txt"
    assert len(list((tmp_path / "run").glob("**/duplicates-*.parquet"))) == 1
    (source / "0" / "first.txt").unlink()
    embedder = FakeEmbedder()
    report = embed_source(source, tmp_path / "run", embedder)
    assert (report.units, report.duplicate_units, report.is_complete) == (FILES + 2, 0, True)
    assert embedder.embedded == []
    assert find_shared() == "second.md"
    assert list((tmp_path / "run").glob("**/duplicates-*.parquet")) == []


def test_a_damaged_part_is_made_again(source, tmp_path):
    embed_source(source, tmp_path / "run", FakeEmbedder(), **SMALL)
    before = read_parts(tmp_path / "run")
    part = sorted((tmp_path / "run").glob("**/part-*.parquet"))[0]
    part.write_bytes(part.read_bytes()[:-40])
    report = embed_source(source, tmp_path / "run", FakeEmbedder())
    assert report.finished_shards == 1
    assert read_parts(tmp_path / "run") == before


def test_an_item_that_breaks_the_model_is_found_and_named(source, tmp_path):
    class BreakingEmbedder(FakeEmbedder):
        def embed(self, inputs, **options):
            items = list(inputs)
            if any("text 23." in str(item) for item in items):
                raise RuntimeError("device-side assert triggered")
            return super().embed(items, **options)

    said = []
    report = embed_source(source, tmp_path / "run", BreakingEmbedder(), on_trouble=said.append, **SMALL)
    assert report.is_complete
    (failure,) = report.failures
    assert failure.source.endswith("text-023.txt")
    assert "device-side assert" in failure.message
    assert report.units == FILES
    assert any("is left out" in sentence for sentence in said)
    assert embed_source(source, tmp_path / "run", FakeEmbedder(), retry_failed=True).units == FILES + 1


def test_what_an_engine_does_not_answer_for_is_missing(source, tmp_path):
    class LostEngine(FakeEmbedder):
        def embed(self, inputs, **options):
            items = list(inputs)
            if any("text 23." in str(item) for item in items):
                raise RemoteError("http://gpu-1:8000 cannot be reached")
            return super().embed(items, **options)

    report = embed_source(source, tmp_path / "run", LostEngine(), on_trouble=lambda _: None, **SMALL)
    assert not report.is_complete
    assert any(name.endswith("text-023.txt") for name in report.missing)
    assert "gpu-1" in next(iter(report.missing.values()))
    assert report.units + len(report.missing) == FILES + 1
    assert read_status(tmp_path / "run").state == "incomplete"
    assert embed_source(source, tmp_path / "run", FakeEmbedder()).is_complete


def test_a_run_belongs_to_one_model_and_to_one_process(source, tmp_path):
    embed_source(source, tmp_path / "run", FakeEmbedder(), **SMALL)
    with pytest.raises(FingerprintMismatchError, match="dimensions"):
        embed_source(source, tmp_path / "run", FakeEmbedder(dimensions=32))

    def begin_another(_progress):
        embed_source(source, tmp_path / "run", FakeEmbedder())

    with pytest.raises(StoreError, match="another process"):
        embed_source(source, tmp_path / "run", FakeEmbedder(), on_progress=begin_another)


def test_a_run_may_lie_in_its_source(source):
    run = source / "run"
    assert embed_source(source, run, FakeEmbedder(), **SMALL).files == FILES + 1
    assert embed_source(source, run, FakeEmbedder(), **SMALL).files == FILES + 1


def test_other_reading_makes_other_parts(source, tmp_path):
    embed_source(source, tmp_path / "run", FakeEmbedder(), **SMALL)
    embedder = FakeEmbedder()
    options = {"reading": ReadingOptions(window_seconds=10), "precision": "float16"}
    report = embed_source(source, tmp_path / "run", embedder, **options)
    assert report.finished_shards == len(report.parts)
    # The vectors of the same units are taken from the parts that were there.
    assert embedder.embedded == []
    part = next((tmp_path / "run").glob("**/part-*.parquet"))
    assert str(pyarrow.parquet.read_schema(part).field("vector").type.value_type) == "halffloat"


def test_both_ends_may_be_object_stores(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/docs/.hidden.txt", b"hidden")
    memory.pipe_file("/bucket/docs/archive.zip", b"no document")
    for number in range(12):
        memory.pipe_file(f"/bucket/docs/{number:02}.txt", f"What is said in {number}.".encode())
    try:
        arguments = ("memory://bucket/docs", "memory://bucket/run")
        report = embed_source(*arguments, FakeEmbedder(), shard_units=4, exclude=["11.txt"])
        assert (report.units, report.is_complete) == (11, True)
        assert set(report.skipped.values()) == {"excluded", "unknown suffix"}
        rows = [
            row
            for name in memory.glob("/bucket/run/**/part-*.parquet")
            for row in pyarrow.parquet.read_table(memory.open(name)).to_pylist()
        ]
        assert {row["source"] for row in rows} == {f"memory:///bucket/docs/{number:02}.txt" for number in range(11)}
        assert embed_source(*arguments, FakeEmbedder(), exclude=["11.txt"]).finished_shards == 0
        assert read_status("memory://bucket/run").state == "complete"
    finally:
        memory.rm("/bucket", recursive=True)


@pytest.fixture
def web(source):
    """The address of a server of the files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(source))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def bucket():
    """Options of an S3 on loopback that has a bucket."""
    with serve_bucket() as address:
        yield {"endpoint_url": address, "key": "key", "secret": "secret"}


def test_both_ends_may_be_in_s3(bucket, tmp_path):
    s3 = fsspec.filesystem("s3", **bucket)
    for number in range(12):
        s3.pipe_file(f"bucket/docs/{number:02}.txt", f"What is said in {number}.".encode())
    s3.pipe_file("bucket/docs/copy.txt", b"What is said in 3.")
    arguments = ("s3://bucket/docs", "s3://bucket/run")
    report = embed_source(*arguments, FakeEmbedder(), shard_units=4, storage_options=bucket)
    assert (report.units, report.duplicate_files, report.is_complete) == (12, 1, True)
    s3.pipe_file("bucket/docs/00.txt", b"What is said now.")
    embedder = FakeEmbedder()
    assert embed_source(*arguments, embedder, storage_options=bucket).units == 12
    assert embedder.embedded == [b"What is said now."]
    s3.invalidate_cache()
    s3.get(s3.glob("bucket/run/**/part-*.parquet"), f"{tmp_path}/")
    assert len(read_parts(tmp_path)) == 12
    assert read_status(arguments[1], storage_options=bucket).state == "complete"


def test_a_list_of_addresses_is_downloaded_under_the_policy(web, source, tmp_path):
    lines = [f"{web}/0/text-000.txt", f"{web}/red.png", f"{web}/nowhere.png", "source/1/text-001.txt", "# a comment"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    allowed = MediaPolicy(allow_urls=True, allow_hosts=("127.0.0.1",), allow_private_addresses=True)
    options = {"is_list": True, "media_policy": allowed}
    report = embed_source(tmp_path / "list.txt", tmp_path / "run", FakeEmbedder(), **options)
    assert (report.units, report.is_complete) == (3, True)
    assert [failure.source for failure in report.failures] == [f"{web}/nowhere.png"]
    sources = {row["source"] for row in read_parts(tmp_path / "run").values()}
    assert sources == {f"{web}/0/text-000.txt", f"{web}/red.png", str(source / "1" / "text-001.txt")}
    refused = embed_source(tmp_path / "list.txt", tmp_path / "refused", FakeEmbedder(), is_list=True)
    assert {failure.error for failure in refused.failures} == {"MediaPolicyError"}
    # A list from elsewhere does not choose what is read here.
    (source / "list.txt").write_text(str(source / "red.png"))
    with pytest.raises(InputError, match="may name http"):
        embed_source(f"{web}/list.txt", tmp_path / "other", FakeEmbedder(), media_policy=allowed)


def test_the_command_embeds_shows_its_progress_and_says_what_is_missing(source, tmp_path, monkeypatch):
    def run(*arguments):
        return CliRunner().invoke(app, ["embed", *map(str, arguments)])

    (source / "broken.png").write_bytes(b"no image")
    command = (source, "--to", tmp_path / "run", "--model", "pocket", "--shard-units", "16", "--workers", "1")
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert "41 units of 42 files" in result.output
    assert "device seconds per thousand units" in result.output
    assert "broken.png" in result.output
    shown = run("--status", tmp_path / "run")
    assert shown.exit_code == 0
    assert "complete" in shown.output
    assert json.loads(run("--status", tmp_path / "run", "--json").stdout)["units"] == 41

    def fail(self, _task):
        raise RemoteError("there is no engine")

    (source / "new.txt").write_text("What is new.")
    monkeypatch.setattr("qwen3_vl_retrieval.jobs.shard_embedder.ShardEmbedder.embed", fail)
    missing = run(*command)
    assert missing.exit_code == 3
    assert "new.txt" in missing.output
    for wrong in ((source,), ("--status", tmp_path, source), ("--status", tmp_path / "nothing")):
        assert run(*wrong).exit_code in (1, 2)


def test_what_killed_workers_had_fetched_is_cleared_away(source, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with make_folder() as mine:
        names = [mine.name.replace(str(os.getpid()), str(number), 1) for number in (ended.pid, os.getpid())]
    folders = [tmp_path / name for name in names]
    for folder in folders:
        folder.mkdir()
    embed_source(source, tmp_path / "run", FakeEmbedder())
    assert [folder.exists() for folder in folders] == [False, True]


def test_an_executor_in_process_may_be_given_itself(source, tmp_path):
    assert embed_source(source, tmp_path / "run", InProcessExecutor(FakeEmbedder())).is_complete
