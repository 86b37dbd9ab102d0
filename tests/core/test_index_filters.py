"""What a `where` finds, against Chroma's answers and against Python."""

from __future__ import annotations

import json
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_vl_retrieval.index.store.filters import COLUMN_NAMES, compile_filter, list_filter_names

SCHEMA = """
CREATE TABLE units (row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, media_type TEXT NOT NULL,
    page INTEGER, start REAL, "end" REAL, width INTEGER, height INTEGER, mime_type TEXT, sha256 TEXT NOT NULL,
    text TEXT, content TEXT);
CREATE TABLE places (source TEXT NOT NULL, unit INTEGER NOT NULL REFERENCES units(row), version TEXT NOT NULL,
    metadata TEXT NOT NULL, PRIMARY KEY (source, unit)) WITHOUT ROWID;
"""


def build_store(units, *, ensure_ascii=True):
    """A store of `{id: (columns, metadata)}`."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    for row, (identity, (columns, metadata)) in enumerate(units.items(), start=1):
        values = {"row": row, "id": identity, "media_type": "text", "sha256": "0", **columns}
        source = values.pop("source", f"{identity}.txt")
        names = ", ".join(f'"{name}"' for name in values)
        connection.execute(
            f"INSERT INTO units ({names}) VALUES ({', '.join('?' * len(values))})",  # noqa: S608
            tuple(values.values()),
        )
        stored = json.dumps(metadata, ensure_ascii=ensure_ascii)
        connection.execute("INSERT INTO places VALUES (?, ?, '1', ?)", (source, row, stored))
    return connection


def find_ids(connection, where):
    chosen = compile_filter(where)
    query = f"SELECT u.id FROM units AS u JOIN places AS p ON p.unit = u.row WHERE {chosen.condition} ORDER BY u.row"  # noqa: S608
    return [identity for (identity,) in connection.execute(query, chosen.parameters)]


# The ids that Chroma 1.5.9 (embedded) gave for each dict, from `get` and `query` alike, on 2026-11-21.
CHROMA_RECORDS = {
    "int": {"k": 2024},
    "float": {"k": 2024.0},
    "text": {"k": "2024"},
    "true": {"k": True},
    "false": {"k": False},
    "one": {"k": 1},
    "onef": {"k": 1.0},
    "zero": {"k": 0},
    "abc": {"k": "abc"},
    "empty": {"k": ""},
    "big": {"k": 2**53 + 1},
    "without": {"z": 1},
}
CHROMA_ANSWERS = [
    ({"k": 2024}, "int float"),
    ({"k": {"$eq": 2024.0}}, "int float"),
    ({"k": "2024"}, "text"),
    ({"k": True}, "true"),
    ({"k": False}, "false"),
    ({"k": 1}, "one onef"),
    ({"k": 0}, "zero"),
    ({"k": ""}, "empty"),
    ({"k": 2**53 + 1}, "big"),
    ({"k": {"$eq": float(2**53)}}, ""),
    ({"k": {"$ne": 2024}}, "text true false one onef zero abc empty big without"),
    ({"k": {"$ne": "2024"}}, "int float true false one onef zero abc empty big without"),
    ({"k": {"$ne": True}}, "int float text false one onef zero abc empty big without"),
    ({"k": {"$gt": 1}}, "int float big"),
    ({"k": {"$gt": 2024}}, "big"),
    ({"k": {"$gte": 2024.0}}, "int float big"),
    ({"k": {"$gte": 2**53}}, "big"),
    ({"k": {"$lt": 1}}, "zero"),
    ({"k": {"$lt": 2024}}, "one onef zero"),
    ({"k": {"$lte": 1.0}}, "one onef zero"),
    ({"k": {"$in": [2024, 1]}}, "int float one onef"),
    ({"k": {"$in": ["2024", "abc"]}}, "text abc"),
    ({"k": {"$in": [True, False]}}, "true false"),
    ({"k": {"$nin": [2024, 1]}}, "text true false zero abc empty big without"),
    ({"k": {"$nin": [True]}}, "int float text false one onef zero abc empty big without"),
    ({"k": {"$nin": ["abc"]}}, "int float text true false one onef zero empty big without"),
    ({"absent": {"$ne": 1}}, " ".join(CHROMA_RECORDS)),
    ({"absent": {"$nin": ["x"]}}, " ".join(CHROMA_RECORDS)),
    ({"absent": 1}, ""),
    ({"": 1}, ""),
    ({"$and": [{"k": 1}, {"k": {"$lt": 5}}]}, "one onef"),
    ({"$or": [{"k": 1}, {"z": 1}]}, "one onef without"),
    ({"$and": [{"$or": [{"k": 1}, {"k": 2024}]}, {"k": {"$ne": 1}}]}, "int float"),
]


@pytest.fixture(scope="module")
def chroma_records():
    return build_store({identity: ({}, metadata) for identity, metadata in CHROMA_RECORDS.items()})


@pytest.mark.parametrize(("where", "ids"), CHROMA_ANSWERS, ids=[str(where) for where, _ in CHROMA_ANSWERS])
def test_what_chroma_finds_is_found(chroma_records, where, ids):
    assert find_ids(chroma_records, where) == ids.split()


def test_a_fraction_is_not_the_whole_number_before_it(chroma_records):
    # Chroma 1.5.9 compares whole numbers with the truncated fraction, and finds 2024.
    assert find_ids(chroma_records, {"k": 2024.5}) == []
    assert find_ids(chroma_records, {"k": {"$gte": 0.5, "$lt": 1.5}}) == ["one", "onef"]


UNITS = {
    "page": (
        {"media_type": "page", "page": 3, "width": 800, "height": 600, "mime_type": "application/pdf", "sha256": "ab"},
        {"year": 2024},
    ),
    "clip": ({"media_type": "video", "start": 25.0, "end": 55.5, "mime_type": "video/mp4"}, {"year": 2023}),
    "note": ({"source": "item:note"}, {}),
    "3": ({"source": "ITEM:3"}, {}),
}


@pytest.fixture(scope="module")
def units():
    return build_store(UNITS)


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"media_type": "page"}, ["page"]),
        ({"page": 3}, ["page"]),
        ({"page": 3.0}, ["page"]),
        ({"page": {"$lt": 4}}, ["page"]),
        ({"page": {"$ne": 3}}, ["clip", "note", "3"]),
        ({"start": {"$gte": 25}}, ["clip"]),
        ({"end": {"$gt": 55, "$lt": 56}}, ["clip"]),
        ({"end": {"$gt": 55, "$lt": 55.5}}, []),
        ({"width": 800}, ["page"]),
        ({"height": {"$in": [600, 700.5]}}, ["page"]),
        ({"mime_type": {"$nin": ["video/mp4"]}}, ["page", "note", "3"]),
        ({"sha256": "ab"}, ["page"]),
        ({"id": {"$in": ["note", "clip"]}}, ["clip", "note"]),
        ({"source": "page.txt"}, ["page"]),
        ({"media_type": "page", "year": 2024}, ["page"]),
        ({"media_type": "page", "year": 2023}, []),
        ({"$or": [{"media_type": "page", "year": 2024}, {"start": 25.0}]}, ["page", "clip"]),
        ({"$and": [{"page": 3}]}, ["page"]),
        ({"$or": ({"page": 3},)}, ["page"]),
    ],
)
def test_fixed_names_are_columns(units, where, ids):
    assert find_ids(units, where) == ids


@pytest.mark.parametrize("where", [{"page": "3"}, {"page": True}, {"id": 3}, {"sha256": 0}, {"start": "25.0"}])
def test_a_column_never_equals_a_value_of_another_kind(units, where):
    assert find_ids(units, where) == []
    ((name, value),) = where.items()
    assert find_ids(units, {name: {"$ne": value}}) == list(UNITS)


def test_an_item_given_in_memory_has_no_source(units):
    assert find_ids(units, {"source": "item:note"}) == []
    assert find_ids(units, {"source": {"$ne": "page.txt"}}) == ["clip", "note", "3"]
    assert find_ids(units, {"source": {"$nin": ["item:note", "ITEM:3"]}}) == ["page", "clip", "note"]


def test_the_source_is_found_through_the_primary_key(units):
    chosen = compile_filter({"source": "page.txt", "year": 2024})
    query = f"SELECT u.id FROM units AS u JOIN places AS p ON p.unit = u.row WHERE {chosen.condition}"  # noqa: S608
    plan = " ".join(row[3] for row in units.execute(f"EXPLAIN QUERY PLAN {query}", chosen.parameters))
    assert "PRIMARY KEY (source=?)" in plan


def test_a_filter_stands_beside_other_conditions(units):
    chosen = compile_filter({"$or": [{"page": 3}, {"year": 2023}]})
    query = f"SELECT u.id FROM units AS u JOIN places AS p ON p.unit = u.row WHERE {chosen.condition} AND u.page = ?"  # noqa: S608
    assert units.execute(query, (*chosen.parameters, 3)).fetchall() == [("page",)]


@pytest.mark.parametrize("name", ['a"b', "é", "", "a.b", "\\", "x'; DROP TABLE units; --", "日本", "[0]", "?1"])
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_metadata_may_have_any_name(name, ensure_ascii):
    store = build_store({"a": ({}, {name: "x"}), "b": ({}, {"other": "x"})}, ensure_ascii=ensure_ascii)
    assert find_ids(store, {name: "x"}) == ["a"]


def test_values_never_reach_the_sql():
    chosen = compile_filter({"page": {"$gt": 7}, "secret name": {"$in": ["secret value", "'"]}})
    assert chosen.parameters == (7, "secret name", "secret value", "'")
    assert "secret" not in chosen.condition
    assert "7" not in chosen.condition


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({}, "empty dict"),
        ([{"page": 1}], "must be a dict.*got list"),
        ({1: 2}, "name int 1"),
        ({"$not": {"page": 1}}, r"'\$not' cannot join.*\$and and \$or"),
        ({"$eq": 1}, r"'\$eq' cannot join"),
        ({"$and": []}, r"\$and needs a list of at least one"),
        ({"$or": {"page": 1}}, r"\$or needs a list of at least one of its conditions, got dict"),
        ({"$or": [{"page": 1}, {}]}, "empty dict"),
        ({"$or": [{"page": 1}, "page"]}, "must be a dict.*got str"),
        ({"page": {}}, "'page' has an empty dict"),
        ({"page": {"$foo": 1}}, r"operator str '\$foo'; allowed are \$eq, \$gt, \$gte, \$in"),
        ({"page": {"$and": [1]}}, "operator"),
        ({"page": {1: 1}}, "operator int 1"),
        ({"page": {"$gt": [1]}}, "compared with list"),
        ({"page": {"$gt": "3"}}, r"\$gt of 'page' orders numbers only, got str '3'"),
        ({"page": {"$lte": True}}, "orders numbers only, got bool True"),
        ({"page": {"$in": []}}, r"\$in needs a list of at least one of its values"),
        ({"page": {"$nin": "abc"}}, r"\$nin needs a list"),
        ({"page": {"$in": [1, "1"]}}, r"\$in of 'page' mixes number and text"),
        ({"page": {"$in": [1, True]}}, "mixes boolean and number"),
        ({"page": {"$eq": {"$eq": 1}}}, "compared with dict"),
        ({"page": [1]}, r"compared with list \[1\]; allowed are str, int, float and bool"),
        ({"page": None}, "compared with NoneType"),
        ({"page": float("nan")}, "must be finite"),
        ({"page": {"$lt": float("inf")}}, "must be finite"),
        ({"page": 2**63}, "64 bits"),
        ({"page": -(2**63) - 1}, "64 bits"),
        ({"k": "\ud800"}, "surrogate"),
        ({"\ud800": 1}, "surrogate"),
        ({"k": {"$in": ["x" * 200] * 30_000}}, "30,001 names and values"),
        ({"$or": [{"k": 1}] * 501}, "501 conditions"),
    ],
    ids=str,
)
def test_what_is_not_of_the_language_is_refused(where, message):
    with pytest.raises(ValueError, match=message) as caught:
        compile_filter(where)
    assert len(str(caught.value)) < 300


def nest(levels):
    """Alternating connectives, each beside a condition."""
    where = {"k": 0}
    for level in range(levels):
        where = {("$and", "$or")[level % 2]: [{"page": level + 100}, where]}
    return where


def test_sqlite_reads_what_is_allowed(units):
    assert find_ids(units, nest(32)) == []
    with pytest.raises(ValueError, match="deeper than 32 levels"):
        compile_filter(nest(33))
    with pytest.raises(ValueError, match="deeper than 32 levels"):
        list_filter_names(nest(40))
    # Both sides of a group as deep as each other, as far as the number of conditions goes.
    bushy = {"k": 1}
    for level in range(8):
        bushy = {("$and", "$or")[level % 2]: [bushy, bushy]}
    for level in range(24):
        bushy = {("$and", "$or")[level % 2]: [{"year": {"$ne": 1}}, bushy, {"page": {"$nin": [1]}}]}
    assert find_ids(units, bushy) == list(UNITS)
    assert find_ids(units, {"$or": [{"year": 2023 + number} for number in range(500)]}) == ["page", "clip"]
    assert find_ids(units, {"year": {"$in": list(range(29_999))}}) == ["page", "clip"]


def test_the_names_of_a_filter_are_listed():
    where = {"media_type": "page", "$or": [{"year": {"$gt": 1, "$lt": 9}}, {"$and": [{"year": 1}, {"author": "x"}]}]}
    assert list_filter_names(where) == {"media_type", "year", "author"}
    with pytest.raises(ValueError, match="empty"):
        list_filter_names({})


def test_the_columns_are_known_by_name():
    assert {"id", "media_type", "source", "page", "start", "end"} <= COLUMN_NAMES
    assert "year" not in COLUMN_NAMES


# Agreement with Python

NAMES = st.sampled_from(["a", "b", 'q"', "page", "start", "mime_type", "source", "id"]) | st.text(max_size=3).filter(
    lambda name: not name.startswith("$")
)
NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, -0.0, 1.0, 2.5]) | st.integers(-(2**63), 2**63 - 1)
SCALARS = NUMBERS | st.booleans() | st.sampled_from(["", "x", "1", "a.txt"]) | st.text(max_size=3)
# SQLite reads JSON's null character as the end of a text; a store keeps none.
STORED = (NUMBERS | st.booleans() | st.text(max_size=3)).filter(lambda value: "\0" not in str(value))
METADATA = st.dictionaries(NAMES.filter(lambda name: "\0" not in name and name not in COLUMN_NAMES), STORED, max_size=4)
LISTS = (
    st.lists(NUMBERS, min_size=1, max_size=3)
    | st.lists(st.booleans(), min_size=1, max_size=2)
    | st.lists(st.text(max_size=2) | st.just("x"), min_size=1, max_size=3)
)
OPERANDS = (
    SCALARS
    | st.dictionaries(st.sampled_from(["$eq", "$ne"]), SCALARS, min_size=1, max_size=2)
    | st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), NUMBERS, min_size=1, max_size=2)
    | st.dictionaries(st.sampled_from(["$in", "$nin"]), LISTS, min_size=1, max_size=2)
)
FILTERS = st.recursive(
    st.dictionaries(NAMES, OPERANDS, min_size=1, max_size=2),
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), min_size=1, max_size=2
    ),
    max_leaves=8,
)
COLUMNS = st.fixed_dictionaries(
    {},
    optional={
        "page": st.integers(-3, 3),
        "start": st.sampled_from([0.0, 0.5, 1.0]),
        "mime_type": st.sampled_from(["x", "1"]),
        "source": st.sampled_from(["a.txt", "item:a"]),
    },
)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_same_kind(one, other):
    return (is_number(one) and is_number(other)) or type(one) is type(other)


def holds(record, name, operator, operand):
    value = record.get(name)
    match operator:
        case "$eq":
            return is_same_kind(value, operand) and value == operand
        case "$in":
            return any(holds(record, name, "$eq", one) for one in operand)
        case "$ne":
            return not holds(record, name, "$eq", operand)
        case "$nin":
            return not holds(record, name, "$in", operand)
    if not is_number(value):
        return False
    return {
        "$gt": value > operand,
        "$gte": value >= operand,
        "$lt": value < operand,
        "$lte": value <= operand,
    }[operator]


def matches(record, where):
    for name, value in where.items():
        if name == "$and":
            fits = all(matches(record, one) for one in value)
        elif name == "$or":
            fits = any(matches(record, one) for one in value)
        else:
            operands = value if isinstance(value, dict) else {"$eq": value}
            fits = all(holds(record, name, operator, operand) for operator, operand in operands.items())
        if not fits:
            return False
    return True


@settings(deadline=None)  # other processes share the cores
@given(st.lists(st.tuples(COLUMNS, METADATA), max_size=4), FILTERS, st.booleans())
def test_any_filter_finds_what_python_finds(units, where, ensure_ascii):
    store = build_store({str(number): unit for number, unit in enumerate(units)}, ensure_ascii=ensure_ascii)
    expected = []
    for number, (columns, metadata) in enumerate(units):
        record = {"source": f"{number}.txt", **columns, **metadata, "id": str(number)}
        if record["source"].startswith("item:"):
            del record["source"]
        if matches(record, where):
            expected.append(str(number))
    assert find_ids(store, where) == expected
    store.close()
