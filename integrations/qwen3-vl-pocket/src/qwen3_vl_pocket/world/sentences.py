"""Sentences of the world: captions, statements, queries and changes, in English, Chinese and Spanish."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Literal, TypeAlias

from qwen3_vl_pocket.world.facts import SCHEMAS, Facts, Kind
from qwen3_vl_pocket.world.inflections import build_tables
from qwen3_vl_pocket.world.lexicon import LANGUAGES, Language
from qwen3_vl_pocket.world.phrasebook import Phrasebook
from qwen3_vl_pocket.world.phrases_chinese import CHINESE
from qwen3_vl_pocket.world.phrases_english import CAPTIONS, ENGLISH
from qwen3_vl_pocket.world.phrases_spanish import SPANISH
from qwen3_vl_pocket.world.templates import Part, Scope, parse_template, render, resolve_template

__all__ = [
    "LANGUAGES",
    "Language",
    "ask",
    "ask_change",
    "caption",
    "choose_mentioned",
    "describe",
    "describe_label",
    "list_words",
]

_Use: TypeAlias = Literal["ask", "describe", "label", "caption"]
_Parts: TypeAlias = tuple[Part, ...]

_PHRASEBOOKS: Mapping[Language, Phrasebook] = {"en": ENGLISH, "zh": CHINESE, "es": SPANISH}

# What templates call the values of one or more slots, by kind. Tables of words have the same names.
_THINGS = {
    "thing": ("color", "shape"),
    "other_thing": ("other_color", "other_shape"),
    "shape": ("shape",),
    "other_shape": ("other_shape",),
    "paint": ("color", "shape"),
    "other_paint": ("other_color", "other_shape"),
    "color": ("color",),
    "other_color": ("other_color",),
}
_GROUPS: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {
    "pair": {**_THINGS, "relation": ("relation",)},
    "count": {**_THINGS, "many": ("count", "color", "shape")},
    "page": {
        "paper": ("type",),
        **{slot: (slot,) for slot in ("company", "title", "color", "quantity")},
        "number": ("tens", "ones"),
    },
    "chart": {"chart": ("type",), **{slot: (slot,) for slot in ("title", "color", "peak")}, "number": ("tens", "ones")},
    "screenshot": {
        **{slot: (slot,) for slot in ("icon", "company", "fault", "button", "color")},
        "number": ("tens", "ones"),
    },
    "motion": {**_THINGS, "direction": ("direction",)},
    "change": {**_THINGS, "event": ("event",), "moment": ("moment",)},
    "recolor": {"thing": ("color", "shape"), "turn": ("new_color", "shape"), "moment": ("moment",)},
    "product": {"thing": ("color", "shape"), "company": ("company",), "number": ("tens", "ones")},
}
_IMPLIED = frozenset({"thing", "many", "paper", "chart", "event", "turn"})
_MIRRORED = {
    "color": "other_color",
    "shape": "other_shape",
    "other_color": "color",
    "other_shape": "shape",
    "relation": "relation",
}
_NUMBER_SLOTS = frozenset({"tens", "ones"})


def caption(facts: Facts) -> str:
    """Returns all facts in one English phrase that has always the same wording."""
    told = facts.canonical
    (parts,) = _list_sentences("caption", "en", told.kind, frozenset(told.slots))
    return render(parts, told.values, random.Random(0))


def describe(facts: Facts, language: Language, rng: random.Random, *, mentioned: Collection[str] | None = None) -> str:
    """Returns a statement, as a note or the caption of an image has it.

    Args:
        facts: What is true.
        language: Language of the sentence.
        rng: Chooses the wording.
        mentioned: The slots whose values are told; all if `None`.

    Raises:
        ValueError: These slots cannot be told together, or the kind has no such slot.
    """
    return _tell("describe", facts, language, rng, mentioned)


def ask(facts: Facts, language: Language, rng: random.Random, *, mentioned: Collection[str] | None = None) -> str:
    """Returns a query: a question, a noun phrase or a request. See `describe` for the arguments and errors."""
    return _tell("ask", facts, language, rng, mentioned)


def describe_label(facts: Facts, language: Language, rng: random.Random) -> str:
    """Returns the text beside the photo of a product: its maker and its price.

    Raises:
        ValueError: The facts are of another kind.
    """
    if facts.kind != "product":
        raise ValueError(f"a label was asked for facts of kind {facts.kind!r}: only 'product' has labels")
    return _tell("label", facts, language, rng, ("company", "tens", "ones"))


def ask_change(facts: Facts, slot: str, language: Language, rng: random.Random) -> str:
    """Returns the text of a query that stands beside an image, and says what is other in the image looked for.

    Args:
        facts: Facts of the image looked for.
        slot: In which the image looked for differs from the one beside the text.
        language: Language of the text.
        rng: Chooses the wording.

    Raises:
        ValueError: The kind has no such slot, or is no kind of single images.
    """
    changes = _PHRASEBOOKS[language].changes
    if facts.kind not in changes or slot not in facts.slots:
        raise ValueError(f"{slot!r} of {facts.kind!r} was given: changes are told of the slots of {sorted(changes)}")
    if slot in _NUMBER_SLOTS:
        slot = "number"
    if facts.kind == "pair" and any(facts[same] == facts[f"other_{same}"] for same in ("color", "shape")):
        # "With a blue circle" could be said of either object if they share a colour or a shape.
        slot = "everything"
    sentences = _list_changes(language, facts.kind, slot)
    return render(sentences[int(rng.random() * len(sentences))], (*facts.values, None), rng)


def choose_mentioned(facts: Facts, rng: random.Random, *, share: float) -> tuple[str, ...]:
    """Returns a random choice of slots that a sentence can tell together, in the order of the schema.

    Args:
        facts: What is true.
        rng: Chooses.
        share: How probable each slot is, from 0 to 1 (all). Slots that others need are added.
    """
    chosen = {slot for slot in facts.slots if slot != "ones" and rng.random() < share}
    if "tens" in chosen:
        chosen.add("ones")
    if "shape" in facts.slots:
        chosen.add("shape")
    if "relation" in chosen and not chosen & {"other_color", "other_shape"}:
        chosen.add(rng.choice(("other_color", "other_shape")))
    if "moment" in chosen:
        chosen.add("event" if facts.kind == "change" else "new_color")
    if facts.kind == "page" and not chosen & {"company", "title", "tens"}:
        chosen |= rng.choice(({"company"}, {"title"}, _NUMBER_SLOTS))
    if not chosen:
        chosen.add("title" if "title" in facts.slots else rng.choice(("company", "fault")))
    return tuple(slot for slot in facts.slots if slot in chosen)


def list_words() -> list[str]:
    """Returns every word, digit and punctuation mark that occurs in sentences of any language, sorted.

    Words have the case they are used with; Chinese words are those of the lexicon.
    """
    return sorted({word for language in LANGUAGES for word in _list_words(language)})


def _tell(use: _Use, facts: Facts, language: Language, rng: random.Random, mentioned: Collection[str] | None) -> str:
    slots = frozenset(facts.slots if mentioned is None else mentioned)
    if facts.kind == "pair" and rng.random() < 0.5:
        facts, slots = facts.mirrored, frozenset(_MIRRORED.get(slot, slot) for slot in slots)
    sentences = _list_sentences(use, language, facts.kind, slots)
    return render(sentences[int(rng.random() * len(sentences))], (*facts.values, None), rng)


@functools.cache
def _list_sentences(use: _Use, language: Language, kind: Kind, slots: frozenset[str]) -> tuple[_Parts, ...]:
    """Returns the templates that tell all of these slots and no other, ready to be filled."""
    if not slots <= set(SCHEMAS[kind]) or len(slots & _NUMBER_SLOTS) == 1:
        raise ValueError(
            f"slots {sorted(slots)} of {kind!r} were given: there are {list(SCHEMAS[kind])}, and tens go with ones"
        )
    scope = _make_scope(language, kind, slots)
    found: list[_Parts] = []
    for source in _find_templates(use, language, kind):
        resolved = resolve_template(parse_template(_write(source, language)), scope)
        if resolved is not None:
            parts, told = resolved
            if slots <= {slot for group in told for slot in _GROUPS[kind][group]}:
                found.append(parts)
    if not found:
        raise ValueError(f"slots {sorted(slots)} of {kind!r} cannot be told together: choose_mentioned returns some")
    return tuple(found)


@functools.cache
def _list_changes(language: Language, kind: Kind, slot: str) -> tuple[_Parts, ...]:
    book = _PHRASEBOOKS[language]
    scope = _make_scope(language, kind, frozenset(SCHEMAS[kind]))
    sources = [frame.replace("@", change) for change in book.changes[kind][slot] for frame in book.change_frames]
    resolved = [resolve_template(parse_template(_write(source, language)), scope) for source in sources]
    return tuple(found[0] for found in resolved if found is not None)


def _find_templates(use: _Use, language: Language, kind: Kind) -> Sequence[str]:
    book = _PHRASEBOOKS[language]
    if use == "label":
        return book.label
    if use == "caption":
        return CAPTIONS[kind]
    return (book.ask if use == "ask" else book.describe)[kind]


def _make_scope(language: Language, kind: Kind, slots: frozenset[str]) -> Scope:
    schema = tuple(SCHEMAS[kind])
    groups = _GROUPS[kind]
    return Scope(
        tables=_find_tables(language),
        getters={group: _make_getter(schema, own, slots) for group, own in groups.items()},
        mentioned=frozenset(group for group, own in groups.items() if slots & _find_own(group, own)),
        implied=_IMPLIED & groups.keys(),
        joins={
            mark: (_write(between, language), _write(last, language))
            for mark, (between, last) in _PHRASEBOOKS[language].joins.items()
        },
    )


def _find_own(group: str, slots: tuple[str, ...]) -> set[str]:
    # What a shape turns into is worded after the shape, in Spanish, and yet does not tell it.
    return {"new_color"} if group == "turn" else set(slots)


def _make_getter(
    schema: tuple[str, ...], own: tuple[str, ...], slots: frozenset[str]
) -> Callable[[Sequence[str | None]], Any]:
    # The value behind the last slot is None: what is not told.
    return itemgetter(*(schema.index(slot) if slot in slots else len(schema) for slot in own))


def _write(text: str, language: Language) -> str:
    return text.replace(" ", "").replace("~", " ") if language == "zh" else text


@functools.cache
def _find_tables(language: Language) -> Mapping[str, Mapping[Any, str]]:
    """Returns the tables as sentences have them, also under the names of groups of the other object."""
    tables: dict[str, Mapping[Any, str]] = {}
    for name, table in build_tables(language).items():
        written = {key: _write(text, language) for key, text in table.items()}
        tables[name] = written
        tables[f"other_{name}"] = written
    return tables


def _list_words(language: Language) -> Iterator[str]:
    book = _PHRASEBOOKS[language]
    sources: list[str] = [*book.label, *book.change_frames]
    for templates in (*book.ask.values(), *book.describe.values()):
        sources += templates
    for changes in book.changes.values():
        for phrases in changes.values():
            sources += phrases
    if language == "en":
        sources += [source for phrases in CAPTIONS.values() for source in phrases]
    texts = [text for source in sources for text in parse_template(source).list_literals()]
    texts += [text for table in build_tables(language).values() for text in table.values()]
    texts += [text for join in book.joins.values() for text in join]
    for text in texts:
        yield from re.findall(r"[^\W\d_]+|\d|[^\w\s]", text)
