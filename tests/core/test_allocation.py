"""What the C library keeps of freed memory: the states of a layer are not given back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from qwen3_vl_retrieval.engine import engine

MEASURE_MAPPED = """
import ctypes

import torch

from qwen3_vl_retrieval.engine.engine import keep_freed_memory


def measure_mapped():
    fields = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    told = type("mallinfo2", (ctypes.Structure,), {"_fields_": [(name, ctypes.c_size_t) for name in fields]})
    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = told
    return ask().hblkhd


keep_freed_memory()
before = measure_mapped()
states = torch.empty(31 << 20, dtype=torch.uint8)
print(measure_mapped() - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc 2.33 or later can be asked"
)
def test_large_states_come_from_memory_that_is_kept():
    command = [sys.executable, "-c", MEASURE_MAPPED]
    run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own script
    # Otherwise all of it is mapped for this one block, and goes back to the system with it.
    assert int(run.stdout) == 0


def test_a_model_on_the_cpu_has_freed_memory_kept(make_embedder, monkeypatch):
    calls: list[None] = []
    monkeypatch.setattr(engine, "keep_freed_memory", lambda: calls.append(None))
    make_embedder()
    assert len(calls) == 1
