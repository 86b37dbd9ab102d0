"""Kernels that take rows end to end are used where they give what the formula gives, and nowhere else."""

from __future__ import annotations

import dataclasses
import inspect
import logging

import pytest
import torch
from torch.nn import functional

from qwen3_vl_retrieval.engine.kernels import varlen
from qwen3_vl_retrieval.engine.kernels.varlen import (
    agrees_with_formula,
    attend_by_formula,
    build_spans,
    find_varlen_kernel,
)

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)
HEADS = {"heads": 4, "groups": 2, "size": 16}


@pytest.fixture(autouse=True)
def forget_kernels():
    find_varlen_kernel.cache_clear()
    yield
    find_varlen_kernel.cache_clear()


def attend_row_by_row(query, key, value, spans):
    """PyTorch's own attention, one row after the other: not the formula, and right."""
    mixed = []
    bounds = [tensor.tolist() for tensor in (spans.query_bounds, spans.key_bounds)]
    for row in range(len(bounds[0]) - 1):
        (start, end), (key_start, key_end) = (own[row : row + 2] for own in bounds)
        shared = query.shape[1] // key.shape[1]
        length, before = end - start, (key_end - key_start) - (end - start)
        seen = torch.ones(length, key_end - key_start, dtype=torch.bool)
        own = functional.scaled_dot_product_attention(
            query[start:end].transpose(0, 1)[None],
            key[key_start:key_end].repeat_interleave(shared, 1).transpose(0, 1)[None],
            value[key_start:key_end].repeat_interleave(shared, 1).transpose(0, 1)[None],
            attn_mask=seen.tril(before) if spans.is_causal else seen,
        )
        mixed.append(own[0].transpose(0, 1))
    return torch.cat(mixed)


def align_on_the_left(query, key, value, spans):
    """What some versions do: the first query sees the first key only, though there are keys before it."""
    mixed = attend_row_by_row(query, key, value, dataclasses.replace(spans, is_causal=False))
    return mixed if not spans.is_causal else mixed.flip(0)


def ignore_rows(query, key, value, spans):
    whole = build_spans([len(query)], [len(key)], is_causal=spans.is_causal, device=CPU)
    return attend_row_by_row(query, key, value, whole)


def see_what_comes_later(query, key, value, spans):
    return attend_row_by_row(query, key, value, dataclasses.replace(spans, is_causal=False))


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 16), (torch.bfloat16, 64), (torch.bfloat16, 72)], ids=str)
def test_a_kernel_that_is_right_agrees(dtype, size):
    assert agrees_with_formula(attend_row_by_row, CPU, dtype, heads=4, groups=2, size=size)
    assert agrees_with_formula(attend_by_formula, CPU, dtype, heads=4, groups=4, size=size)


@pytest.mark.parametrize("kernel", [align_on_the_left, ignore_rows, see_what_comes_later])
def test_a_kernel_that_means_something_else_does_not(kernel):
    assert not agrees_with_formula(kernel, CPU, torch.bfloat16, **HEADS)


@pytest.mark.parametrize(
    ("device", "dtype"), [(CPU, torch.bfloat16), (CUDA, torch.float32), (torch.device("mps"), torch.float16)], ids=str
)
def test_only_gpus_in_half_precision_are_asked(device, dtype, monkeypatch):
    monkeypatch.setattr(varlen, "agrees_with_formula", lambda *_, **__: pytest.fail("was tried"))
    assert find_varlen_kernel(device, dtype, **HEADS) is None


@pytest.mark.parametrize(
    ("working", "expected"),
    [
        ({varlen._attend_by_torch, varlen._attend_by_flash_attn}, varlen._attend_by_torch),
        ({varlen._attend_by_flash_attn}, varlen._attend_by_flash_attn),
        (set(), None),
    ],
    ids=["both work", "only flash-attn works", "none works"],
)
@pytest.mark.parametrize("failure", [False, ImportError("no module"), RuntimeError("no kernel image")], ids=str)
def test_the_first_that_works_is_used(working, expected, failure, monkeypatch, caplog):
    def try_kernel(kernel, *_, **__):
        if kernel not in working and failure:
            raise failure
        return kernel in working

    monkeypatch.setattr(varlen, "agrees_with_formula", try_kernel)
    with caplog.at_level(logging.INFO):
        assert find_varlen_kernel(CUDA, torch.bfloat16, **HEADS) is expected
    assert len(caplog.records) == (2 if expected is None else len({expected} - {varlen._attend_by_torch}))


def test_rows_without_a_prefix_have_one_tensor_of_bounds():
    alike = build_spans([3, 4], [3, 4], is_causal=True, device=CPU)
    assert alike.key_bounds is alike.query_bounds
    assert alike.query_bounds.tolist() == [0, 3, 7]
    behind = build_spans([3, 4], [8, 4], is_causal=True, device=CPU)
    assert behind.key_bounds.tolist() == [0, 8, 12]
    assert (behind.longest_query, behind.longest_key) == (4, 8)
    assert behind.key_bounds.dtype == torch.int32


def test_the_kernel_of_pytorch_is_called_as_it_is_declared(monkeypatch):
    module = pytest.importorskip("torch.nn.attention.varlen", reason="came with PyTorch 2.10")
    declared = inspect.signature(module.varlen_attn)

    def attend(*given, **named):
        call = declared.bind(*given, **named).arguments
        assert call["window_size"] in ((-1, 0), (-1, -1))
        spans = varlen.RowSpans(
            call["cu_seq_q"], call["cu_seq_k"], call["max_q"], call["max_k"], call["window_size"] == (-1, 0)
        )
        assert call["enable_gqa"] == (call["query"].shape[1] != call["key"].shape[1])
        return attend_by_formula(call["query"], call["key"], call["value"], spans)

    monkeypatch.setattr(module, "varlen_attn", attend)
    assert agrees_with_formula(varlen._attend_by_torch, CPU, torch.float32, **HEADS)
    assert agrees_with_formula(varlen._attend_by_torch, CPU, torch.float32, heads=2, groups=2, size=16)
