"""The loop that all stages share: schedule, progress, metrics, and checkpoints to go on from."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from qwen3_vl_pocket.training.optimizer import Optimizer

__all__ = ["Losses", "StageOptions", "run_stage"]

Losses: TypeAlias = Mapping[str, Float[Tensor, ""]]
"""The terms of a step's loss by name; their sum is minimised."""

_REPORT_STEPS = 25
_CHECKPOINT_SECONDS = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOptions:
    """How a stage is trained.

    Attributes:
        name: Name of the stage, in files and metrics.
        steps: How many.
        matrix_rate: Highest learning rate of the matrices.
        other_rate: Highest learning rate of the rest.
        warmup_steps: Steps in which the rates rise.
        final_scale: Share of the rates that is left at the end.
        seed: What the stage draws depends on it and the step alone.
    """

    name: str
    steps: int
    matrix_rate: float = 0.02
    other_rate: float = 0.002
    warmup_steps: int = 40
    final_scale: float = 0.05
    seed: int = 0

    def scale_at(self, step: int) -> float:
        """Returns the share of the learning rates at a step: a rise, then half a cosine."""
        progress = step / max(self.steps, 1)
        decayed = self.final_scale + (1 - self.final_scale) * 0.5 * (1 + math.cos(math.pi * progress))
        return min(1.0, (step + 1) / max(self.warmup_steps, 1)) * decayed


def run_stage(
    options: StageOptions,
    modules: Mapping[str, nn.Module],
    compute_losses: Callable[[random.Random, float], Losses],
    *,
    folder: Path,
) -> None:
    """Trains `modules` in place; a finished stage is read from `folder`, an interrupted one goes on.

    Args:
        options: How.
        modules: What to train, by the names in the checkpoint.
        compute_losses: Computes the losses of one step, from a random generator and the share of the stage done.
        folder: Folder of the run: `<stage>.pt` when finished, `<stage>.partial.pt` before, `training.jsonl`.
    """
    finished, partial = folder / f"{options.name}.pt", folder / f"{options.name}.partial.pt"
    if finished.exists():
        _load_modules(modules, torch.load(finished, weights_only=True))
        return
    optimizer = Optimizer(modules.values(), matrix_rate=options.matrix_rate, other_rate=options.other_rate)
    first = 0
    if partial.exists():
        stored = torch.load(partial, weights_only=True)
        _load_modules(modules, stored["modules"])
        optimizer.restore(stored["optimizer"])
        first = stored["step"]
    begun = saved = perf_counter()
    sums: dict[str, float] = {}
    summed = 0
    bar = tqdm(range(first, options.steps), initial=first, total=options.steps, desc=options.name, mininterval=10)
    for step in bar:
        rng = random.Random(f"{options.seed}/{options.name}/{step}")
        torch.manual_seed(rng.getrandbits(32))
        losses = compute_losses(rng, step / options.steps)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step(scale=options.scale_at(step))
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + float(loss.detach())
        summed += 1
        if (step + 1) % _REPORT_STEPS == 0:
            means = {name: round(total / summed, 4) for name, total in sums.items()}
            _append(
                folder, {"stage": options.name, "step": step + 1, "seconds": round(perf_counter() - begun), **means}
            )
            bar.set_postfix(means)
            sums, summed = {}, 0
        if perf_counter() - saved > _CHECKPOINT_SECONDS:
            _save({"modules": _dump_modules(modules), "optimizer": optimizer.state(), "step": step + 1}, partial)
            saved = perf_counter()
    _save(_dump_modules(modules), finished)
    partial.unlink(missing_ok=True)


def _dump_modules(modules: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    return {name: module.state_dict() for name, module in modules.items()}


def _load_modules(modules: Mapping[str, nn.Module], stored: Mapping[str, dict[str, Tensor]]) -> None:
    for name, module in modules.items():
        module.load_state_dict(stored[name])


def _save(content: object, file: Path) -> None:
    """Whole or not at all: a run may be killed while it writes."""
    unfinished = file.with_suffix(".writing")
    torch.save(content, unfinished)
    unfinished.replace(file)


def _append(folder: Path, record: Mapping[str, object]) -> None:
    with (folder / "training.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
