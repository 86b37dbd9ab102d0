"""What a result was measured on, written beside it and in its name."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def describe_machine() -> dict[str, Any]:
    """Returns processor, number of cores, Python, commit, and the day."""
    cpu = (
        next(
            (
                line.split(":", 1)[1].strip()
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if "model name" in line
            ),
            platform.processor(),
        )
        if Path("/proc/cpuinfo").exists()
        else platform.processor()
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "day": datetime.now(tz=UTC).date().isoformat(),
    }


def name_hardware(device: str) -> str:
    """Returns a device as the names of results have it: ratios depend on the vectors of a CPU."""
    return f"cpu-{torch.backends.cpu.get_cpu_capability().lower()}" if device == "cpu" else device


def write_result(name: str, result: dict[str, Any]) -> None:
    """Writes a result with the machine to `results/<name>.json` and prints it."""
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": describe_machine(), **result}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=2))
