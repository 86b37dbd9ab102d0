"""Collections to evaluate on: unseen items of all groups with questions about them, and sets of near misses."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal, TypeAlias

from qwen3_vl_pocket.world.facts import GROUPS, KINDS, Facts, Group, Kind, draw_facts, draw_near_misses, meets
from qwen3_vl_pocket.world.files import write_clip
from qwen3_vl_pocket.world.pictures import draw_frames, draw_picture
from qwen3_vl_pocket.world.sentences import (
    LANGUAGES,
    Language,
    ask,
    ask_change,
    choose_mentioned,
    describe,
    describe_label,
)

__all__ = ["COMPOSED_KINDS", "HardSet", "Item", "ItemGroup", "Query", "QueryForm", "draw_collection", "draw_hard_sets"]

ItemGroup: TypeAlias = Group | Literal["text"]

QueryForm: TypeAlias = Literal["text", "image", "composed"]

COMPOSED_KINDS: frozenset[Kind] = frozenset({"pair", "count", "page", "chart", "screenshot"})
"""Kinds that a query may ask for by an image and what shall be different."""

_TEXT_SHARE = 0.14
_SHARES: dict[Kind, float] = {
    "pair": 0.11,
    "count": 0.09,
    "page": 0.19,
    "chart": 0.14,
    "screenshot": 0.14,
    "motion": 0.05,
    "change": 0.05,
    "recolor": 0.04,
    "product": 0.10,
}
"""Share of each kind among the items that are not texts."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """An item of a collection.

    Attributes:
        group: How it is counted.
        facts: What is true of it.
        content: What an embedder or reranker takes: a text, or a dict with image, video or text.
    """

    group: ItemGroup
    facts: Facts
    content: Any


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A query that one item of the collection answers.

    Attributes:
        form: Words, an image (or video), or an image and words.
        language: Language of the words.
        content: What an embedder or reranker takes.
        answer: Place of the item.
    """

    form: QueryForm
    language: Language
    content: Any
    answer: int


@dataclass(frozen=True, slots=True, eq=False)
class HardSet:
    """A question, the item that answers it (first), and items that miss it by one value.

    Attributes:
        query: The question, in words.
        language: Language of the question.
        group: Group of the items.
        items: What an embedder or reranker takes; the first is the answer.
    """

    query: str
    language: Language
    group: ItemGroup
    items: tuple[Any, ...]


def draw_collection(count: int, *, seed: int) -> tuple[list[Item], list[Query]]:
    """Returns items of combinations that no training sees, and for each a question in every language.

    Items whose kind allows it are also asked for by another image, and by an image with a wish for a change. Every
    query has exactly one answer in the collection.
    """
    rng = random.Random(f"collection/{seed}")
    taken: set[Facts] = set()
    items: list[Item] = []
    while len(items) < count:
        kind = rng.choices(list(_SHARES), weights=list(_SHARES.values()))[0]
        facts = draw_facts(kind, rng, split="test")
        if facts.canonical not in taken:
            taken.add(facts.canonical)
            is_text = rng.random() < _TEXT_SHARE
            items.append(draw_text(facts, rng) if is_text else draw_item(facts, rng))
    queries = [query for place in range(count) for query in _draw_queries(items, place, taken, rng)]
    return items, queries


def draw_item(facts: Facts, rng: random.Random) -> Item:
    """Returns an image, video, or image with text, of which the facts are true."""
    if GROUPS[facts.kind] == "clip":
        stream = BytesIO()
        write_clip(draw_frames(facts, rng), stream)
        return Item("clip", facts, {"video": stream.getvalue()})
    content: dict[str, Any] = {"image": draw_picture(facts, rng)}
    if facts.kind == "product":
        content["text"] = describe_label(facts, rng.choice(LANGUAGES), rng)
    return Item(GROUPS[facts.kind], facts, content)


def draw_text(facts: Facts, rng: random.Random) -> Item:
    """Returns a text of which the facts are true, in any language."""
    return Item("text", facts, describe(facts, rng.choice(LANGUAGES), rng))


def draw_hard_sets(count: int, *, seed: int, near_misses: int = 20) -> list[HardSet]:
    """Returns questions about unseen items, each with items that differ from its answer in one value; all kinds."""
    rng = random.Random(f"hard/{seed}")
    # A recolouring has 18 near misses at most.
    kinds: list[Kind] = [kind for kind in KINDS if kind != "recolor"]
    return [_draw_hard_set(kinds[number % len(kinds)], rng, near_misses) for number in range(count)]


def _draw_hard_set(kind: Kind, rng: random.Random, near_misses: int) -> HardSet:
    while True:
        facts = draw_facts(kind, rng, split="test")
        near = draw_near_misses(facts, rng, count=near_misses, split=None)
        if len(near) == near_misses:
            break
    language = rng.choices(LANGUAGES, weights=(2, 1, 1))[0]
    items = tuple(draw_item(each, rng).content for each in (facts, *(changed for _, changed in near)))
    return HardSet(ask(facts, language, rng), language, GROUPS[kind], items)


def _draw_queries(items: Sequence[Item], place: int, taken: set[Facts], rng: random.Random) -> list[Query]:
    item = items[place]
    mentioned = choose_unique_slots(item.facts, [other.facts for other in items], rng)
    queries = [
        Query("text", language, ask(item.facts, language, rng, mentioned=mentioned), place) for language in LANGUAGES
    ]
    if item.group not in ("text", "mixed"):
        queries.append(Query("image", "en", draw_item(item.facts, rng).content, place))
    if item.group != "text" and item.facts.kind in COMPOSED_KINDS:
        near = draw_near_misses(item.facts, rng, count=8, split=None)
        free = [(slot, changed) for slot, changed in near if changed not in taken]
        if free:
            slot, changed = rng.choice(free)
            language = rng.choice(LANGUAGES)
            picture = draw_item(changed, rng).content["image"]
            content = {"image": picture, "text": ask_change(item.facts, slot, language, rng)}
            queries.append(Query("composed", language, content, place))
    return queries


def choose_unique_slots(facts: Facts, others: Sequence[Facts], rng: random.Random) -> tuple[str, ...]:
    """Returns slots whose values only `facts` has among `others`: most of them, or all if need be."""
    rivals = [other for other in others if other.kind == facts.kind]
    for share in (0.7, 0.85, 1.0):
        mentioned = choose_mentioned(facts, rng, share=share)
        if sum(meets(other, facts, mentioned) for other in rivals) == 1:
            return mentioned
    return facts.slots
