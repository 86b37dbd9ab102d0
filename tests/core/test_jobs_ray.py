"""Actors of a Ray cluster that are killed, and a node that is lost; only where Ray is installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: uv pip install 'ray>=2.40'"),
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="actors are looked up in /proc"),
    pytest.mark.timeout(900),
]


def test_a_killed_actor_and_a_lost_node_lose_nothing(tmp_path):
    script = Path(__file__).parents[1] / "ray_runs.py"
    # A process of its own: Ray starts others, asks for the address of the machine, and warns.
    command = [sys.executable, str(script), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this interpreter
    assert result.returncode == 0, result.stderr[-4000:]
    assert "actor and node killed, nothing lost" in result.stdout
