"""Chroma's `where` language as a condition in SQL, so that callers write one dict for both.

Every name and value travels as a parameter; only operators and the fixed columns are ever written into the SQL.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.paths import encode_name, encode_path

__all__ = ["COLUMN_NAMES", "SqlFilter", "compile_filter", "list_filter_names"]

_Kind: TypeAlias = Literal["text", "number", "boolean"]
_Scalar: TypeAlias = "str | int | float"

_COLUMNS: dict[str, tuple[str, _Kind]] = {
    "id": ("u.id", "text"),
    "media_type": ("u.media_type", "text"),
    "page": ("u.page", "number"),
    "start": ("u.start", "number"),
    "end": ('u."end"', "number"),
    "width": ("u.width", "number"),
    "height": ("u.height", "number"),
    "mime_type": ("u.mime_type", "text"),
    "sha256": ("u.sha256", "text"),
    "source": ("p.source", "text"),
}

COLUMN_NAMES: frozenset[str] = frozenset(_COLUMNS)
"""Names that a filter looks for in columns; metadata under these names would never be found."""

_COMPARISONS = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_ORDERINGS = frozenset({"$gt", "$gte", "$lt", "$lte"})
_OPPOSITES = {"$ne": "$eq", "$nin": "$in"}
_OPERATORS = (*_COMPARISONS, *_OPPOSITES, "$in")
_CONNECTIVES: dict[str, Literal["AND", "OR"]] = {"$and": "AND", "$or": "OR"}

_JSON_TYPES: dict[_Kind, str] = {
    "text": "m.type = 'text'",
    "number": "m.type IN ('integer', 'real')",
    "boolean": "m.type IN ('true', 'false')",
}

_SOUND_METADATA = "json_each(CASE WHEN json_valid(p.metadata) THEN p.metadata ELSE '{}' END)"

_MOST_LEVELS = 32
"""Nested `$and` and `$or`. SQLite's parser has room for 100 pending symbols (`YYSTACKDEPTH`), see `_join_clauses`."""

_MOST_CONDITIONS = 500
"""Each adds a level to SQLite's expression, of which 1,000 are allowed (https://www.sqlite.org/limits.html, 3)."""

_MOST_VALUES = 30_000
"""Names and values together; a statement of SQLite takes 32,766 (https://www.sqlite.org/limits.html, 9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlFilter:
    """A condition over `units AS u JOIN places AS p ON p.unit = u.row`.

    Attributes:
        condition: SQL in parentheses, for a `WHERE` beside `AND` and `OR`; where a column is NULL it may be NULL.
        parameters: What its question marks stand for, in order.
    """

    condition: str
    parameters: tuple[_Scalar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """One name compared with values of one kind; several values only for `$in` and `$nin`."""

    name: str
    operator: str
    kind: _Kind
    values: tuple[_Scalar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    connective: Literal["AND", "OR"]
    members: tuple[_Node, ...]


_Node: TypeAlias = "_Comparison | _Group"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clause:
    """SQL of a node; `pending` is the number of symbols that SQLite's parser holds to read its parentheses."""

    condition: str
    parameters: tuple[_Scalar, ...]
    pending: int = 0


def compile_filter(where: Mapping[str, Any]) -> SqlFilter:
    """Returns `where` as a condition in SQL.

    `{"media_type": "page"}` is short for `{"media_type": {"$eq": "page"}}`. There are `$eq`, `$ne`, `$gt`, `$gte`,
    `$lt`, `$lte`, `$in` and `$nin`, joined by `$and` and `$or`. `COLUMN_NAMES` are columns, any other name is the
    caller's own metadata; an item given in memory has no `source`.

    What is found is what Chroma 1.5.9 finds: `$ne` and `$nin` also find units without the name; a number, a text
    and a boolean are never equal; 2024 and 2024.0 are; only numbers have an order. Beyond Chroma, all of several
    names or operators in one dict must hold, `$and` and `$or` take a single condition, and `$in` takes whole numbers
    beside fractions. Unlike Chroma, which compares whole numbers with the truncated fraction, 2024 is not 2024.5.

    Raises:
        ValueError: `where` is not of this language, or larger than SQLite can read.
    """
    clause = _compile_node(_parse_filter(where))
    if len(clause.parameters) > _MOST_VALUES:
        raise ValueError(
            f"where holds {len(clause.parameters):,} names and values, allowed are {_MOST_VALUES:,}; split the search"
        )
    return SqlFilter(condition=clause.condition, parameters=clause.parameters)


def list_filter_names(where: Mapping[str, Any]) -> set[str]:
    """Returns the names that `where` asks for, without operators.

    Raises:
        ValueError: As for `compile_filter`.
    """
    return {comparison.name for comparison in _list_comparisons(_parse_filter(where))}


def _parse_filter(where: object) -> _Node:
    node = _parse_conditions(where, level=0)
    count = sum(1 for _ in _list_comparisons(node))
    if count > _MOST_CONDITIONS:
        raise ValueError(
            f"where holds {count:,} conditions, allowed are {_MOST_CONDITIONS}; join values of one name with $in"
        )
    return node


def _parse_conditions(where: object, *, level: int) -> _Node:
    if not isinstance(where, Mapping):
        raise ValueError(  # noqa: TRY004 - a filter often comes from JSON: all that can be wrong with it is one error
            f"where must be a dict of names and conditions such as {{'media_type': 'page'}}, got {_show(where)}"
        )
    conditions = cast("Mapping[Any, Any]", where)
    if not conditions:
        raise ValueError("where is an empty dict; give a condition such as {'media_type': 'page'}, or no where at all")
    if level > _MOST_LEVELS:
        raise ValueError(f"where nests $and and $or deeper than {_MOST_LEVELS} levels; flatten it")
    return _join_nodes("AND", [_parse_entry(name, value, level=level) for name, value in conditions.items()])


def _parse_entry(name: object, value: object, *, level: int) -> _Node:
    """One key of a dict with what it stands for."""
    if not isinstance(name, str):
        raise ValueError(f"where has the name {_show(name)}; names are str")  # noqa: TRY004 - as above
    if name in _CONNECTIVES:
        members = _check_list(name, value, "conditions")
        return _join_nodes(_CONNECTIVES[name], [_parse_conditions(member, level=level + 1) for member in members])
    if name.startswith("$"):
        raise ValueError(
            f"{quote(name)} cannot join conditions; allowed are $and and $or, and operators inside a name: "
            "{'page': {'$gte': 2}}"
        )
    _check_text(name)
    if not isinstance(value, Mapping):
        return _parse_comparison(name, "$eq", value)
    operands = cast("Mapping[Any, Any]", value)
    if not operands:
        raise ValueError(f"{quote(name)} has an empty dict; give an operator: {{{quote(name)}: {{'$gte': 2}}}}")
    return _join_nodes("AND", [_parse_comparison(name, operator, operand) for operator, operand in operands.items()])


def _parse_comparison(name: str, operator: object, operand: object) -> _Comparison:
    if not isinstance(operator, str) or operator not in _OPERATORS:
        raise ValueError(
            f"{quote(name)} has the operator {_show(operator)}; allowed are {', '.join(sorted(_OPERATORS))}"
        )
    values = _check_list(operator, operand, "values") if operator in ("$in", "$nin") else [operand]
    if name == "source":
        values = [_find_source(value) for value in values]
    kinds: set[_Kind] = {_find_kind(name, value) for value in values}
    if len(kinds) > 1:
        raise ValueError(
            f"{operator} of {quote(name)} mixes {' and '.join(sorted(kinds))} values; give values of one kind, "
            "and join several lists with $or"
        )
    kind = kinds.pop()
    if operator in _ORDERINGS and kind != "number":
        raise ValueError(
            f"{operator} of {quote(name)} orders numbers only, got {_show(operand)}; keep what is to be ordered as a "
            "number, a date as 20241231"
        )
    return _Comparison(name=name, operator=operator, kind=kind, values=tuple(cast("Sequence[_Scalar]", values)))


def _find_source(value: object) -> object:
    """A path as sources are kept: also one that is given as a text with bytes that are no UTF-8."""
    if isinstance(value, str):
        return encode_name(value)
    return encode_path(value) if isinstance(value, Path) else value


def _find_kind(name: str, value: object) -> _Kind:
    match value:
        case bool():
            return "boolean"
        case int():
            if not -(2**63) <= value < 2**63:
                raise ValueError(f"{quote(name)} is compared with {_show(value)}; whole numbers have 64 bits at most")
            return "number"
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{quote(name)} is compared with {value}; numbers must be finite")
            return "number"
        case str():
            _check_text(value)
            return "text"
        case _:
            raise ValueError(f"{quote(name)} is compared with {_show(value)}; allowed are str, int, float and bool")


def _check_list(operator: str, value: object, content: str) -> Sequence[object]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(
            f"{operator} needs a list of at least one of its {content}, got {_show(cast('object', value))}"
        )
    return cast("Sequence[object]", value)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"where holds half of a surrogate pair in {_show(text)}, which is no character") from error


def _join_nodes(connective: Literal["AND", "OR"], nodes: Sequence[_Node]) -> _Node:
    """One group without groups of the same connective inside, so that only a change of connective nests."""
    if len(nodes) == 1:
        return nodes[0]
    members: list[_Node] = []
    for node in nodes:
        members += node.members if isinstance(node, _Group) and node.connective == connective else (node,)
    return _Group(connective=connective, members=tuple(members))


def _list_comparisons(node: _Node) -> Iterator[_Comparison]:
    if isinstance(node, _Comparison):
        yield node
    else:
        for member in node.members:
            yield from _list_comparisons(member)


def _compile_node(node: _Node) -> _Clause:
    if isinstance(node, _Group):
        return _join_clauses(node.connective, [_compile_node(member) for member in node.members])
    operator = _OPPOSITES.get(node.operator, node.operator)
    clause = _compile_column(node, operator) if node.name in _COLUMNS else _compile_metadata(node, operator)
    if operator == node.operator:
        return clause
    # What has no value is NULL or absent, which is not true, and so among what differs.
    return _Clause(condition=f"({clause.condition} IS NOT TRUE)", parameters=clause.parameters)


def _join_clauses(connective: Literal["AND", "OR"], clauses: Sequence[_Clause]) -> _Clause:
    """The deepest clause first: there the parser holds one parenthesis, and three symbols for a later one."""
    ordered = sorted(clauses, key=lambda clause: -clause.pending)
    return _Clause(
        condition=f"({f' {connective} '.join(clause.condition for clause in ordered)})",
        parameters=tuple(parameter for clause in ordered for parameter in clause.parameters),
        pending=max(ordered[0].pending + 1, ordered[1].pending + 3),
    )


def _compile_column(comparison: _Comparison, operator: str) -> _Clause:
    column, kind = _COLUMNS[comparison.name]
    # Never left to SQLite: a column converts what it is compared with, so that page 3 would equal the text "3".
    if comparison.kind != kind:
        return _Clause(condition="(FALSE)", parameters=())
    condition = f"{column} {_compile_operator(operator, comparison.values)}"
    if comparison.name == "source":
        condition += " AND p.source NOT GLOB 'item:*'"
    return _Clause(condition=f"({condition})", parameters=comparison.values)


def _compile_metadata(comparison: _Comparison, operator: str) -> _Clause:
    # Older versions kept NaN and infinity, which SQLite refuses to read; `repair` takes them out.
    # Not json_extract: a path in SQLite cannot name every key, one with a quotation mark for example.
    value = f"{_JSON_TYPES[comparison.kind]} AND m.value {_compile_operator(operator, comparison.values)}"
    return _Clause(
        condition=f"(EXISTS (SELECT 1 FROM {_SOUND_METADATA} AS m WHERE m.key = ? AND {value}))",  # noqa: S608 - from constants
        parameters=(comparison.name, *comparison.values),
    )


def _compile_operator(operator: str, values: Sequence[_Scalar]) -> str:
    return f"IN ({', '.join('?' * len(values))})" if operator == "$in" else f"{_COMPARISONS[operator]} ?"


def _show(value: object) -> str:
    return quote(value, with_type=True)
