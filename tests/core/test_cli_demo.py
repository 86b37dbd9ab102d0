"""`qwen3vl demo`: what it writes, shows and refuses."""

from __future__ import annotations

import re
import sys

import pytest
from typer.testing import CliRunner

from qwen3_vl_retrieval.cli import app, demo
from random_checkpoints import write_random_checkpoint

QUICK = ("--device", "cpu", "--dtype", "float32", "--max-pixels", "20480")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The whole demo, once, with random weights: its order means nothing."""
    folder = tmp_path_factory.mktemp("demo")
    for kind, seed in (("embedding", 1), ("reranker", 2)):
        write_random_checkpoint(folder / kind, kind, seed=seed)
    models = ("--model", str(folder / "embedding"), "--reranker", str(folder / "reranker"))
    result = CliRunner().invoke(app, ["demo", str(folder / "out"), *models, *QUICK], env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    return result, folder / "out"


def test_the_demo_asks_eight_questions_and_says_where_the_answers_are(finished):
    result, folder = finished
    assert re.findall(r"^(\d)\. ", result.stdout, re.MULTILINE) == list("12345678")
    assert result.stdout.count("the answer: ") == 8
    assert "178 pages, images, scenes and notes; 178 embedded" in result.stdout
    for shown in ("recall@1", "recall@5", "writing ", "indexing ", "searching ", "question-6.png"):
        assert shown in result.stdout
    assert str(folder / "report.html") in result.stdout.replace("\n", "")
    assert result.stderr.strip() == ""  # older versions of rich end every status with a line


def test_the_report_of_the_demo_marks_answers_and_shows_pages_and_moments(finished):
    _, folder = finished
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<section id=") == 8
    assert page.count('<ol class="row') == 16
    assert page.count('<li class="tile') == 80
    assert "data:image/jpeg;base64," in page
    # Each answer is one of the units: a page of its file, and a scene of the longer video.
    assert "could not be read" not in page
    assert re.search(r"The answer, clips/film-01\.mp4, 00:12-00:18, is", page)
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)


def test_only_the_pocket_models_are_called_so(finished):
    result, folder = finished
    assert "demonstration models" not in result.stdout
    assert "demonstration models" not in (folder / "report.html").read_text(encoding="utf-8")


def test_with_the_pocket_models_the_demo_says_what_they_are(tmp_path, monkeypatch):
    arguments = ["demo", str(tmp_path), "--reranker", str(tmp_path / "nothing"), "--device", "nowhere"]
    monkeypatch.setattr(demo, "_find_office", _find_no_office)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "tiny demonstration models" in result.stdout.replace("\n", " ")
    assert result.stderr.lstrip().startswith("Error: ")


def test_without_its_package_the_demo_says_what_to_install(tmp_path, monkeypatch):
    # What `import` finds under None it reports as missing.
    monkeypatch.setitem(sys.modules, "qwen3_vl_pocket", None)
    monkeypatch.setitem(sys.modules, "qwen3_vl_pocket.office", None)
    result = CliRunner().invoke(app, ["demo", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "pip install qwen3-vl-pocket" in result.stderr
    assert not (tmp_path / "out").exists()


def _find_no_office():
    def write_office(folder):
        folder.mkdir()
        return type("Office", (), {"folder": folder, "questions": ()})()

    return write_office
