"""The real command in a process of its own: what stands on standard error, and what Ctrl-C does."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from qwen3_vl_retrieval.cli import app

COMMAND = str(Path(sys.executable).with_name("qwen3vl"))
# The machine may be busy: a reader that is slow to start is no fault of a file.
POCKET = ("--model", "pocket", "--max-pixels", "4096", "--max-read-time", "10min")


def write_noisy_files(folder):
    """Files on which libtiff, Pillow, PDFium's wrapper and qwen_vl_utils have something to say, and name no file."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    stream = io.BytesIO()
    noise.convert("1").save(stream, "TIFF", compression="group4")
    content = bytearray(stream.getvalue())
    for at in range(20, len(content) // 2, 37):
        content[at] ^= 0x5A
    (folder / "fax.tif").write_bytes(content)

    exif = Image.Exif()
    exif[0x010E] = "x" * 50
    noise.save(folder / "photo.jpg", exif=exif)
    content = bytearray((folder / "photo.jpg").read_bytes())
    at = content.index(b"Exif\0\0") + 20
    content[at : at + 4] = b"\xff\xff\xff\x7f"
    (folder / "photo.jpg").write_bytes(content)

    (folder / "form.pdf").write_bytes(write_xfa_form())
    with av.open(str(folder / "slow.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(6):
            container.mux(stream.encode(av.VideoFrame.from_image(Image.new("RGB", (64, 64), (40 * number, 0, 0)))))
        container.mux(stream.encode())


def write_xfa_form():
    objects = [
        b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[]/XFA 4 0 R>>>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]>>",
        b"<</Length 11>>stream\n<xdp></xdp>\nendstream",
    ]
    content, places = b"%PDF-1.7\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(content))
        content += b"%d 0 obj" % number + one + b"endobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(content)
    content += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table
    return content + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)


def run(*arguments):
    environment = {**os.environ, "COLUMNS": "200"}
    command = [COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280, check=False)  # noqa: S603 - our own


@pytest.fixture(scope="module")
def noisy_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy")
    write_noisy_files(folder)
    return folder


def test_standard_error_holds_our_own_lines_alone(noisy_folder, tmp_path):
    (noisy_folder / "broken.png").write_bytes(b"no image")
    (noisy_folder / "a.zip").write_bytes(b"x")
    made = run("index", noisy_folder, "--to", tmp_path / "store", *POCKET)
    assert made.returncode == 0, made.stderr
    first, failure, heading, *groups = made.stderr.splitlines()
    assert first == "1 file or part of a file could not be read:"
    assert "broken.png" in failure
    assert (heading, groups) == ("Skipped:", ["  1  unknown suffix .zip  a.zip"])

    found = run("search", tmp_path / "store", "a red square", "--reranker", "pocket", "--json")
    assert len(json.loads(found.stdout)["results"]) == 4
    assert found.stderr == ""


def test_a_model_is_loaded_and_a_video_read_in_a_library_call_without_a_word(noisy_folder):
    code = """
import sys
from pathlib import Path
from transformers.utils import logging
from qwen3_vl_retrieval import PixelBudget, Qwen3VLEmbedder
embedder = Qwen3VLEmbedder.from_pretrained("pocket")
embedder.embed([Path(sys.argv[1])])
assert logging.is_progress_bar_enabled()
"""
    command = [sys.executable, "-c", code, str(noisy_folder / "slow.mp4")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)  # noqa: S603 - our own
    assert (finished.returncode, finished.stderr) == (0, "")


def test_an_error_that_nobody_expected_is_shown_with_what_libraries_wrote():
    code = """
import os, sys
from qwen3_vl_retrieval.cli.noise import keep_noise_out
with keep_noise_out() as messages:
    messages.print("ours")
    os.write(2, b"theirs\\n")
    sys.stderr.write("also theirs\\n")
    if sys.argv[1] == "fail":
        raise RuntimeError("unforeseen")
messages.print("after")
"""
    told = [
        subprocess.run([sys.executable, "-c", code, word], capture_output=True, text=True, check=False).stderr  # noqa: S603 - our own
        for word in ("fail", "pass")
    ]
    assert told[0].splitlines()[:3] == ["ours", "theirs", "also theirs"]
    assert "RuntimeError: unforeseen" in told[0]
    assert told[1] == "ours\nafter\n"


def count_files(store):
    catalog = store / "catalog.sqlite3"
    if not catalog.exists():
        return 0
    with closing(sqlite3.connect(f"{catalog.as_uri()}?mode=ro", uri=True)) as connection, suppress(sqlite3.Error):
        return connection.execute("SELECT count(*) FROM files").fetchone()[0]
    return 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to processes")
def test_control_c_ends_an_index_with_a_line_and_it_goes_on_from_there(tmp_path):
    folder, store = tmp_path / "files", tmp_path / "store"
    folder.mkdir()
    for number in range(160):
        Image.new("RGB", (64, 48), (number, 120, 0)).save(folder / f"{number:03}.png")
    command = [COMMAND, "index", str(folder), "--to", str(store), *POCKET]
    with subprocess.Popen(  # noqa: S603 - our own
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        # From the first group that is entered on, files are read in one thread and embedded in another.
        while process.poll() is None and not count_files(store):
            time.sleep(0.05)
        # As a terminal does: to the command and to everything that it started.
        os.killpg(process.pid, signal.SIGINT)
        out, told = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert told == "Interrupted. What was finished is in the index; run the same command again to go on.\n"
    again = CliRunner().invoke(app, ["index", str(folder), "--to", str(store), *POCKET, "--json"])
    report = json.loads(again.stdout)
    assert report["added_files"] + report["unchanged_files"] == 160
    assert report["unchanged_files"] > 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to processes")
def test_control_c_ends_the_search_of_a_folder_and_leaves_nothing_behind(tmp_path):
    folder, temporary = tmp_path / "files", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    for number in range(120):
        Image.new("RGB", (64, 48), (number, 120, 0)).save(folder / f"{number:03}.png")
    command = [COMMAND, "search", str(folder), "red", "--reranker", "none", *POCKET]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(  # noqa: S603 - our own
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    ) as process:
        while process.poll() is None and not any(map(count_files, temporary.glob(".qwen3vl-search-*"))):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, told = process.communicate(timeout=120)
    assert (process.returncode, out, told) == (130, "", "Interrupted.\n")
    assert list(temporary.glob(".qwen3vl-search-*")) == []
