"""Quantisation configurations; the libraries are replaced where they are not installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import BitsAndBytesConfig

from qwen3_vl_retrieval import ModelError
from qwen3_vl_retrieval.loading import build_quantization, hash_parameters, load_model, name_quantization

REFERENCE = Path(__file__).parent / "reference/checkpoints"
CPU = torch.device("cpu")
CUDA = torch.device("cuda")
INSTALL = r'pip install "qwen3-vl-retrieval\[quantization\]"'


@pytest.fixture
def libraries(monkeypatch, tmp_path):
    """Installs empty stand-ins for bitsandbytes and accelerate; transformers asks for their versions only."""
    bitsandbytes = ModuleType("bitsandbytes")
    bitsandbytes.supported_torch_devices = {"cuda", "xpu"}
    monkeypatch.setitem(sys.modules, "bitsandbytes", bitsandbytes)
    monkeypatch.setitem(sys.modules, "accelerate", ModuleType("accelerate"))
    metadata = tmp_path / "bitsandbytes-0.48.0.dist-info/METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: bitsandbytes\nVersion: 0.48.0\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_nothing_asked_for_is_nothing():
    assert build_quantization(None, CPU) is None


def test_a_ready_configuration_is_taken_as_it_is():
    config = BitsAndBytesConfig(load_in_8bit=True)
    assert build_quantization(config, CPU) is config


@pytest.mark.parametrize("quantization", ["int4", {"load_in_4bit": True}])
def test_an_unknown_quantization_is_refused(quantization):
    with pytest.raises(ModelError, match="allowed are 'bitsandbytes-4bit', 'bitsandbytes-8bit', 'torchao-int8'"):
        build_quantization(quantization, CPU)


@pytest.mark.usefixtures("libraries")
def test_four_bits_are_nf4_with_bfloat16_arithmetic():
    config = build_quantization("bitsandbytes-4bit", CUDA).to_dict()
    assert config["load_in_4bit"] is True
    assert config["bnb_4bit_quant_type"] == "nf4"
    assert config["bnb_4bit_use_double_quant"] is True
    assert config["bnb_4bit_compute_dtype"] == "bfloat16"
    assert config["llm_int8_skip_modules"] == ["visual", "lm_head"]


@pytest.mark.usefixtures("libraries")
def test_eight_bits_leave_the_vision_tower_as_it_is():
    config = build_quantization("bitsandbytes-8bit", CUDA).to_dict()
    assert (config["load_in_8bit"], config["load_in_4bit"]) == (True, False)
    assert config["llm_int8_skip_modules"] == ["visual", "lm_head"]


@pytest.mark.usefixtures("libraries")
def test_a_device_that_bitsandbytes_cannot_use_is_refused():
    with pytest.raises(ModelError, match="cannot run on cpu: the installed bitsandbytes supports cuda, xpu"):
        build_quantization("bitsandbytes-4bit", CPU)


@pytest.mark.parametrize(
    ("quantization", "missing"),
    [
        ("bitsandbytes-4bit", "bitsandbytes"),
        ("bitsandbytes-8bit", "accelerate"),
        ("torchao-int8", "torchao.quantization"),
        ("torchao-int8", "accelerate"),
    ],
)
@pytest.mark.usefixtures("libraries")
def test_a_missing_library_is_named(monkeypatch, quantization, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModelError, match=rf"needs {missing}, which does not import: {INSTALL}"):
        build_quantization(quantization, CUDA)


def compute_state(model):
    token_ids = torch.arange(40, 104)[None]
    with torch.inference_mode():
        return model(input_ids=token_ids, attention_mask=torch.ones_like(token_ids)).last_hidden_state[0, -1]


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("torchao", "accelerate")), reason="needs the quantization extra"
)
@pytest.mark.filterwarnings("default")  # raised inside torchao at import
def test_int8_weights_of_the_language_model_keep_its_direction():
    full = load_model(REFERENCE / "embedding", kind="embedding", device="cpu", dtype="float32").model
    quantised = load_model(
        REFERENCE / "embedding", kind="embedding", device="cpu", dtype="float32", quantization="torchao-int8"
    ).model
    plain = {name for name, parameter in quantised.named_parameters() if type(parameter.data) is torch.Tensor}
    packed = {name for name, _ in quantised.named_parameters()} - plain
    assert len(packed) == 7 * 4
    assert all(name.startswith("language_model.layers.") and "_proj" in name for name in packed)
    assert torch.cosine_similarity(compute_state(full), compute_state(quantised), dim=0) > 0.999
    assert hash_parameters(quantised) != hash_parameters(full)


def test_a_quantisation_has_a_short_name_for_fingerprints():
    assert name_quantization("torchao-int8") == "torchao-int8"
    first, second = (BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=size) for size in (5.0, 6.0))
    assert name_quantization(first) == name_quantization(first)
    assert name_quantization(first) != name_quantization(second)
    assert name_quantization(first).startswith("BitsAndBytesConfig-")
