"""Choices of device, dtype and attention, on machines that PyTorch is made to report."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

from qwen3_vl_retrieval import ModelError
from qwen3_vl_retrieval.loading import choose_attention, choose_device, choose_dtype

CPU = torch.device("cpu")
CUDA = torch.device("cuda")
MPS = torch.device("mps")


@pytest.fixture
def have(monkeypatch):
    """Makes PyTorch report GPUs; nothing is run on them."""

    def report(*, cuda=0, mps=False, capability=(8, 0)):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return report


@pytest.fixture
def have_cpu(monkeypatch):
    """Makes this machine report another processor."""

    def report(machine, *, system="Linux", capabilities=None):
        monkeypatch.setattr("platform.machine", lambda: machine)
        monkeypatch.setattr("platform.system", lambda: system)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities or {}, raising=False)

    return report


@pytest.mark.parametrize(
    ("machine", "device"),
    [({"cuda": 1, "mps": True}, "cuda"), ({"mps": True}, "mps"), ({}, "cpu")],
)
def test_the_best_device_is_cuda_then_mps_then_cpu(have, machine, device):
    have(**machine)
    choice = choose_device(None)
    assert choice.value == torch.device(device)
    assert choice.reason


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_a_device_is_taken_as_asked_for(have, device):
    have(cuda=1)
    assert choose_device(device).value == CPU


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", "finds no CUDA device"),
        ("mps", "finds no MPS device"),
        ("auto", "'auto' is unknown"),
        ("meta", "'meta' is not supported"),
    ],
)
def test_an_unavailable_or_unknown_device_is_refused(have, device, message):
    have()
    with pytest.raises(ModelError, match=message):
        choose_device(device)


def test_a_device_number_beyond_the_last_is_refused(have):
    have(cuda=2)
    assert choose_device("cuda:1").value.index == 1
    with pytest.raises(ModelError, match="highest of 2 is 'cuda:1'"):
        choose_device("cuda:2")


@pytest.mark.parametrize(
    ("capability", "dtype"), [((9, 0), torch.bfloat16), ((8, 0), torch.bfloat16), ((7, 5), torch.float32)]
)
def test_auto_is_bfloat16_on_gpus_with_the_arithmetic(have, capability, dtype):
    have(cuda=1, capability=capability)
    choice = choose_dtype("auto", CUDA)
    assert choice.value == dtype
    assert f"{capability[0]}.{capability[1]}" in choice.reason


def test_auto_is_float32_on_mps():
    assert choose_dtype("auto", MPS).value == torch.float32


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": False, "avx512_f": True}, torch.float32),
    ],
)
def test_auto_is_bfloat16_on_x86_processors_with_the_instructions(have_cpu, capabilities, dtype):
    have_cpu("x86_64", capabilities=capabilities)
    assert choose_dtype("auto", CPU).value == dtype


def test_x86_processors_are_asked_on_older_pytorch_too(have_cpu, monkeypatch):
    have_cpu("x86_64")
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert choose_dtype("auto", CPU).reason == "the CPU has AMX-BF16"


@pytest.mark.parametrize(
    ("system", "is_supported", "dtype"),
    [("Linux", True, torch.bfloat16), ("Linux", False, torch.float32), ("Darwin", True, torch.float32)],
)
def test_auto_is_bfloat16_on_arm_where_linux_pytorch_uses_it(have_cpu, monkeypatch, system, is_supported, dtype):
    have_cpu("arm64", system=system, capabilities={"avx512_bf16": True})
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: is_supported)
    assert choose_dtype("auto", CPU).value == dtype


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
        (torch.float16, torch.float16),
    ],
)
def test_a_dtype_is_taken_as_asked_for(dtype, expected):
    assert choose_dtype(dtype, CPU).value == expected


@pytest.mark.parametrize("dtype", ["fp16", "int8", torch.float64, torch.int8])
def test_another_dtype_is_refused(dtype):
    with pytest.raises(ModelError, match="allowed are 'auto', 'float32', 'bfloat16', 'float16'"):
        choose_dtype(dtype, CPU)


@pytest.fixture
def have_flash(monkeypatch):
    for name in ("flash_attn", "flash_attn_interface"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))


@pytest.mark.usefixtures("have_flash")
def test_pytorch_attention_is_chosen_even_where_flash_attention_can_run(have):
    have(cuda=1, capability=(8, 0))
    choice = choose_attention("auto", CUDA, torch.bfloat16)
    assert choice.value == "sdpa"
    assert "packed" in choice.reason
    assert choose_attention("flash_attention_2", CUDA, torch.bfloat16).value == "flash_attention_2"


@pytest.mark.usefixtures("have_flash")
@pytest.mark.parametrize(
    ("device", "dtype", "capability", "reason"),
    [
        (CPU, torch.bfloat16, (8, 0), "not cpu"),
        (CUDA, torch.float32, (8, 0), "not float32"),
        (CUDA, torch.float16, (7, 5), "the GPU has 7.5"),
    ],
)
def test_flash_attention_is_refused_where_it_cannot_run(have, device, dtype, capability, reason):
    have(cuda=1, capability=capability)
    with pytest.raises(ModelError, match=reason):
        choose_attention("flash_attention_2", device, dtype)


def test_flash_attention_that_does_not_import_is_refused(have, monkeypatch):
    have(cuda=1)
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    with pytest.raises(ModelError, match="flash_attn does not import"):
        choose_attention("flash_attention_2", CUDA, torch.bfloat16)


@pytest.mark.usefixtures("have_flash")
def test_flash_attention_3_needs_hopper(have):
    have(cuda=1, capability=(9, 0))
    assert choose_attention("flash_attention_3", CUDA, torch.bfloat16).value == "flash_attention_3"
    have(cuda=1, capability=(8, 9))
    with pytest.raises(ModelError, match=r"needs compute capability 9\.0"):
        choose_attention("flash_attention_3", CUDA, torch.bfloat16)


@pytest.mark.parametrize("name", ["sdpa", "eager"])
def test_a_kernel_of_pytorch_is_taken_as_asked_for(name):
    assert choose_attention(name, CPU, torch.float32).value == name


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ModelError, match="'flash' is unknown; allowed are 'auto', 'sdpa', 'eager'"):
        choose_attention("flash", CPU, torch.float32)
