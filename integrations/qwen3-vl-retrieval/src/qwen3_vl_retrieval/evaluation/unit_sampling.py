"""Units drawn from an index: each kind as often as the others, and each file before any file comes again."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable

from qwen3_vl_retrieval.documents.units import MediaType
from qwen3_vl_retrieval.evaluation.directory import NamedUnit

__all__ = ["UnitDraw", "order_units"]

_WEIGHT_OF_MISS = 1 / 3
"""Kinds of which little comes are drawn more often, and do not take all the tries."""


def order_units(units: Iterable[NamedUnit], *, seed: int) -> dict[MediaType, list[NamedUnit]]:
    """Returns the units of each kind in the order in which they are drawn.

    The order is by chance, and always the same for the same seed: units that are added later do not change that of the
    others.
    """

    def draw(name: str) -> bytes:
        return hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogatepass")).digest()

    by_file: dict[tuple[MediaType, str], list[NamedUnit]] = defaultdict(list)
    for unit in units:
        by_file[unit.media_type, unit.sources[0] if unit.sources else unit.id].append(unit)
    placed: dict[MediaType, list[tuple[int, bytes, NamedUnit]]] = defaultdict(list)
    for (media_type, source), members in by_file.items():
        for turn, unit in enumerate(sorted(members, key=lambda one: draw(one.id))):
            placed[media_type].append((turn, draw(source), unit))
    return {
        media_type: [unit for _, _, unit in sorted(members, key=lambda one: one[:2])]
        for media_type, members in sorted(placed.items())
    }


class UnitDraw:
    """Units in the order in which they are asked about.

    Args:
        units: All units.
        seed: Another one gives another order.
        is_done: Whether a unit has been asked about before, and what came of it: `True` for a question, `False` for
            none; `None` if it has not.
    """

    def __init__(self, units: Iterable[NamedUnit], *, seed: int, is_done: Callable[[NamedUnit], bool | None]) -> None:
        self._left: dict[MediaType, list[NamedUnit]] = {}
        self._weights: dict[MediaType, float] = {}
        for media_type, members in order_units(units, seed=seed).items():
            outcomes = [(unit, is_done(unit)) for unit in members]
            self._weights[media_type] = 0.0
            self._left[media_type] = [unit for unit, outcome in reversed(outcomes) if outcome is None]
            for _, outcome in outcomes:
                if outcome is not None:
                    self.note(media_type, is_hit=outcome)

    def draw(self) -> NamedUnit | None:
        """Returns the next unit, of the kind of which there are fewest questions; `None` if none is left."""
        waiting = [(self._weights[media_type], left) for media_type, left in self._left.items() if left]
        return min(waiting, key=lambda one: one[0])[1].pop() if waiting else None

    def note(self, media_type: MediaType, *, is_hit: bool) -> None:
        """Notes what came of a unit of a kind: a question, or none."""
        self._weights[media_type] += 1.0 if is_hit else _WEIGHT_OF_MISS
