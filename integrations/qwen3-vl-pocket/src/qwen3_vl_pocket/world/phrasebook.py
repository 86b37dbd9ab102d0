"""What the phrases of a language consist of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qwen3_vl_pocket.world.facts import Kind
from qwen3_vl_pocket.world.templates import Join

__all__ = ["Phrasebook", "combine_templates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrasebook:
    """The templates of a language.

    Attributes:
        ask: Queries, by kind.
        describe: Statements, by kind.
        label: What stands beside the photo of a product.
        changes: What is other than in an image, by kind and by the slot that changed: "number" for both digits,
            "everything" where naming one object leaves open which of the two changed.
        change_frames: What changes are put into, at the `@`.
        joins: What stands between the items of lists, and before the last, by the mark of the list.
    """

    ask: Mapping[Kind, Sequence[str]]
    describe: Mapping[Kind, Sequence[str]]
    label: Sequence[str]
    changes: Mapping[Kind, Mapping[str, Sequence[str]]]
    change_frames: Sequence[str]
    joins: Mapping[str, Join]


def combine_templates(frames: Sequence[str], *fillings: str) -> tuple[str, ...]:
    """Returns every filling in every frame, at the `@`."""
    return tuple(frame.replace("@", filling) for filling in fillings for frame in frames)
