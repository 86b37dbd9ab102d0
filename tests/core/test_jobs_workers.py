"""Workers that are killed, items that kill them, and a parent that is killed: nothing is lost, and nobody stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from job_runs import FILES, SMALL, read_parts, write_texts
from job_workers import DEADLY, load_deadly, load_fake, load_nothing, load_slow
from qwen3_vl_retrieval import ModelError
from qwen3_vl_retrieval.jobs import ProcessExecutor, embed_source
from qwen3_vl_retrieval.testing import FakeEmbedder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts") / "source"
    write_texts(folder)
    return folder


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """The rows of a run in one process that nobody disturbed."""
    run = tmp_path_factory.mktemp("whole")
    embed_source(source, run, FakeEmbedder(), **SMALL)
    return read_parts(run)


def test_a_killed_worker_loses_nothing(source, whole, tmp_path):
    executor = ProcessExecutor(load_fake, workers=2)
    killed = []

    def kill_one(progress):
        if len(killed) < 2 and progress.shards_done > len(killed):
            killed.append(executor.process_ids[-1])
            os.kill(killed[-1], signal.SIGKILL)

    report = embed_source(source, tmp_path, executor, on_progress=kill_one, on_trouble=lambda _: None, **SMALL)
    assert report.is_complete
    assert len(set(killed)) == 2
    assert read_parts(tmp_path) == whole
    assert executor.process_ids == []


def test_a_worker_that_hangs_is_ended_and_its_shard_goes_to_another(source, whole, tmp_path):
    # Long enough for the first shard of a process, which imports what it needs.
    executor = ProcessExecutor(load_slow, workers=2, stall_seconds=8)
    stopped, troubles = [], []

    def stop_one(progress):
        if not stopped and progress.shards_done:
            stopped.append(executor.process_ids[-1])
            os.kill(stopped[-1], signal.SIGSTOP)

    report = embed_source(source, tmp_path, executor, on_progress=stop_one, on_trouble=troubles.append, **SMALL)
    assert report.is_complete
    assert read_parts(tmp_path) == whole
    assert "did nothing for" in troubles[0]
    assert not is_alive(stopped[0])


def test_an_item_that_kills_its_worker_is_named_and_the_others_are_embedded(source, whole, tmp_path):
    deadly = source / "3" / f"{DEADLY}.txt"
    deadly.write_text(f"This is {DEADLY}.")
    try:
        executor = ProcessExecutor(load_deadly, workers=2)
        # A shard for each text: fewer workers have to be started.
        report = embed_source(source, tmp_path, executor, on_trouble=lambda _: None, shard_units=1)
    finally:
        deadly.unlink()
    assert report.is_complete
    (failure,) = report.failures
    assert failure.source == str(deadly)
    assert "SIGKILL" in failure.message
    assert read_parts(tmp_path).keys() == whole.keys()
    assert report.units == FILES


def test_a_worker_that_cannot_load_its_model_ends_the_run(source, tmp_path):
    with pytest.raises(ModelError, match="no model for worker"):
        embed_source(source, tmp_path, ProcessExecutor(load_nothing, workers=2))


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/status").read_text().partition("State:")[2].split()[0]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="processes are looked up in /proc")
def test_workers_end_with_their_parent(source, whole, tmp_path):
    script = f"import job_workers; job_workers.embed_slowly({str(source)!r}, {str(tmp_path)!r})"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment)  # noqa: S603 - this interpreter
    noted = tmp_path / "workers.txt"
    while len(list(tmp_path.glob("**/part-*.parquet"))) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    workers = [int(one) for one in noted.read_text().split()]
    parent.kill()
    parent.wait()
    assert len(workers) == 2
    while any(map(is_alive, workers)):
        time.sleep(0.02)
    report = embed_source(source, tmp_path, FakeEmbedder(), shard_units=4)
    assert report.is_complete
    assert read_parts(tmp_path) == whole
