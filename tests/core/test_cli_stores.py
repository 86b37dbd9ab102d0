"""`qwen3vl index` and the commands on an index, with the pocket models."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from qwen3_vl_retrieval.cli import app

LIBRARY = Path(__file__).parents[1] / "data" / "library"


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files").mkdir()
    for name in ("notes/price-list.csv", "products/red-mug.png", "papers/invoice-2024-118.pdf"):
        shutil.copy(LIBRARY / name, tmp_path / "files")
    return tmp_path / "files"


def test_an_index_is_made_searched_looked_at_and_emptied(tmp_path, folder):
    store = tmp_path / "store"
    (folder / "broken.png").write_bytes(b"no picture")
    made = run("index", folder, "--to", store, "--model", "pocket", "--failures", tmp_path / "failures.jsonl", "--json")
    assert made.exit_code == 0, made.output
    document = json.loads(made.stdout)
    assert (document["added_files"], document["removed_files"]) == (3, 0)
    assert [Path(failure["source"]).name for failure in document["failures"]] == ["broken.png"]
    assert json.loads((tmp_path / "failures.jsonl").read_text())["error"] == "MediaError"
    again = run("index", folder, "--to", store, "--model", "pocket")
    assert "3 unchanged" in again.stdout
    assert "broken.png" in again.stderr

    command = ("search", store, "invoice 2024-118", "--reranker", "pocket", "--json", "--html", tmp_path / "page.html")
    found = json.loads(run(*command).stdout)["results"]
    assert {Path(one["source"]).name for one in found} == {"price-list.csv", "red-mug.png", "invoice-2024-118.pdf"}
    assert all(0 <= one["relevance_score"] <= 1 for one in found)
    assert "<html" in (tmp_path / "page.html").read_text()
    table = run("search", store, "", "--image", folder / "red-mug.png", "--reranker", "none", "--k", 1)
    assert "Similarity" in table.stdout

    stats = json.loads(run("stats", store, "--json").stdout)
    assert stats["units"] == sum(stats["units_by_media_type"].values())
    assert stats["fingerprint"]["dimensions"] == 192
    assert "short dimensions" in run("stats", store).stdout
    assert "in the collection again" in run("repair", store).stdout
    assert (tmp_path / "units.parquet").exists() is False
    assert run("export", store, tmp_path / "units.parquet").exit_code == 0
    assert (tmp_path / "units.parquet").exists()
    assert "1 units removed" in run("delete", store, "--where", '{"media_type": "image"}').stdout


def test_what_vanished_is_removed_when_that_is_allowed_and_its_room_is_given_back(tmp_path, folder):
    store = tmp_path / "store"
    command = ("index", folder, "--to", store, "--model", "pocket")
    (folder / "broken.png").write_bytes(b"no picture")
    os.utime(folder / "broken.png", (1_000_000_000, 1_000_000_000))
    assert run(*command).exit_code == 0
    assert "1 of these were not tried again" in " ".join(run(*command).stderr.split())
    assert "not tried again" not in run(*command, "--retry-failed").stderr
    for file in folder.glob("*.*"):
        file.unlink()
    refused = run(*command)
    assert refused.exit_code == 1
    assert "would remove 3 of the 3 files" in refused.stderr
    assert "--allow-removals" in refused.stderr
    assert json.loads(run("stats", store, "--json").stdout)["files"] == 3
    assert "4 removed" in run(*command, "--allow-removals").stdout
    stats = json.loads(run("stats", store, "--json").stdout)
    assert (stats["units"], stats["free_bytes"]) == (0, 0)
    assert stats["retired_units"] > 3
    assert "kept for a while" in run("stats", store).stdout
    compacted = run("compact", store).stdout
    assert f"0 units stay, {stats['retired_units']} that were kept" in " ".join(compacted.split())
    assert json.loads(run("stats", store, "--json").stdout)["retired_bytes"] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("delete", "STORE", "--where", "{"), 2, "not JSON"),
        (("delete", "STORE", "--where", "{}"), 2, "where"),
        (
            ("search", "STORE", "x", "--model", "pocket", "--reranker", "none", "--max-pixels", "4096"),
            1,
            "pixel_budget",
        ),
        (("stats", "FOLDER"), 1, "there is no store in"),
        (("search", "STORE", "x", "--reranker", "none", "--exclude", "*.png"), 2, "no effect on an index"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(tmp_path, arguments, status, message):
    folder = tmp_path / "files"
    folder.mkdir()
    Image.new("RGB", (64, 64), "red").save(folder / "red.png")
    assert run("index", folder, "--to", tmp_path / "store", "--model", "pocket").exit_code == 0
    names = {"STORE": tmp_path / "store", "FOLDER": folder}
    result = run(*(names.get(argument, argument) for argument in arguments))
    assert result.exit_code == status, result.output
    assert message in " ".join(result.output.split()).replace("│", "")
