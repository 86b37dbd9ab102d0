"""What did each stage of a training run buy? Its checkpoints on 1,000 unseen items and 160 sets of near misses.

uv run python benchmarks/pocket_stages.py FOLDER_OF_THE_RUN [--items 1000]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from machine import write_result

from qwen3_vl_pocket.training.measurement import measure_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, default=1000)
    options = parser.parse_args()
    write_result("pocket", {"items": options.items, "stages": measure_run(options.folder, items=options.items)})


if __name__ == "__main__":
    main()
