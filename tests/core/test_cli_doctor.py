"""`qwen3vl doctor`."""

from __future__ import annotations

from pathlib import Path

import av.codec
import pytest
import torch
from typer.testing import CliRunner

from qwen3_vl_retrieval.cli import app, checks

CHECKPOINTS = Path(__file__).parent / "reference" / "checkpoints"


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


def consult(*arguments):
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def test_versions_choices_with_reasons_and_decoders_are_shown():
    result = consult("--device", "cpu", "--dtype", "float32")
    assert result.exit_code == 0, result.output
    for shown in (torch.__version__, "transformers", "asked for", "sdpa", "GiB", "h264 video", "av1 video"):
        assert shown in result.stdout
    assert "Everything that is needed is in order." in result.stdout


def test_models_are_loaded_and_run():
    result = consult(
        *("--model", CHECKPOINTS / "embedding", "--reranker", CHECKPOINTS / "reranker"),
        *("--device", "cpu", "--dtype", "float32"),
    )
    assert result.exit_code == 0, result.output
    assert "64 dimensions" in result.stdout
    assert "2 documents judged" in result.stdout
    assert result.stdout.count("loaded in") == 2


def test_a_model_that_does_not_load_is_status_1(tmp_path):
    result = consult("--model", tmp_path / "nothing")
    assert result.exit_code == 1
    assert "does not load or run" in result.stdout
    assert "Not in order" in result.stdout


def test_a_device_that_is_not_there_is_status_1():
    result = consult("--device", "cuda:99")
    assert result.exit_code == 1
    assert "not usable" in result.stdout


def test_a_missing_package_is_status_1_unless_it_is_optional(monkeypatch):
    find = checks._find_version
    monkeypatch.setattr(checks, "_find_version", lambda name: None if name == "torchvision" else find(name))
    result = consult("--device", "cpu")
    assert result.exit_code == 1
    assert "pip install torchvision" in result.stdout


def test_a_missing_h264_decoder_is_a_failure_and_a_missing_av1_decoder_is_not(monkeypatch):
    open_codec = av.codec.Codec

    def open_few(name, mode):
        if name in ("h264", "av1"):
            raise av.codec.codec.UnknownCodecError(name)
        return open_codec(name, mode)

    monkeypatch.setattr(av.codec, "Codec", open_few)
    states = {check.subject: check.state for check in checks.check_video()}
    assert states == {
        "FFmpeg": "ok",
        "h264 video": "failed",
        "hevc video": "ok",
        "vp9 video": "ok",
        "av1 video": "missing",
    }
