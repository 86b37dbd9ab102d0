"""What the C library keeps of freed memory: layer after layer, no pages are asked for again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
import sys

import torch

from qwen3_vl_retrieval.engine.allocation import keep_freed_memory

if "kept" in sys.argv:
    keep_freed_memory()


def compute():
    for _ in range(20):
        kept = [torch.ones(12 << 18) for _ in range(4)]
        del kept


compute()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
compute()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other thresholds")
def test_states_of_a_layer_are_not_given_back_to_the_system():
    def count(*arguments):
        command = [sys.executable, "-c", COUNT_FAULTS, *arguments]
        run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own script
        return int(run.stdout)

    before = count()
    # 20 rounds of 48 MiB are 245,760 pages.
    assert before > 50_000
    assert count("kept") < before / 20
