"""Checkpoints that are written once a session."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def random_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `embedding` and `reranker`, written as the trained ones are."""
    # Not above: the tests of the world import no torch.
    from random_checkpoints import write_random_checkpoint

    folder = tmp_path_factory.mktemp("checkpoints")
    write_random_checkpoint(folder / "embedding", "embedding", seed=1)
    write_random_checkpoint(folder / "reranker", "reranker", seed=2)
    return folder
