"""What there is to know about an item of the world: its kind, and one value for each slot of that kind.

Images, sentences, near misses and judgements are all made from facts, so what is true of an item is always known.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

__all__ = [
    "COLORS",
    "COMPANIES",
    "FAULTS",
    "GROUPS",
    "KINDS",
    "SCHEMAS",
    "SHAPES",
    "TITLES",
    "Facts",
    "Group",
    "Kind",
    "Split",
    "change_slot",
    "draw_facts",
    "draw_lookalike",
    "draw_near_misses",
    "meets",
    "split_of",
]

Kind: TypeAlias = Literal["pair", "count", "page", "chart", "screenshot", "motion", "change", "recolor", "product"]
Group: TypeAlias = Literal["scene", "page", "chart", "screenshot", "clip", "mixed"]
Split: TypeAlias = Literal["training", "test"]

COLORS = ("red", "blue", "green", "yellow", "purple", "orange", "black", "pink")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
TITLES = (
    "budget", "garden", "bridge", "travel", "energy", "health", "school", "music",
    "water", "market", "winter", "summer", "hotel", "coffee", "train", "forest",
    "server", "camera", "safety", "sales", "salary", "design", "legal", "museum",
)  # fmt: skip
COMPANIES = (
    "Acme", "Borea", "Corvus", "Delta", "Elmo", "Fjord", "Gizmo", "Helix",
    "Iris", "Juno", "Kappa", "Lumen", "Mira", "Nova", "Orion", "Zeta",
)  # fmt: skip
FAULTS = ("timeout", "denied", "missing", "offline", "full", "expired", "locked", "corrupt")
_TENS = tuple("123456789")
_ONES = tuple("0123456789")

SCHEMAS: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {
    # Two shapes side by side or one above the other. The relation is that of the first to the second.
    "pair": {
        "color": COLORS,
        "shape": SHAPES,
        "relation": ("left", "right", "above", "below"),
        "other_color": COLORS,
        "other_shape": SHAPES,
    },
    # Several equal shapes and one other.
    "count": {
        "count": tuple("2345"),
        "color": COLORS,
        "shape": SHAPES,
        "other_color": COLORS,
        "other_shape": SHAPES,
    },
    # A paper with letterhead, title, number, and a quantity in a table cell.
    "page": {
        "type": ("invoice", "report", "memo", "form"),
        "company": COMPANIES,
        "title": TITLES,
        "tens": _TENS,
        "ones": _ONES,
        "color": COLORS,
        "quantity": _TENS,
    },
    # Four quarters, the highest of them labelled with its value.
    "chart": {
        "type": ("bar", "line"),
        "title": TITLES,
        "color": COLORS,
        "peak": ("Q1", "Q2", "Q3", "Q4"),
        "tens": _TENS,
        "ones": _ONES,
    },
    # A dialog.
    "screenshot": {
        "icon": ("error", "warning", "info", "question"),
        "company": COMPANIES,
        "fault": FAULTS,
        "tens": _TENS,
        "ones": _ONES,
        "button": ("OK", "Cancel", "Retry", "Save"),
        "color": COLORS,
    },
    # A video in which a shape moves and another stands still.
    "motion": {
        "color": COLORS,
        "shape": SHAPES,
        "direction": ("left", "right", "up", "down"),
        "other_color": COLORS,
        "other_shape": SHAPES,
    },
    # A video in which a shape appears or vanishes at the beginning or towards the end, beside one that stays.
    "change": {
        "color": COLORS,
        "shape": SHAPES,
        "event": ("appears", "vanishes"),
        "moment": ("early", "late"),
        "other_color": COLORS,
        "other_shape": SHAPES,
    },
    # A video in which a shape changes its colour.
    "recolor": {
        "shape": SHAPES,
        "color": COLORS,
        "new_color": COLORS,
        "moment": ("early", "late"),
    },
    # A product photo with a text beside it: the image has shape and colour, the text maker and price.
    "product": {
        "color": COLORS,
        "shape": SHAPES,
        "company": COMPANIES,
        "tens": _TENS,
        "ones": _ONES,
    },
}

KINDS: tuple[Kind, ...] = tuple(SCHEMAS)

GROUPS: Mapping[Kind, Group] = {
    "pair": "scene",
    "count": "scene",
    "page": "page",
    "chart": "chart",
    "screenshot": "screenshot",
    "motion": "clip",
    "change": "clip",
    "recolor": "clip",
    "product": "mixed",
}
"""How kinds are counted together in evaluations."""

# Slots whose values must differ, else the item contradicts itself or two of its parts look alike.
_DISTINCT: Mapping[Kind, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = {
    "pair": ((("color", "shape"), ("other_color", "other_shape")),),
    "count": ((("color", "shape"), ("other_color", "other_shape")),),
    "motion": ((("color", "shape"), ("other_color", "other_shape")),),
    "change": ((("color", "shape"), ("other_color", "other_shape")),),
    "recolor": ((("color",), ("new_color",)),),
}

_OPPOSITES = {"left": "right", "right": "left", "above": "below", "below": "above"}

_TEST_SHARE = 8
"""One combination of values in so many is kept out of training."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is true of an item.

    Attributes:
        kind: What it is.
        values: One value for each slot of `SCHEMAS[kind]`, in that order.
    """

    kind: Kind
    values: tuple[str, ...]

    def __getitem__(self, slot: str) -> str:
        return self.values[tuple(SCHEMAS[self.kind]).index(slot)]

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the slots."""
        return tuple(SCHEMAS[self.kind])

    def replace(self, **changes: str) -> Facts:
        """Returns the facts with other values in some slots."""
        values = zip(self.slots, self.values, strict=True)
        return Facts(self.kind, tuple(changes.get(slot, value) for slot, value in values))

    @property
    def canonical(self) -> Facts:
        """The same facts told one way: a pair of shapes can be told from either of them."""
        if self.kind != "pair" or self["relation"] in ("left", "above"):
            return self
        return self.mirrored

    @property
    def mirrored(self) -> Facts:
        """A pair told from the other shape; other kinds as they are."""
        if self.kind != "pair":
            return self
        color, shape, relation, other_color, other_shape = self.values
        return Facts("pair", (other_color, other_shape, _OPPOSITES[relation], color, shape))


def split_of(facts: Facts) -> Split:
    """Returns whether this combination of values is trained on or kept for tests: equal facts, equal answer."""
    told = facts.canonical
    digest = zlib.crc32("|".join((told.kind, *told.values)).encode())
    return "test" if digest % _TEST_SHARE == 0 else "training"


def draw_facts(kind: Kind, rng: random.Random, *, split: Split) -> Facts:
    """Returns random facts of a kind, of combinations that belong to `split`.

    Raises:
        ValueError: There is no such split.
    """
    if split not in get_args(Split):
        raise ValueError(f"split={split!r} is unknown; allowed are {', '.join(get_args(Split))}")
    while True:
        facts = Facts(kind, tuple(rng.choice(values) for values in SCHEMAS[kind].values()))
        if _is_possible(facts) and split_of(facts) == split:
            return facts


def change_slot(facts: Facts, slot: str, rng: random.Random) -> Facts | None:
    """Returns the facts with another value in one slot, or `None` if no other value is possible."""
    others = [value for value in SCHEMAS[facts.kind][slot] if value != facts[slot]]
    rng.shuffle(others)
    for value in others:
        changed = facts.replace(**{slot: value})
        if _is_possible(changed) and changed.canonical != facts.canonical:
            return changed
    return None


def draw_near_misses(
    facts: Facts, rng: random.Random, *, count: int, split: Split | None, slots: Collection[str] | None = None
) -> list[tuple[str, Facts]]:
    """Returns up to `count` different facts that differ in one slot, each with the slot; all of `split`, if given.

    The slots take turns, so that colours, digits, words and relations are all among them. `slots` limits which.
    """
    allowed = [slot for slot in facts.slots if slots is None or slot in slots]
    found: dict[Facts, str] = {}
    rng.shuffle(allowed)
    for turn in range(60 * count):
        if len(found) == count:
            break
        slot = allowed[turn % len(allowed)]
        changed = change_slot(facts, slot, rng)
        if changed is not None and (split is None or split_of(changed) == split):
            found.setdefault(changed.canonical, slot)
    return [(slot, changed) for changed, slot in found.items()]


def draw_lookalike(facts: Facts, rng: random.Random, *, split: Split) -> Facts:
    """Returns facts of another kind with the values that both kinds can have: a chart with a form's title and number.

    Nearly every word of a question for the one is true of the other, which misses it all the same.
    """
    kinds: list[Kind] = [kind for kind in KINDS if kind != facts.kind]
    while True:
        kind = rng.choice(kinds)
        found = draw_facts(kind, rng, split=split)
        for slot, value in zip(facts.slots, facts.values, strict=True):
            if value in SCHEMAS[kind].get(slot, ()) and _is_possible(changed := found.replace(**{slot: value})):
                found = changed
        if split_of(found) == split:
            return found


def meets(facts: Facts, asked: Facts, mentioned: Iterable[str]) -> bool:
    """Returns whether an item has the values that `asked` has in the slots that a query mentions."""
    if facts.kind != asked.kind:
        return False
    slots = tuple(mentioned)
    return any(all(told[slot] == asked[slot] for slot in slots) for told in (facts, facts.mirrored))


def _is_possible(facts: Facts) -> bool:
    return all(
        tuple(facts[slot] for slot in first) != tuple(facts[slot] for slot in second)
        for first, second in _DISTINCT.get(facts.kind, ())
    )
