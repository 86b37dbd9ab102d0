"""Shared by all suites: offline, single-threaded arithmetic."""

from __future__ import annotations

import os

# Model hubs are never contacted: a test that would download must fail, not hang.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
