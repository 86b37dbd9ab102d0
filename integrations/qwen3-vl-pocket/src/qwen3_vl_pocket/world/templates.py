"""Templates of sentences: texts with fields, optional parts, alternatives and lists in any order.

The marks are:

- `{thing.a}`: a field, that is a group of slots in a form.
- `[ about {title}]`: left out unless all that is in it is mentioned.
- `(number|no.)`: one of these.
- `<&a {color} header;quantity {quantity}>`: those items whose fields are mentioned, in any order. After `<` stands how
  they are joined: `&` as "a, b and c", `,` with commas, `+` with spaces.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

__all__ = ["Join", "Part", "Scope", "Table", "Template", "parse_template", "render", "resolve_template"]

Table: TypeAlias = Mapping[Any, str]
"""From the values of a group's slots (the bare value if there is one slot, else a tuple) to their text."""

Join: TypeAlias = tuple[str, str]
"""What stands between the items of a list, and before the last."""

_OPENING = frozenset("[(<")
_BETWEEN = frozenset("|;")
_CLOSING = frozenset("])>|;")
_TOKEN = re.compile(r"[^\[\](){}<>|;]+|[\[\](){}<>|;]")


@dataclass(frozen=True, slots=True)
class _Literal:
    text: str


@dataclass(frozen=True, slots=True)
class _Field:
    name: str

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class _Option:
    body: Template


@dataclass(frozen=True, slots=True)
class _Choice:
    bodies: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class _Series:
    join: str
    bodies: tuple[Template, ...]


_Node: TypeAlias = _Literal | _Field | _Option | _Choice | _Series


@dataclass(frozen=True, slots=True)
class Template:
    """A template, parsed."""

    nodes: tuple[_Node, ...]

    def list_literals(self) -> Iterator[str]:
        """Yields every text of the template that is no field."""
        for node in self.nodes:
            if isinstance(node, _Literal):
                yield node.text
            elif isinstance(node, _Option):
                yield from node.body.list_literals()
            elif isinstance(node, _Choice | _Series):
                for body in node.bodies:
                    yield from body.list_literals()


class Part(Protocol):
    """A piece of a sentence that is left after it was decided what is mentioned."""

    def tell(self, values: Sequence[str | None], rng: random.Random) -> str:
        """Returns the text for these values of all slots."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a template may tell, and with which words.

    Attributes:
        tables: By group and form, as in "thing.a".
        getters: By group: takes the key of its tables out of the values of all slots.
        mentioned: The groups that are mentioned.
        implied: The groups that have a text even if nothing is mentioned, such as "a shape".
        joins: By the mark of a list.
    """

    tables: Mapping[str, Table]
    getters: Mapping[str, Callable[[Sequence[str | None]], Any]]
    mentioned: frozenset[str]
    implied: frozenset[str]
    joins: Mapping[str, Join]


@dataclass(frozen=True, slots=True)
class _Text:
    text: str

    def tell(self, values: Sequence[str | None], rng: random.Random) -> str:  # noqa: ARG002 - a part like others
        return self.text


@dataclass(frozen=True, slots=True)
class _Lookup:
    table: Table
    getter: Callable[[Sequence[str | None]], Any]

    def tell(self, values: Sequence[str | None], rng: random.Random) -> str:  # noqa: ARG002 - a part like others
        return self.table[self.getter(values)]


@dataclass(frozen=True, slots=True)
class _Alternatives:
    bodies: tuple[tuple[Part, ...], ...]

    def tell(self, values: Sequence[str | None], rng: random.Random) -> str:
        return render(self.bodies[int(rng.random() * len(self.bodies))], values, rng)


@dataclass(frozen=True, slots=True)
class _Listing:
    bodies: tuple[tuple[Part, ...], ...]
    join: Join

    def tell(self, values: Sequence[str | None], rng: random.Random) -> str:
        texts = [render(body, values, rng) for body in self.bodies]
        rng.shuffle(texts)
        between, last = self.join
        return f"{between.join(texts[:-1])}{last}{texts[-1]}" if len(texts) > 1 else texts[0]


def render(parts: Sequence[Part], values: Sequence[str | None], rng: random.Random) -> str:
    """Returns the text of all parts for these values."""
    return "".join([part.tell(values, rng) for part in parts])


@functools.cache
def parse_template(source: str) -> Template:
    """Returns the template that a text with marks describes.

    Raises:
        ValueError: A bracket is not closed, or closed without having been opened.
    """
    tokens = _TOKEN.findall(source)
    body, position = _parse_body(tokens, 0)
    if position != len(tokens):
        raise ValueError(f"{source!r} closes a bracket that it does not open: check the marks")
    return body


def resolve_template(template: Template, scope: Scope) -> tuple[tuple[Part, ...], frozenset[str]] | None:
    """Returns what of a template is told in a scope, and the groups it tells; `None` if it needs one not mentioned."""
    parts: list[Part] = []
    told: set[str] = set()
    for node in template.nodes:
        found = _resolve_node(node, scope)
        if found is None:
            return None
        parts += found[0]
        told |= found[1]
    return tuple(parts), frozenset(told)


def _parse_body(tokens: Sequence[str], position: int) -> tuple[Template, int]:
    nodes: list[_Node] = []
    while position < len(tokens) and tokens[position] not in _CLOSING:
        mark = tokens[position]
        if mark == "{":
            nodes.append(_Field(tokens[position + 1]))
            position += 3
        elif mark in _OPENING:
            node, position = _parse_bracket(tokens, position)
            nodes.append(node)
        else:
            nodes.append(_Literal(mark))
            position += 1
    return Template(tuple(nodes)), position


def _parse_bracket(tokens: Sequence[str], position: int) -> tuple[_Node, int]:
    opening = tokens[position]
    tokens = list(tokens)
    join = ""
    if opening == "<":
        join, tokens[position + 1] = tokens[position + 1][0], tokens[position + 1][1:]
    bodies: list[Template] = []
    while True:
        body, position = _parse_body(tokens, position + 1)
        bodies.append(body)
        if position == len(tokens):
            raise ValueError(f"{''.join(tokens)!r} does not close {opening!r}: check the marks")
        if tokens[position] not in _BETWEEN:
            break
    if opening == "[":
        return _Option(bodies[0]), position + 1
    return (_Choice(tuple(bodies)) if opening == "(" else _Series(join, tuple(bodies))), position + 1


def _resolve_node(node: _Node, scope: Scope) -> tuple[tuple[Part, ...], frozenset[str]] | None:
    match node:
        case _Literal():
            return (_Text(node.text),), frozenset()
        case _Field():
            if node.group not in scope.mentioned | scope.implied:
                return None
            return (_Lookup(scope.tables[node.name], scope.getters[node.group]),), frozenset({node.group})
        case _Option():
            return _resolve_strictly(node.body, scope) or ((), frozenset())
        case _Choice():
            found = [body for body in (resolve_template(body, scope) for body in node.bodies) if body is not None]
            if not found:
                return None
            return (_Alternatives(tuple(parts for parts, _ in found)),), found[0][1]
        case _Series():
            items = [item for item in (_resolve_strictly(body, scope) for body in node.bodies) if item is not None]
            if not items:
                return None
            told = frozenset[str]().union(*(groups for _, groups in items))
            return (_Listing(tuple(parts for parts, _ in items), scope.joins[node.join]),), told


def _resolve_strictly(template: Template, scope: Scope) -> tuple[tuple[Part, ...], frozenset[str]] | None:
    """Resolves what is only told if it is mentioned, even where it has a text otherwise."""
    found = resolve_template(template, scope)
    return found if found is not None and found[1] <= scope.mentioned else None
