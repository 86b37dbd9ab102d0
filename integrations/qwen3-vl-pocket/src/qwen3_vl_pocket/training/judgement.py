"""What is right about a query and an item: for all of it, yes or no; and slot by slot, for the comparison itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional

from qwen3_vl_pocket.world.facts import SCHEMAS, Facts, meets

__all__ = ["SLOTS", "Judgement", "compute_slot_loss", "judge"]

SLOTS: tuple[str, ...] = ("kind", *sorted({slot for schema in SCHEMAS.values() for slot in schema}))
"""All slots of all kinds, and the kind itself."""

_MIRRORED_SLOTS = {
    "color": "other_color",
    "shape": "other_shape",
    "other_color": "color",
    "other_shape": "shape",
}


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Truth about a query and an item.

    Attributes:
        is_met: Whether the item has everything that the query asks for.
        asked: What the query asks for, a pair of shapes in its canonical wording.
        mentioned: The slots of `asked` that the query names and that can be compared.
        found: What the item is.
        matches: For each of `SLOTS` 0 if the item has another value than the one asked for, and 1 if it has that value
            or the query does not name the slot; NaN where the words leave open which slot they mean, and for all slots
            but the kind if that differs.
    """

    is_met: bool
    asked: Facts
    mentioned: tuple[str, ...]
    found: Facts
    matches: Float32[np.ndarray, " slots"]

    @property
    def names(self) -> list[bool]:
        """For each of `SLOTS` whether the query names it; it always names the kind."""
        return [slot == "kind" or slot in self.mentioned for slot in SLOTS]


def judge(asked: Facts, mentioned: Sequence[str], found: Facts) -> Judgement:
    """Returns the truth about an item that is `found` where a query mentions some slots of `asked`."""
    matches = np.full(len(SLOTS), np.nan, np.float32)
    matches[0] = float(asked.kind == found.kind)
    told, slots = _tell_canonically(asked, mentioned)
    if asked.kind == found.kind and slots:
        # What is not asked for is never wrong: a verdict has to know that, too.
        matches[1:] = 1.0
        for slot in slots:
            matches[SLOTS.index(slot)] = float(found.canonical[slot] == told[slot])
    return Judgement(meets(found, asked, mentioned), told, slots, found, matches)


def _tell_canonically(asked: Facts, mentioned: Sequence[str]) -> tuple[Facts, tuple[str, ...]]:
    """The question in the one wording that slots are compared in; no slots if its words leave open which that is."""
    if asked.kind != "pair":
        return asked, tuple(mentioned)
    if "relation" not in mentioned:
        return asked.canonical, ()
    if asked.canonical == asked:
        return asked, tuple(mentioned)
    return asked.canonical, tuple(_MIRRORED_SLOTS.get(slot, slot) for slot in mentioned)


def compute_slot_loss(
    head: nn.Linear, states: Float[Tensor, "rows hidden"], judgements: Sequence[Judgement]
) -> Float[Tensor, ""]:
    """Returns the mean cross-entropy of telling, from the state behind the prompt, which slots match.

    Half of it is about slots that the query names, half about the others, of which there are more.
    """
    matches = torch.from_numpy(np.stack([judgement.matches for judgement in judgements])).to(states.device)
    is_named = torch.tensor([judgement.names for judgement in judgements], device=states.device)
    losses = functional.binary_cross_entropy_with_logits(head(states), matches.nan_to_num(), reduction="none")
    halves = [losses[~matches.isnan() & chosen] for chosen in (is_named, ~is_named)]
    return torch.stack([half.mean() for half in halves if len(half)]).mean()
