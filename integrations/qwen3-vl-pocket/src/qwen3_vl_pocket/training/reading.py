"""Reading facts off states: which value each slot of an item has, told linearly from one state or many."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from qwen3_vl_pocket.training.model import HIDDEN_SIZE
from qwen3_vl_pocket.world.facts import KINDS, SCHEMAS, Facts

__all__ = ["FactReader", "cut_at_random"]

_WIDTHS = (HIDDEN_SIZE, HIDDEN_SIZE, HIDDEN_SIZE // 2, HIDDEN_SIZE // 4)
"""Lengths that vectors are cut to before reading (Matryoshka); the full length twice as often."""


class FactReader(nn.Module):
    """One linear classifier for each slot and for the kind, over unit vectors; thrown away after training.

    They ask for every fact of every item at every step, where a contrastive loss says only which of the batch's items
    is meant, and a caption reaches the vision tower through all of the language model (benchmarks/LOG.md).
    """

    def __init__(self) -> None:
        super().__init__()
        self._starts: dict[tuple[str, tuple[str, ...]], int] = {}
        count = len(KINDS)
        for kind in KINDS:
            for slot, values in SCHEMAS[kind].items():
                if (slot, values) not in self._starts:
                    self._starts[slot, values] = count
                    count += len(values)
        self.classifiers = nn.Linear(HIDDEN_SIZE, count)

    def list_spans(self) -> list[tuple[str, int, int]]:
        """Returns slot, first output and number of outputs of each classifier, that of the kind first."""
        slots = [(slot, start, len(values)) for (slot, values), start in self._starts.items()]
        return [("kind", 0, len(KINDS)), *slots]

    def read(self, states: Float[Tensor, "n hidden"]) -> Float[Tensor, "n values"]:
        """Returns the logits of all values of all slots."""
        return self.classifiers(functional.normalize(states, dim=-1) * states.shape[1] ** 0.5)

    def read_votes(
        self, tokens: Float[Tensor, "tokens hidden"], spans: Sequence[tuple[int, int]]
    ) -> Float[Tensor, "n values"]:
        """Returns the logits that the visual tokens of each image vote for; the surest token counts most."""
        votes = self.read(tokens)
        return torch.stack([torch.logsumexp(votes[start:end], dim=0) for start, end in spans])

    def compute_loss(
        self,
        logits: Float[Tensor, "n values"],
        items: Sequence[Facts],
        *,
        mentioned: Sequence[Collection[str]] | None = None,
    ) -> Float[Tensor, ""]:
        """Returns the mean cross-entropy of the items' values, or of the values in the slots mentioned of each."""
        losses = [
            functional.cross_entropy(logits[lines, start : start + count], values, reduction="none")
            for start, count, lines, values in self._group(items, mentioned, logits.device)
        ]
        return torch.cat(losses).mean()

    @torch.no_grad()
    def measure_accuracy(self, logits: Float[Tensor, "n values"], items: Sequence[Facts]) -> dict[str, float]:
        """Returns the share of right values by kind and slot."""
        found: dict[str, list[bool]] = {}
        for line, item in enumerate(items):
            told = item.canonical
            for slot, values in SCHEMAS[told.kind].items():
                start = self._starts[slot, values]
                best = int(logits[line, start : start + len(values)].argmax())
                found.setdefault(f"{told.kind}/{slot}", []).append(values[best] == told[slot])
        return {name: sum(right) / len(right) for name, right in found.items()}

    def _group(
        self, items: Sequence[Facts], mentioned: Sequence[Collection[str]] | None, device: torch.device
    ) -> list[tuple[int, int, Tensor, Tensor]]:
        """For each classifier its first output, number of outputs, and the items with their values."""
        groups: dict[tuple[int, int], tuple[list[int], list[int]]] = {
            (0, len(KINDS)): (list(range(len(items))), [KINDS.index(item.kind) for item in items])
        }
        for line, item in enumerate(items):
            told = item.canonical
            for (slot, values), value in zip(SCHEMAS[told.kind].items(), told.values, strict=True):
                if mentioned is not None and slot not in mentioned[line]:
                    continue
                lines, places = groups.setdefault((self._starts[slot, values], len(values)), ([], []))
                lines.append(line)
                places.append(values.index(value))
        return [
            (start, count, torch.tensor(lines, device=device), torch.tensor(places, device=device))
            for (start, count), (lines, places) in groups.items()
        ]


def cut_at_random(states: Float[Tensor, "n hidden"], rng: random.Random) -> Float[Tensor, "n hidden"]:
    """Returns the states with only their first half or quarter kept here and there (Matryoshka), zeros behind."""
    kept = torch.tensor([rng.choice(_WIDTHS) for _ in range(len(states))], device=states.device)
    return states * (torch.arange(states.shape[1], device=states.device) < kept[:, None])
