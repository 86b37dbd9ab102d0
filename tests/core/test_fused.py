"""Linear layers in few passes over memory give what PyTorch's own give, and leave alone what they must not touch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from qwen3_vl_retrieval.engine.kernels import cpu_linear
from qwen3_vl_retrieval.engine.kernels.cpu_linear import (
    add_linear,
    agrees_with_plain,
    apply_linear,
    apply_linear_gelu,
    has_wide_vectors,
)


@pytest.fixture(params=["AVX2", "AVX512"], autouse=True)
def has_avx512(request, monkeypatch):
    """Both arrangements run on any CPU: oneDNN computes without these instructions, too."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: request.param)
    has_wide_vectors.cache_clear()
    yield request.param == "AVX512"
    has_wide_vectors.cache_clear()


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(24, 40).requires_grad_(False)


@pytest.fixture
def states():
    torch.manual_seed(1)
    return torch.randn(7, 24)


@pytest.fixture
def residual():
    torch.manual_seed(2)
    return torch.randn(7, 40)


def compute(layer, states, residual):
    given = states.clone()
    computed = (
        apply_linear(layer, states),
        apply_linear_gelu(layer, states),
        add_linear(layer, states, residual.clone()),
    )
    assert torch.equal(states, given)
    return computed


def compute_plainly(layer, states, residual):
    plain = functional.linear(states, layer.weight, layer.bias)
    return plain, functional.gelu(plain, approximate="tanh"), plain + residual


def assert_same(layer, states, residual):
    for own, wanted in zip(compute(layer, states, residual), compute_plainly(layer, states, residual), strict=True):
        torch.testing.assert_close(own, wanted, atol=1e-6, rtol=1e-5)


def test_results_are_those_of_plain_layers(layer, states, residual):
    assert_same(layer, states, residual)


def test_layers_without_a_bias_are_served(states, residual):
    assert_same(nn.Linear(24, 40, bias=False).requires_grad_(False), states, residual)


def test_gelu_is_right_far_out_and_over_many_rows(layer):
    torch.manual_seed(3)
    sizes = torch.logspace(-4, 3, 600)[:, None]
    states = torch.randn(600, 24) * sizes
    wanted = functional.gelu(functional.linear(states, layer.weight, layer.bias), approximate="tanh")
    # Rounding of the products grows with what is summed.
    assert ((apply_linear_gelu(layer, states) - wanted).abs() / (1 + sizes)).max() < 1e-6


@pytest.mark.parametrize("has_bias", [False, True])
def test_the_sum_is_written_where_the_residual_is_unless_onednn_writes_it(has_bias, has_avx512, states, residual):
    layer = nn.Linear(24, 40, bias=has_bias).requires_grad_(False)
    wanted = layer(states) + residual
    own = add_linear(layer, states, residual)
    torch.testing.assert_close(own, wanted, atol=1e-6, rtol=1e-5)
    assert (own is residual) != (has_bias and has_avx512)


def test_weights_of_a_class_of_their_own_are_left_to_their_layer(layer, states, residual):
    class Quantised(torch.Tensor):
        """As torchao's: says that it is float32."""

    layer.weight = nn.Parameter(layer.weight.data.as_subclass(Quantised), requires_grad=False)
    assert not cpu_linear._is_served(layer, states)
    assert_same(layer, states, residual)


def test_the_operator_is_used_where_pytorch_has_onednn_and_the_cpu_wide_vectors(has_avx512, layer, states):
    assert agrees_with_plain() == torch.backends.mkldnn.is_available()
    assert cpu_linear._is_served(layer, states) == (torch.backends.mkldnn.is_available() and has_avx512)


@pytest.mark.parametrize("change", ["missing", "wrong", "refusing"])
def test_an_operator_that_is_missing_or_changed_is_not_used(change, monkeypatch, layer, states, residual):
    def give_something_else(*_):
        return torch.zeros(5, 40)

    def refuse(*_):
        raise RuntimeError("expected 7 arguments")

    class Operators:
        pass

    operators = Operators()
    if change != "missing":
        operators._linear_pointwise = give_something_else if change == "wrong" else refuse
        operators._linear_pointwise.binary = operators._linear_pointwise
    monkeypatch.setattr(torch.ops, "mkldnn", operators)
    agrees_with_plain.cache_clear()
    try:
        assert not agrees_with_plain()
        assert_same(layer, states, residual)
    finally:
        agrees_with_plain.cache_clear()


def test_hooks_of_a_layer_run(layer, states):
    seen = []
    layer.register_forward_hook(lambda *_: seen.append("after"))
    layer.register_forward_pre_hook(lambda *_: seen.append("before"))
    apply_linear(layer, states)
    assert seen == ["before", "after"]


def test_a_forward_put_in_place_of_the_layers_own_runs(layer, states):
    layer.forward = lambda states: states * 2
    assert torch.equal(apply_linear(layer, states), states * 2)


def test_layers_of_other_classes_and_precisions_stay_what_they_are(layer, states):
    class Adapted(nn.Linear):
        def forward(self, *states):
            return super().forward(*states) + 1

    adapted = Adapted(24, 40).requires_grad_(False)
    assert not cpu_linear._is_served(adapted, states)
    torch.testing.assert_close(
        apply_linear(adapted, states), functional.linear(states, adapted.weight, adapted.bias) + 1
    )
    half = layer.to(torch.bfloat16)
    assert not cpu_linear._is_served(half, states.bfloat16())
    assert apply_linear_gelu(half, states.bfloat16()).dtype == torch.bfloat16
