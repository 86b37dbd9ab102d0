"""Shared by all suites: offline, single-threaded arithmetic, and what `dtype="auto"` is taken for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from automatic_dtype import sitecustomize

# Model hubs are never contacted: a test that would download must fail, not hang.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--automatic-dtype`: results must hold on CPUs with and without bfloat16 instructions, whichever runs them."""
    parser.addoption(
        "--automatic-dtype",
        choices=["float32", "bfloat16"],
        help='let dtype="auto" choose as on a CPU without (float32) or with (bfloat16) such instructions',
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Processes share the cores; each computes on one, and so does each that a test starts."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"
        import torch

        torch.set_num_threads(1)
    dtype = config.getoption("--automatic-dtype")
    if dtype is not None:
        # After the hook that asserts shapes, which then loads the module for this one.
        sitecustomize.install(dtype)
        paths = [str(Path(sitecustomize.__file__).parent), os.environ.get("PYTHONPATH", "")]
        os.environ |= {sitecustomize.VARIABLE: dtype, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
