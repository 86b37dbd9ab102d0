"""Shared by all suites: offline, single-threaded arithmetic."""

from __future__ import annotations

import os

import pytest

# Model hubs are never contacted: a test that would download must fail, not hang.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    """Processes share the cores; each computes on one."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch

        torch.set_num_threads(1)
