"""Compiled layers give what plain ones give, for any number of tokens, and say what they cannot compile."""

from __future__ import annotations

import copy
import inspect
import shutil

import numpy as np
import pytest
import torch

from qwen3_vl_retrieval import ModelError
from qwen3_vl_retrieval.engine.language import compiled_layers
from qwen3_vl_retrieval.engine.language.compiled_layers import CompiledLayers

ITEMS = ["a text", "a longer text of several words", {"text": "w " * 300}]

needs_compiler = pytest.mark.skipif(
    shutil.which("c++") is None and shutil.which("g++") is None, reason="PyTorch compiles with a C++ compiler on CPUs"
)


@pytest.fixture(scope="module")
def compiled(make_embedder):
    with pytest.MonkeyPatch.context() as patch:
        # The wrappers that check shapes in tests would be compiled as well.
        for name in ("_project", "_finish", "_normalize", "_turn"):
            patch.setattr(compiled_layers, name, inspect.unwrap(getattr(compiled_layers, name)))
        yield make_embedder(compile_layers=True)


@needs_compiler
def test_vectors_are_those_of_plain_layers(compiled, embedder, media):
    items = [*ITEMS, {"image": media / "rgb_320x240.png"}, {"image": media / "small_20x17.png", "text": "and a text"}]
    expected = embedder.embed(items)
    np.testing.assert_allclose(compiled.embed(items), expected, atol=2e-6)
    # Alone, a row is the only one in the last layer.
    for item, row in zip(items, expected, strict=True):
        np.testing.assert_allclose(compiled.embed([item])[0], row, atol=2e-6)


@needs_compiler
def test_all_layers_share_one_program(compiled):
    counters = torch._dynamo.utils.counters
    compiled.embed(ITEMS)
    before = counters["stats"]["unique_graphs"]
    compiled.embed([f"text {'and more ' * number}" for number in range(1, 9)])
    assert counters["stats"]["unique_graphs"] == before


def test_a_missing_compiler_is_said(make_embedder, monkeypatch):
    import torch._inductor.config

    torch._dynamo.reset()
    monkeypatch.setattr(torch._inductor.config, "force_disable_caches", True)
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    with pytest.raises(ModelError, match=r"could not compile: it needs a C\+\+ compiler"):
        make_embedder(compile_layers=True).embed(["a text"])
    torch._dynamo.reset()


def test_quantised_and_adapted_layers_are_refused(embedder):
    class Adapted(torch.nn.Linear):
        pass

    model = copy.deepcopy(embedder.model.language_model)
    model.layers[1].mlp.up_proj = Adapted(8, 8, bias=False)
    with pytest.raises(ModelError, match=r"cannot compile layers\.1\.mlp\.up_proj, a Adapted"):
        CompiledLayers(model)


def test_named_attention_kernels_are_refused(embedder, make_embedder):
    config = embedder.model.language_model.config
    before = config._attn_implementation
    try:
        config._attn_implementation = "eager"
        with pytest.raises(ModelError, match="goes with PyTorch's attention on one device"):
            make_embedder(compile_layers=True)
    finally:
        config._attn_implementation = before
