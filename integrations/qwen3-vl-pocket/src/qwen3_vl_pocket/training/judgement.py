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
        matches: For each of `SLOTS` 1 if the item has the value asked for, 0 if it has another, NaN if the slot is
            not asked for or the item has no such slot.
    """

    is_met: bool
    asked: Facts
    mentioned: tuple[str, ...]
    found: Facts
    matches: Float32[np.ndarray, " slots"]


def judge(asked: Facts, mentioned: Sequence[str], found: Facts) -> Judgement:
    """Returns the truth about an item that is `found` where a query mentions some slots of `asked`."""
    matches = np.full(len(SLOTS), np.nan, np.float32)
    matches[0] = float(asked.kind == found.kind)
    told, slots = _tell_canonically(asked, mentioned)
    if asked.kind == found.kind:
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
    """Returns the mean cross-entropy of telling, from the state behind the prompt, which slots match."""
    matches = torch.from_numpy(np.stack([judgement.matches for judgement in judgements])).to(states.device)
    is_asked = ~matches.isnan()
    return functional.binary_cross_entropy_with_logits(head(states)[is_asked], matches[is_asked])
