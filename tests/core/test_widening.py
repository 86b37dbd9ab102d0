"""Half-precision weights on a CPU without half-precision instructions are computed in float32, a part at a time."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from qwen3_vl_retrieval import Qwen3VLEmbedder
from qwen3_vl_retrieval.engine.kernels.cpu_linear import Upcast
from qwen3_vl_retrieval.loading import find_arithmetic

ITEMS = [{"text": "a text"}, {"text": "another, longer text of more words"}]


@pytest.fixture
def lack_instructions(monkeypatch):
    monkeypatch.setattr("qwen3_vl_retrieval.loading.hardware._find_bfloat16_extension", lambda: None)


@pytest.fixture
def have_instructions(monkeypatch):
    monkeypatch.setattr("qwen3_vl_retrieval.loading.hardware._find_bfloat16_extension", lambda: "AVX512-BF16")


@pytest.fixture(scope="module")
def halve(make_embedder):
    """Embedders around the reference model's weights, rounded to a precision and kept in it or in float32."""
    whole = make_embedder()

    def build(dtype, *, kept=None):
        model = copy.deepcopy(whole.model).to(dtype).to(kept or dtype)
        return Qwen3VLEmbedder(model, whole.processor)

    return build


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.usefixtures("lack_instructions")
def test_vectors_are_those_of_the_same_weights_in_float32(halve, media, dtype):
    items = [*ITEMS, {"image": media / "rgb_320x240.png"}, {"image": media / "tall_64x700.png", "text": "and a text"}]
    half = halve(dtype)
    assert next(half.model.parameters()).dtype == dtype
    vectors = half.embed(items)
    np.testing.assert_allclose(vectors, halve(dtype, kept=torch.float32).embed(items), atol=2e-6)
    # Of one shape, layers share the copy: what the first call wrote must not be in the way of the second.
    np.testing.assert_allclose(half.embed(items[::-1])[::-1], vectors, atol=2e-6)


@pytest.mark.usefixtures("lack_instructions")
def test_the_model_keeps_its_weights_and_one_copy_of_each_shape(halve):
    half = halve(torch.bfloat16)
    widen = Upcast(half.model.language_model)
    first, second = half.model.language_model.layers[:2]
    copied = widen(first)
    assert {parameter.dtype for parameter in copied.parameters()} == {torch.float32}
    torch.testing.assert_close(copied.mlp.up_proj.weight, first.mlp.up_proj.weight.float(), atol=0, rtol=0)
    assert widen(second) is copied
    torch.testing.assert_close(copied.mlp.up_proj.weight, second.mlp.up_proj.weight.float(), atol=0, rtol=0)
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.bfloat16}


@pytest.mark.usefixtures("have_instructions")
def test_weights_stay_what_they_are_where_the_cpu_has_the_instructions(halve):
    half = halve(torch.bfloat16)
    widen = Upcast(half.model)
    assert widen.dtype is None
    assert widen(half.model.visual.merger) is half.model.visual.merger


def test_float32_stays_as_it_is(embedder):
    assert Upcast(embedder.model).dtype is None


@pytest.mark.usefixtures("lack_instructions")
def test_quantised_weights_stay_as_they_are():
    class Quantised(torch.nn.Parameter):
        pass

    layer = torch.nn.Linear(4, 4).to(torch.bfloat16)
    assert Upcast(layer).dtype == torch.float32
    layer.weight = Quantised(layer.weight.data, requires_grad=False)
    assert Upcast(layer).dtype is None
    bytes_only = torch.nn.Linear(4, 4, bias=False).to(torch.float8_e4m3fn)
    assert Upcast(bytes_only).dtype is None


@pytest.mark.parametrize(
    ("dtype", "device", "expected"),
    [
        (torch.bfloat16, "cpu", torch.float32),
        (torch.float16, "cpu", torch.float32),
        (torch.float32, "cpu", torch.float32),
        (torch.bfloat16, "cuda", torch.bfloat16),
        (torch.float16, "mps", torch.float16),
    ],
)
@pytest.mark.usefixtures("lack_instructions")
def test_only_what_a_cpu_emulates_is_computed_in_float32(dtype, device, expected):
    assert find_arithmetic(dtype, torch.device(device)) == expected


@pytest.mark.usefixtures("have_instructions")
def test_bfloat16_is_computed_natively_and_float16_never():
    assert find_arithmetic(torch.bfloat16, torch.device("cpu")) == torch.bfloat16
    assert find_arithmetic(torch.float16, torch.device("cpu")) == torch.float32
