"""`python -m qwen3_vl_pocket.training`: trains the pair, from nothing to checkpoint folders and their metrics."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from qwen3_vl_pocket.training.measurement import measure_run
from qwen3_vl_pocket.training.recipe import Recipe, train_pair


def main() -> None:
    """Runs or resumes the recipe."""
    parser = argparse.ArgumentParser(prog="python -m qwen3_vl_pocket.training", description=__doc__, allow_abbrev=False)
    parser.add_argument("--folder", type=Path, default=Path("pocket-training"), help="where the run is kept")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where to compute")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    parser.add_argument("--share", type=float, default=1.0, help="of the recipe's steps and data, to try it out")
    parser.add_argument("--until", default="s3", help="last stage: sight, foundation, s0, s1, reranker, s2 or s3")
    parser.add_argument("--items", type=int, default=1000, help="unseen items to measure on; 0 measures nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe(seed=options.seed)
    if options.share < 1:
        recipe = recipe.shorten(options.share)
    train_pair(recipe, options.folder, device=options.device, until=options.until)
    if options.items:
        measure_run(options.folder, items=options.items)


if __name__ == "__main__":
    main()
