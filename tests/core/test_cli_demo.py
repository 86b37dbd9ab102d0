"""`qwen3vl demo`, and the untrained models that it falls back to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.cli import app, demo
from qwen3_vl_retrieval.cli.standin import write_standin

CHECKPOINTS = Path(__file__).parent / "reference" / "checkpoints"
UNTRAINED = "UNTRAINED MODELS"


def test_without_models_the_demo_runs_three_searches_and_says_that_they_mean_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda _name: None)
    monkeypatch.setattr(demo, "_MAX_PIXELS", 4096)
    result = CliRunner().invoke(app, ["demo", str(tmp_path / "office"), "--device", "cpu", "--dtype", "float32"])
    assert result.exit_code == 0, result.output
    assert result.stdout.count(UNTRAINED) == 2
    assert result.stdout.count("24 of 24 files ranked") == 3
    assert result.stdout.index(UNTRAINED) < result.stdout.index("A question in words")
    assert (tmp_path / "office" / "clips" / "parking-camera.mp4").is_file()


def test_with_models_there_is_no_banner_and_a_wrong_one_is_status_1(tmp_path):
    result = CliRunner().invoke(
        app,
        ["demo", str(tmp_path), "--model", str(tmp_path / "nothing"), "--reranker", str(CHECKPOINTS / "reranker")],
    )
    assert result.exit_code == 1
    assert UNTRAINED not in result.stdout
    assert result.stderr.lstrip().startswith("Error: ")


def test_the_pocket_models_are_taken_where_they_are_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda name: object() if name == "qwen3_vl_pocket" else None)
    assert demo._choose_models(None, None, tmp_path) == ("pocket", "pocket")
    assert demo._choose_models("a", None, tmp_path) == ("a", "pocket")


def test_a_standin_has_the_layout_of_the_reference_checkpoints(tmp_path):
    folder = write_standin(tmp_path, "embedding")
    names = {path.name for path in folder.iterdir()}
    assert {path.name for path in (CHECKPOINTS / "embedding").iterdir()} - names <= {
        "generation_config.json",
        "chat_template.jinja",
    }

    def read_keys(name, path):
        content = json.loads((path / name).read_text())
        parts = ("text_config", "vision_config")
        return set(content) | {f"{part}.{key}" for part in parts for key in content.get(part, ())}

    reference = read_keys("config.json", CHECKPOINTS / "embedding")
    assert read_keys("config.json", folder) <= reference


def test_equal_standins_give_equal_vectors_and_different_inputs_different_ones(tmp_path):
    vectors = []
    for name in ("a", "b"):
        folder = write_standin(tmp_path / name, "embedding")
        embedder = Qwen3VLEmbedder.from_pretrained(folder, device="cpu", dtype="float32")
        vectors.append(embedder.embed(["a red mug", "a blue chair"]))
    assert np.array_equal(vectors[0], vectors[1])
    assert float(vectors[0][0] @ vectors[0][1]) < 0.999


def test_a_standin_reranker_judges(tmp_path):
    folder = write_standin(tmp_path, "reranker")
    reranker = Qwen3VLReranker.from_pretrained(folder, device="cpu", dtype="float32")
    scores = reranker.score("a red mug", ["a red mug", "a blue chair"])
    assert scores.shape == (2,)
    assert scores[0] != scores[1]
