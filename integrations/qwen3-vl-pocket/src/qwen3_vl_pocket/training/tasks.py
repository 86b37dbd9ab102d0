"""What the items and questions of a training step are."""

from __future__ import annotations

import random
from collections.abc import Sequence

from qwen3_vl_pocket.training.corpus import KIND_WEIGHTS, Picture
from qwen3_vl_pocket.training.rows import slot_of
from qwen3_vl_pocket.world.facts import Facts, change_slot, draw_facts
from qwen3_vl_pocket.world.sentences import LANGUAGES, Language, ask, choose_mentioned, describe, describe_label
from qwen3_vl_retrieval.prompting.prompts import Content

__all__ = [
    "choose_language",
    "draw_any_facts",
    "draw_changes",
    "draw_question",
    "show_picture",
    "tell",
    "word_question",
]

_STRANGE_SHARE = 0.12
"""Share of the questions that are about something else: of those, most are of another kind."""

_LANGUAGE_WEIGHTS = (2.0, 1.2, 1.2)


def choose_language(rng: random.Random) -> Language:
    """Returns a language, English more often than the others."""
    return rng.choices(LANGUAGES, weights=_LANGUAGE_WEIGHTS)[0]


def draw_any_facts(rng: random.Random) -> Facts:
    """Returns facts of any kind to train on."""
    kind = rng.choices(list(KIND_WEIGHTS), weights=list(KIND_WEIGHTS.values()))[0]
    return draw_facts(kind, rng, split="training")


def show_picture(picture: Picture, rng: random.Random) -> Sequence[Content]:
    """Returns an image as a document: a product has its label beside it."""
    if picture.facts.kind == "product":
        return (slot_of(picture), describe_label(picture.facts, choose_language(rng), rng))
    return (slot_of(picture),)


def tell(facts: Facts, rng: random.Random) -> str:
    """Returns a text that says everything, as a document would or as a query would."""
    language = choose_language(rng)
    return describe(facts, language, rng) if rng.random() < 0.5 else ask(facts, language, rng)


def draw_question(found: Facts, rng: random.Random, *, progress: float) -> tuple[str, Facts, tuple[str, ...]]:
    """Returns a question to judge an item by: met, missed by some values, or about something else altogether.

    Args:
        found: What the item is.
        rng: Source of chance.
        progress: Share of the stage that is done; near misses become more frequent with it.

    Returns:
        The words, what they ask for, and which slots they name.
    """
    if rng.random() < _STRANGE_SHARE:
        return word_question(draw_any_facts(rng), rng, changes=0)
    return word_question(found, rng, changes=draw_changes(rng, progress=progress))


def word_question(found: Facts, rng: random.Random, *, changes: int) -> tuple[str, Facts, tuple[str, ...]]:
    """Returns a question that an item misses by so many values, with what it asks for and which slots it names.

    Args:
        found: What the item is.
        rng: Source of chance.
        changes: Values at most that the question asks for and the item does not have; 0 is a question that it meets.
    """
    mentioned = choose_mentioned(found, rng, share=rng.choice((0.5, 0.7, 0.85, 1.0, 1.0)))
    asked = found
    for slot in rng.sample(mentioned, min(changes, len(mentioned))):
        changed = change_slot(asked, slot, rng)
        asked = asked if changed is None else changed
    return ask(asked, choose_language(rng), rng, mentioned=mentioned), asked, mentioned


def draw_changes(rng: random.Random, *, progress: float) -> int:
    """Returns by how many values a question shall miss an item: none, several, or, ever more often, one.

    With several, about half the slots of a question differ: what a comparison learns most from. With one, it is what
    the reranker is for.
    """
    if rng.random() < 0.45:
        return 0
    return 1 if rng.random() < 0.25 + 0.5 * progress else rng.randint(2, 5)
