from __future__ import annotations

import json
import shutil

import pytest

from qwen3_vl_retrieval import FrameSampling, ModelError, PixelBudget, Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.loading.defaults import read_retrieval_defaults

BUDGET = {"min_pixels": 4096, "max_pixels": 20480, "frame_min_pixels": 4096, "frame_max_pixels": 9216}


def write(folder, content):
    (folder / "retrieval_config.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_a_checkpoint_that_states_nothing_gets_the_limits_of_the_official_scripts(tmp_path):
    defaults = read_retrieval_defaults(tmp_path)
    assert defaults.pixel_budget == PixelBudget()
    assert defaults.frame_sampling == FrameSampling()


def test_a_checkpoint_may_state_its_own_limits(tmp_path):
    defaults = read_retrieval_defaults(write(tmp_path, {"pixel_budget": BUDGET, "frame_sampling": {"fps": 2}}))
    assert defaults.pixel_budget == PixelBudget(**BUDGET)
    assert defaults.frame_sampling == FrameSampling(fps=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be used"),
        ({"pixels": {}}, "pixels is unknown"),
        ({"pixel_budget": {"max_pixel": 5}}, "max_pixel"),
        ({"pixel_budget": {"max_pixels": 5}}, "max_pixels=5"),
        ({"frame_sampling": {"fps": 0}}, "fps=0"),
        ("[]", "cannot be used"),
    ],
)
def test_a_damaged_statement_is_an_error_that_names_the_file(tmp_path, content, message):
    with pytest.raises(ModelError, match=message) as caught:
        read_retrieval_defaults(write(tmp_path, content))
    assert "retrieval_config.json" in str(caught.value)


def test_a_loaded_embedder_keeps_to_its_checkpoint_unless_the_caller_says_otherwise(reference, tmp_path):
    folder = write(shutil.copytree(reference / "checkpoints/embedding", tmp_path / "own"), {"pixel_budget": BUDGET})
    photo = {"image": reference / "media/photo_500x333.jpg"}
    stated = Qwen3VLEmbedder.from_pretrained(folder, device="cpu", dtype="float32")
    asked = Qwen3VLEmbedder.from_pretrained(folder, device="cpu", dtype="float32", pixel_budget=PixelBudget())
    assert len(stated.prepare([photo])[0]) < len(asked.prepare([photo])[0])
    assert stated.fingerprint.pixel_budget == PixelBudget(**BUDGET).describe()


def test_a_loaded_reranker_keeps_to_its_checkpoint_unless_the_caller_says_otherwise(reference, tmp_path):
    folder = write(shutil.copytree(reference / "checkpoints/reranker", tmp_path / "own"), {"pixel_budget": BUDGET})
    photo = {"image": reference / "media/photo_500x333.jpg"}
    stated = Qwen3VLReranker.from_pretrained(folder, device="cpu", dtype="float32")
    told = {"device": "cpu", "dtype": "float32", "pixel_budget": PixelBudget(**BUDGET)}
    same = Qwen3VLReranker.from_pretrained(reference / "checkpoints/reranker", **told)
    other = Qwen3VLReranker.from_pretrained(folder, device="cpu", dtype="float32", pixel_budget=PixelBudget())
    margin = stated.score("a", [photo], output="margin")
    assert margin == same.score("a", [photo], output="margin")
    assert margin != other.score("a", [photo], output="margin")
